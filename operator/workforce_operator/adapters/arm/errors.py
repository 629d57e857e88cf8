"""From ARM's answers to the operator's words. Pure; decides by status and error codes, never by message texts.

Invariant: an answer that cannot be understood is ``Unavailable``, never success and never absence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from workforce_operator.domain.errors import (
    Conflict,
    Denied,
    Missing,
    OperatorError,
    SpecError,
    Throttled,
    Unavailable,
)

DEFAULT_RETRY_AFTER = 10.0
"""Seconds to wait when a service throttles and does not say for how long."""
LONGEST_RETRY_AFTER = 3600.0
"""A longer wish is not believed: one broken header must not stop a fleet for a day."""
_MESSAGE_LENGTH = 500

PARENT_MISSING_CODES = frozenset(
    {
        "InvalidSubscriptionId",
        "ParentResourceNotFound",
        "ResourceGroupNotFound",
        "ResourceNotFound",
        "SubscriptionNotFound",
        "WorkspaceNotFound",
    }
)
"""Codes of a 404 that speak of what should hold the thing (workspace, group, subscription), not of the thing."""


class Refused(SpecError):
    """The service understood the request and refuses it. ``codes`` holds the error code and all inner codes."""

    def __init__(self, message: str, *, codes: frozenset[str], status: int) -> None:
        super().__init__(message, reason="Refused")
        self.codes = codes
        self.status = status


class Absent(Missing):
    """A 404. ``parent`` tells that something above the thing asked for is not there."""

    def __init__(self, message: str, *, parent: bool) -> None:
        super().__init__(message)
        self.parent = parent


REQUEST_ID = "x-ms-request-id"


def error_of(status: int, headers: Mapping[str, str], body: str, *, what: str, scope: str) -> OperatorError:
    """What an answer with an error status means.

    Args:
        status: HTTP status, 400 or above (a redirect counts as an error too).
        headers: Response headers; a mapping that ignores case.
        body: The text, JSON or not.
        what: What was attempted, for people: "hire job x".
        scope: ARM id that the request spoke of.
    """
    error = _meaning(status, headers, body, what=what, scope=scope)
    error.request_id = headers.get(REQUEST_ID)
    return error


def _meaning(status: int, headers: Mapping[str, str], body: str, *, what: str, scope: str) -> OperatorError:
    codes, message = _read_error(body)
    text = f"{what}: HTTP {status}" + (f" {message}" if message else "")
    if status == 429:
        return Throttled(text, retry_after=retry_after(headers) or DEFAULT_RETRY_AFTER)
    if status in {401, 403}:
        return Denied(text, scope=scope)
    if status in {409, 412}:
        return Conflict(text)
    if not codes or status in {408} or not 400 <= status < 500:
        # No error document of Azure's: a proxy, a load balancer or a half dead service has answered.
        return _busy(text, status, headers)
    if status == 404:
        return Absent(text, parent=bool(codes & PARENT_MISSING_CODES))
    return Refused(text, codes=codes, status=status)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the service asks us to wait, or None if it does not say."""
    for name, unit in (("x-ms-retry-after-ms", 0.001), ("retry-after-ms", 0.001), ("Retry-After", 1.0)):
        value = headers.get(name)
        try:
            seconds = float(value) * unit if value is not None else None
        except ValueError:
            continue
        if seconds is not None and seconds >= 0:
            return min(seconds, LONGEST_RETRY_AFTER)
    return None


def _busy(text: str, status: int, headers: Mapping[str, str]) -> OperatorError:
    wait = retry_after(headers)
    if status == 503 and wait is not None:
        return Throttled(text, retry_after=wait)
    return Unavailable(text)


def _read_error(body: str) -> tuple[frozenset[str], str]:
    """All codes of an error document, and its message; nothing for anything else."""
    try:
        document = json.loads(body)
    except ValueError:
        return frozenset(), ""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return frozenset(), ""
    return frozenset(_codes(error)), str(error.get("message", ""))[:_MESSAGE_LENGTH]


def _codes(node: Any) -> Iterator[str]:
    """Every value of a ``code`` key, however deep: inner errors hang in several places."""
    if isinstance(node, dict):
        code = node.get("code")
        if isinstance(code, str) and code:
            yield code
        for value in node.values():
            yield from _codes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _codes(value)
