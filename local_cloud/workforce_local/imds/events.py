"""Scheduled events of one simulated virtual machine: the document that IMDS serves, and how it changes.

Pure. Nothing happens to the machine here; who injects an event decides what follows. Invariant: the incarnation grows
with every change of the document and with nothing else.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal

EventType = Literal["Freeze", "Reboot", "Redeploy", "Preempt", "Terminate"]


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

    def schedule(self, event: ScheduledEvent) -> str:
        """Add an event, or replace the one with its id. Returns the id."""
        self._events[event.event_id] = event
        self.incarnation += 1
        return event.event_id

    def withdraw(self, event_id: str) -> None:
        """Take an event off the document: it was cancelled, or is over; IMDS does not tell which."""
        if self._events.pop(event_id, None) is not None:
            self.incarnation += 1

    def approve(self, event_id: str) -> bool:
        """Note a client's approval. Returns whether there is such an event."""
        if event_id not in self._events:
            return False
        self.approved.append(event_id)
        return True

    def document(self) -> dict[str, Any]:
        """What a GET answers."""
        return {
            "DocumentIncarnation": self.incarnation,
            "Events": [event.document() for event in self._events.values()],
        }
