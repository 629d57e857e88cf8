"""The `$management` node of an entity: requests that come and are answered as messages.

Operations: renew-lock, peek-message, receive-by-sequence-number, update-disposition, schedule-message,
cancel-scheduled-message, renew-session-lock, get-session-state, set-session-state. Others are refused.
Invariant: every request that can be read is answered; a malformed one is told what is wrong with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from workforce_local.servicebus import errors
from workforce_local.servicebus.amqp_types import Array, Int, Symbol
from workforce_local.servicebus.broker import Broker
from workforce_local.servicebus.errors import AmqpError, EntityError, session_lock_lost
from workforce_local.servicebus.message import Message, parse, reply
from workforce_local.servicebus.queue import Queue
from workforce_local.servicebus.sessions import Sessions
from workforce_local.servicebus.stored import Action, Settlement, StoredMessage, milliseconds

MANAGEMENT_SUFFIX = "/$management"

_LONG, _TIMESTAMP = 0x81, 0x83
_STATUS = {
    errors.MESSAGE_LOCK_LOST: 410,
    errors.SESSION_LOCK_LOST: 410,
    errors.NOT_FOUND: 404,
    errors.MESSAGE_NOT_FOUND: 404,
    errors.NOT_IMPLEMENTED: 501,
}
_DISPOSITIONS = {
    "completed": Action.COMPLETE,
    "abandoned": Action.ABANDON,
    "defered": Action.DEFER,  # sic: this is how it is written on the wire
    "suspended": Action.DEAD_LETTER,
}

Answer = dict[str, Any] | None
"""The body of an answer; None when there is nothing to give."""


class Management:
    """Answers the requests to one entity's management node.

    Args:
        broker: The namespace's entities.
        path: The entity.

    Raises:
        EntityError: There is no such entity.
    """

    def __init__(self, broker: Broker, path: str) -> None:
        self._broker = broker
        self._path = path
        if broker.topic(path) is None:
            broker.source(path)

    def answer(self, request: Message) -> bytes:
        """Do what a request asks and encode the answer."""
        name = str(request.application_properties.get("operation")).removeprefix("com.microsoft:")
        try:
            body = self._operate(name, Arguments(request.value))
        except AmqpError as error:
            code = _STATUS.get(error.condition, 400)
            failure = {"errorCondition": Symbol(error.condition)}
            return reply(request.message_id, _head(code, str(error)) | failure, {})
        head = _head(204, "NoContent") if body is None else _head(200, "OK")
        return reply(request.message_id, head, body or {})

    def _operate(self, name: str, arguments: Arguments) -> Answer:
        operations: dict[str, Callable[[Arguments], Answer]] = {
            "schedule-message": self._schedule,
            "cancel-scheduled-message": self._cancel_scheduled,
            "renew-lock": self._renew_lock,
            "peek-message": self._peek,
            "receive-by-sequence-number": self._receive_deferred,
            "update-disposition": self._update_disposition,
            "renew-session-lock": self._renew_session,
            "get-session-state": self._get_state,
            "set-session-state": self._set_state,
        }
        operation = operations.get(name)
        if operation is None:
            raise errors.not_implemented(f"the management operation '{name}'")
        return operation(arguments)

    @property
    def _queue(self) -> Queue:
        return self._broker.source(self._path)

    def _schedule(self, arguments: Arguments) -> Answer:
        target = self._broker.target(self._path)
        messages = [parse(Arguments(item).raw("message")) for item in arguments.items("messages")]
        return {"sequence-numbers": Array([target.submit(message) for message in messages], code=_LONG)}

    def _cancel_scheduled(self, arguments: Arguments) -> Answer:
        target = self._broker.target(self._path)
        for sequence in arguments.integers("sequence-numbers"):
            target.cancel_scheduled(sequence)
        return {}

    def _renew_lock(self, arguments: Arguments) -> Answer:
        ends = [self._queue.renew(token) for token in arguments.tokens()]
        return {"expirations": Array([milliseconds(end) for end in ends], code=_TIMESTAMP)}

    def _peek(self, arguments: Arguments) -> Answer:
        found = self._queue.peek(
            arguments.integer("from-sequence-number"),
            arguments.integer("message-count"),
            arguments.optional_text("session-id"),
        )
        return {"messages": [{"message": message.encode()} for message in found]} if found else None

    def _receive_deferred(self, arguments: Arguments) -> Answer:
        settles = arguments.integer("receiver-settle-mode", 1) == 0
        found = self._queue.receive_deferred(arguments.integers("sequence-numbers"), settles_on_send=settles)
        return {"messages": [_with_token(message) for message in found]}

    def _update_disposition(self, arguments: Arguments) -> Answer:
        action = _DISPOSITIONS.get(arguments.text("disposition-status"))
        if action is None:
            raise arguments.wrong("disposition-status")
        settlement = Settlement(
            action,
            arguments.mapping("properties-to-modify"),
            arguments.optional_text("deadletter-reason"),
            arguments.optional_text("deadletter-description"),
        )
        for token in arguments.tokens():
            self._queue.settle(token, settlement)
        return {}

    def _renew_session(self, arguments: Arguments) -> Answer:
        session_id = arguments.text("session-id")
        return {"expiration": milliseconds(self._sessions(session_id).renew(session_id))}

    def _get_state(self, arguments: Arguments) -> Answer:
        session_id = arguments.text("session-id")
        return {"session-state": self._sessions(session_id).state(session_id)}

    def _set_state(self, arguments: Arguments) -> Answer:
        session_id = arguments.text("session-id")
        self._sessions(session_id).set_state(session_id, arguments.optional_raw("session-state"))
        return {}

    def _sessions(self, session_id: str) -> Sessions:
        sessions = self._queue.sessions
        if sessions is None:
            raise session_lock_lost(session_id)
        return sessions


class Arguments:
    """Typed access to the map that a request carries."""

    def __init__(self, value: Any) -> None:
        self._values: dict[Any, Any] = value if isinstance(value, dict) else {}

    def wrong(self, name: str) -> EntityError:
        """The refusal of a missing or wrong argument."""
        return EntityError(errors.ARGUMENT_ERROR, f"The argument '{name}' is missing or wrong.")

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer."""
        value = self._values.get(name, default)
        if not isinstance(value, int):
            raise self.wrong(name)
        return int(value)

    def text(self, name: str) -> str:
        """A string."""
        value = self._values.get(name)
        if not isinstance(value, str):
            raise self.wrong(name)
        return str(value)

    def optional_text(self, name: str) -> str | None:
        """A string that may be left out."""
        return None if self._values.get(name) is None else self.text(name)

    def raw(self, name: str) -> bytes:
        """Bytes."""
        value = self._values.get(name)
        if not isinstance(value, bytes):
            raise self.wrong(name)
        return value

    def optional_raw(self, name: str) -> bytes | None:
        """Bytes that may be left out; strings count as their bytes."""
        value = self._values.get(name)
        if isinstance(value, str):
            return value.encode()
        return None if value is None else self.raw(name)

    def mapping(self, name: str) -> dict[Any, Any]:
        """A map that may be left out."""
        value = self._values.get(name)
        if not isinstance(value, dict | None):
            raise self.wrong(name)
        return value or {}

    def items(self, name: str) -> list[Any]:
        """A list or an array."""
        value = self._values.get(name)
        if not isinstance(value, list):
            raise self.wrong(name)
        return value

    def integers(self, name: str) -> list[int]:
        """A list of integers."""
        values = self.items(name)
        if not all(isinstance(value, int) for value in values):
            raise self.wrong(name)
        return [int(value) for value in values]

    def tokens(self) -> list[uuid.UUID]:
        """The lock tokens."""
        values = self.items("lock-tokens")
        if not all(isinstance(value, uuid.UUID) for value in values):
            raise self.wrong("lock-tokens")
        return values


def _head(code: int, description: str) -> dict[str, Any]:
    return {"statusCode": Int(code), "statusDescription": description}


def _with_token(message: StoredMessage) -> dict[str, Any]:
    return {"message": message.encode(), "lock-token": message.token or uuid.UUID(int=0)}
