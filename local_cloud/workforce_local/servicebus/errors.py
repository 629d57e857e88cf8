"""Errors with the AMQP condition by which the service names them.

AmqpError
├─ DecodeError      bytes or fields that are not what AMQP says: ends the connection
└─ EntityError      the service refuses: ends a link, or rejects a delivery or a request

Constructors name the situations. Invariant: a client never sees anything of ours but a condition and a text.
"""

from __future__ import annotations

NOT_FOUND = "amqp:not-found"
NOT_ALLOWED = "amqp:not-allowed"
NOT_IMPLEMENTED = "amqp:not-implemented"
UNAUTHORIZED = "amqp:unauthorized-access"
SIZE_EXCEEDED = "amqp:link:message-size-exceeded"
DETACH_FORCED = "amqp:link:detach-forced"
CONNECTION_FORCED = "amqp:connection:forced"
MESSAGE_LOCK_LOST = "com.microsoft:message-lock-lost"
MESSAGE_NOT_FOUND = "com.microsoft:message-not-found"
SESSION_LOCK_LOST = "com.microsoft:session-lock-lost"
SESSION_CANNOT_BE_LOCKED = "com.microsoft:session-cannot-be-locked"
SERVER_BUSY = "com.microsoft:server-busy"
INTERNAL_ERROR = "amqp:internal-error"
TIMEOUT = "com.microsoft:timeout"
ARGUMENT_ERROR = "com.microsoft:argument-error"


class AmqpError(Exception):
    """Anything that is told to a client.

    Attributes:
        condition: The symbol by which clients branch.
    """

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(text)
        self.condition = condition


class DecodeError(AmqpError):
    """What came in is not AMQP, or not what this place of it requires."""

    def __init__(self, text: str, condition: str = "amqp:decode-error") -> None:
        super().__init__(condition, text)


class EntityError(AmqpError):
    """The service refuses what was asked."""


def framing_error(text: str) -> DecodeError:
    """Bytes that cannot be cut into frames."""
    return DecodeError(text, "amqp:connection:framing-error")


def entity_not_found(path: str) -> EntityError:
    """No queue, topic or subscription of that name."""
    return EntityError(NOT_FOUND, f"The messaging entity '{path}' could not be found.")


def message_lock_lost() -> EntityError:
    """A lock token that is not, or no longer, valid."""
    return EntityError(
        MESSAGE_LOCK_LOST,
        "The lock supplied is invalid. Either the lock expired, or the message has already been removed from the "
        "queue.",
    )


def message_not_found(what: str, sequence: int) -> EntityError:
    """No such message in the state that the operation needs."""
    return EntityError(MESSAGE_NOT_FOUND, f"There is no {what} message with sequence number {sequence}.")


def session_lock_lost(session_id: str) -> EntityError:
    """A session that its holder does not hold any more."""
    return EntityError(
        SESSION_LOCK_LOST,
        f"The session lock has expired on the session '{session_id}'. Accept a new session.",
    )


def session_cannot_be_locked(session_id: str) -> EntityError:
    """A session that somebody else holds."""
    return EntityError(
        SESSION_CANNOT_BE_LOCKED, f"The requested session '{session_id}' cannot be accepted. It may be locked already."
    )


def timed_out() -> EntityError:
    """No session became free in the time that the client gave."""
    return EntityError(TIMEOUT, "The operation did not complete within the allotted timeout.")


def unauthorized(path: str) -> EntityError:
    """No accepted token covers the entity."""
    return EntityError(
        UNAUTHORIZED,
        f"Unauthorized access. A token for this entity is required to perform the operation. Resource: '{path}'.",
    )


def not_implemented(what: str) -> EntityError:
    """Something that the real service can do and this one cannot."""
    return EntityError(NOT_IMPLEMENTED, f"The local Service Bus does not implement {what}.")
