"""Reads what exporters send to Application Insights: envelopes, one by one, with what is wrong with each. Pure.

A body is a JSON array or one JSON object per line; both are sent by Microsoft's own exporters. Invariant: every
envelope of a body is either accepted or in the list of errors, under its index.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

TABLES = {
    "RequestData": "requests",
    "RemoteDependencyData": "dependencies",
    "MessageData": "traces",
    "ExceptionData": "exceptions",
    "EventData": "customEvents",
    "MetricData": "customMetrics",
    "PageViewData": "pageViews",
    "AvailabilityData": "availabilityResults",
}
"""In which table a kind of telemetry is found with a query."""


class BodyError(ValueError):
    """A body that holds no envelopes at all."""


class _Refused(Exception):
    """What is wrong with an envelope, in the service's words."""


@dataclass(frozen=True)
class Item:
    """One piece of telemetry."""

    at: datetime
    type: str
    name: str
    role: str
    operation: str
    data: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        own = {"at": self.at.isoformat(), "type": self.type, "name": self.name, "role": self.role}
        return {**own, "operation": self.operation, "data": dict(self.data)}


@dataclass(frozen=True)
class Refusal:
    """An envelope that is not accepted."""

    index: int
    status: int
    message: str

    def document(self) -> dict[str, Any]:
        """As JSON, as the service words it."""
        return {"index": self.index, "statusCode": self.status, "message": self.message}


@dataclass
class Batch:
    """What became of a body."""

    items: list[Item] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def status(self) -> int:
        """HTTP status: all, some or none of it was accepted."""
        if not self.refusals:
            return 200
        return 206 if self.items else 400

    def document(self) -> dict[str, Any]:
        """The answer."""
        accepted = len(self.items)
        errors = [refusal.document() for refusal in self.refusals]
        return {"itemsReceived": accepted + len(errors), "itemsAccepted": accepted, "errors": errors}


def read(body: bytes, key: str) -> Batch:
    """Read a body for the resource with this instrumentation key.

    Raises:
        BodyError: It is neither JSON nor lines of it.
    """
    batch = Batch()
    for index, envelope in enumerate(_split(body)):
        try:
            batch.items.append(_item(envelope, key))
        except _Refused as error:
            batch.refusals.append(Refusal(index, 400, str(error)))
    return batch


def _split(body: bytes) -> list[Any]:
    text = body.decode("utf-8", errors="replace").strip()
    if not text:
        raise BodyError("the body is empty")
    try:
        if text.startswith("["):
            found = json.loads(text)
            return list(found)
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise BodyError(f"the body is not JSON: {error}") from error


def _item(envelope: Any, key: str) -> Item:
    if not isinstance(envelope, dict):
        raise _Refused("100: An envelope must be a JSON object")
    for name in ("name", "time", "iKey", "data"):
        if not envelope.get(name):
            raise _Refused(f"109: Field '{name}' on type 'Envelope' is required but missing or empty")
    if str(envelope["iKey"]).lower() != key.lower():
        raise _Refused("Invalid instrumentation key")
    data = envelope["data"]
    content = data.get("baseData") if isinstance(data, dict) else None
    if not isinstance(content, dict):
        raise _Refused("109: Field 'baseData' on type 'Data' is required but missing or empty")
    kind = str(data.get("baseType") or "")
    if kind not in TABLES:
        raise _Refused(f"104: Field 'baseType' on type 'Data' has the unknown value '{kind}'")
    tags = envelope.get("tags")
    known: Mapping[str, Any] = tags if isinstance(tags, dict) else {}
    return Item(
        _time(envelope["time"]), TABLES[kind], _name(content), str(known.get("ai.cloud.role") or ""),
        str(known.get("ai.operation.id") or ""), content,
    )  # fmt: skip


def _time(text: Any) -> datetime:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise _Refused(f"107: Field 'time' on type 'Envelope' is not a time: '{text}'") from error
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _name(content: Mapping[str, Any]) -> str:
    """What people call a piece of telemetry: its name, its text, its metric or its exception."""
    for name in ("name", "message"):
        if content.get(name):
            return str(content[name])
    for several, name in (("metrics", "name"), ("exceptions", "typeName")):
        found = content.get(several)
        if isinstance(found, list) and found and isinstance(found[0], dict):
            return str(found[0].get(name) or "")
    return ""


def select(
    items: Iterable[Item],
    *,
    type_: str | None = None,
    name: str | None = None,
    role: str | None = None,
    since: datetime | None = None,
) -> list[Item]:
    """The items that are meant, in their order; what is None restricts nothing.

    Args:
        items: All of them.
        type_: A table's name, or the kind of its telemetry, in any case.
        name: The name, or a part of it.
        role: The role's name.
        since: Only what happened at that time or later.
    """
    wanted = {base.lower(): table for base, table in TABLES.items()}.get((type_ or "").lower(), type_)
    return [
        item
        for item in items
        if (wanted is None or item.type.lower() == wanted.lower())
        and (name is None or name in item.name)
        and (role is None or role == item.role)
        and (since is None or item.at >= since)
    ]
