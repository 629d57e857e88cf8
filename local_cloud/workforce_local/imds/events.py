"""Scheduled events of one simulated virtual machine: the document that IMDS serves, and how it changes.

Pure. Nothing happens to the machine here; who injects an event decides what follows. Invariant: the incarnation grows
with every change of the document and with nothing else.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal

EventType = Literal["Freeze", "Reboot", "Redeploy", "Preempt", "Terminate"]
NOTICE_SECONDS: Mapping[EventType, float] = {
    "Freeze": 900, "Reboot": 900, "Redeploy": 600, "Preempt": 30, "Terminate": 300,
}  # fmt: skip
"""The least notice that Azure gives."""


@dataclass(frozen=True)
class ScheduledEvent:
    """One event, as in api-version 2020-07-01."""

    event_type: EventType
    resources: tuple[str, ...]
    not_before: datetime | None = None
    status: Literal["Scheduled", "Started"] = "Scheduled"
    description: str = ""
    source: Literal["Platform", "User"] = "Platform"
    duration_seconds: int = -1
    event_id: str = field(default_factory=lambda: str(uuid.uuid4()).upper())

    def document(self) -> dict[str, Any]:
        """The event in the words of IMDS; a started event has no time any more."""
        waiting = self.not_before is not None and self.status == "Scheduled"
        return {
            "EventId": self.event_id,
            "EventStatus": self.status,
            "EventType": self.event_type,
            "ResourceType": "VirtualMachine",
            "Resources": list(self.resources),
            "NotBefore": _http_date(self.not_before) if waiting and self.not_before else "",
            "Description": self.description,
            "EventSource": self.source,
            "DurationInSeconds": self.duration_seconds,
        }


def _http_date(time: datetime) -> str:
    return format_datetime(time.astimezone(UTC), usegmt=True)


class ScheduledEvents:
    """The events of one machine."""

    def __init__(self) -> None:
        self.incarnation = 1
        self.approved: list[str] = []
        self._events: dict[str, ScheduledEvent] = {}
        self._told: dict[str, Callable[[], None]] = {}

    def schedule(self, event: ScheduledEvent, approved: Callable[[], None] | None = None) -> str:
        """Add an event, or replace the one with its id. Returns the id.

        Args:
            event: The event.
            approved: Told each time that a client approves of the event's start.
        """
        self._events[event.event_id] = event
        if approved is not None:
            self._told[event.event_id] = approved
        self.incarnation += 1
        return event.event_id

    def begin(self, event_id: str) -> None:
        """What was scheduled happens now."""
        if (event := self._events.get(event_id)) is not None and event.status != "Started":
            self._events[event_id] = replace(event, status="Started")
            self.incarnation += 1

    def withdraw(self, event_id: str) -> None:
        """Take an event off the document: it was cancelled, or is over; IMDS does not tell which."""
        self._told.pop(event_id, None)
        if self._events.pop(event_id, None) is not None:
            self.incarnation += 1

    def approve(self, event_id: str) -> bool:
        """Note a client's approval. Returns whether there is such an event."""
        if event_id not in self._events:
            return False
        self.approved.append(event_id)
        if (told := self._told.get(event_id)) is not None:
            told()
        return True

    def document(self) -> dict[str, Any]:
        """What a GET answers."""
        return {
            "DocumentIncarnation": self.incarnation,
            "Events": [event.document() for event in self._events.values()],
        }
