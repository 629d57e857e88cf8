"""What can go wrong outside, in words that decide what to do next. Branch on the type, never on a message.

::

    OperatorError
    ├── SpecError          the user must edit the resource
    ├── Transient          trying again later may help
    │   ├── Throttled      … not before retry_after seconds
    │   ├── Unavailable    … the service did not answer, or with an error of its own
    │   └── Conflict       … somebody else wrote in between
    ├── Denied             credentials or roles are missing; says for what scope
    ├── Missing            the thing asked for does not exist
    └── Fenced             this process is no longer the leader and must not write
"""

from __future__ import annotations

import re

NOT_FOUND = "NotFound"
"""Reason of ``Missing``."""
OF_REGION = frozenset({"ComputeNotFound", "NameTaken"})
"""Reasons of a ``SpecError`` that is about one region and says nothing about the template."""

_CHANGING = re.compile(
    r"""
    \ at\ 0x[0-9a-f]+                                          # where an object lies in memory
    | [\s,;]*\b(?:                                             # which request it was, as each service says it
        (?:client[ -]?)?(?:request|correlation|activity|operation|trace|tracking)[ -]?id
        | systemtracker | reference[ ]code
      )\ *[:=]\ *[^\s,;'"<>()]+
    | [\s,;]*\b(?:timestamp|time)\ *:\ *\d{4}-\d\d-\d\d[T\ ][\d:.]+(?:Z|[+-]\d\d:\d\d)?   # and when,
    | \ *\bPlease\ (?:retry|try\ again)\ after\ '?\d+'?\ seconds\.?   # and how long to wait, which ``Throttled`` knows
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What differs from one answer to the next although they say the same."""


class OperatorError(Exception):
    """Base of all expected failures. The message is one steady line: the same failure reads the same each time.

    Conditions, Events and logs tell a failure once per change. An address in memory in what a library says, or the id
    of the request in what a service says, would be a change, and a write of the status at every pass. So the id stands
    beside the message, for the log alone.

    Attributes:
        request_id: The service's own id of the request that failed: what its support asks for. None if it said none.
    """

    request_id: str | None = None

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(_CHANGING.sub("", message).split()))


class SpecError(OperatorError):
    """Only an edit of the resource can help. ``reason`` is the condition's reason."""

    def __init__(self, message: str, *, reason: str = "Invalid") -> None:
        super().__init__(message)
        self.reason = reason


class Transient(OperatorError):
    """Trying again later may help."""


class Throttled(Transient):
    """The service asks for a pause of ``retry_after`` seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(Transient):
    """The service did not answer in time, or answered with an error of its own. A write may have been applied."""


class Conflict(Transient):
    """A precondition failed: somebody else wrote in between. Read again."""


class Denied(OperatorError):
    """Credentials are refused, or a role is missing on ``scope``."""

    def __init__(self, message: str, *, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


class Missing(OperatorError):
    """The thing asked for does not exist."""


class Fenced(OperatorError):
    """This process does not hold the lease (any more); it must not write."""


def request_of(error: BaseException | None) -> dict[str, str]:
    """For a line of the log: the id of the request that failed, also if another error was made of the answer."""
    while error is not None:
        if isinstance(error, OperatorError) and error.request_id is not None:
            return {"request_id": error.request_id}
        error = error.__cause__
    return {}


def reason_of(error: OperatorError) -> str:
    """The CamelCase reason that conditions and Events use for an error."""
    match error:
        case SpecError():
            return error.reason
        case Denied():
            return "AccessDenied"
        case Missing():
            return NOT_FOUND
        case Throttled():
            return "Throttled"
        case Conflict():
            return "Conflict"
        case Fenced():
            return "NotLeading"
        case _:
            return "Unavailable"
