"""Scheduled events of this virtual machine: Azure announces that it takes the machine, and may think better of it.

Pure but for `Watcher`, which asks each second. What an answer says and what follows is decided in `read_notices` and
`observe`: an answer that cannot be had or understood changes nothing; events of other machines, which are listed too,
mean nothing; a notice is handled once, however often it is listed; and only an answer that was understood from end to
end can say that a notice is withdrawn.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from jobq.names import DISABLE_SCHEDULED_EVENTS_VARIABLE
from workforce_agent.lifecycle import Trigger

POLL_SECONDS = 1.0
FIRST_CALL_SECONDS = 150.0
"""The first call of a machine's life switches the service on, which takes up to two minutes."""
CALL_SECONDS = 5.0
EVENTS_PATH = "/metadata/scheduledevents?api-version=2020-07-01"
INSTANCE_PATH = "/metadata/instance?api-version=2021-02-01"
HEADERS = {"Metadata": "true"}

_AZUREML_VARIABLES = ("AZ_BATCHAI_CLUSTER_NAME", "AZ_BATCH_TASK_ID")
_YES = frozenset({"1", "true", "yes", "t", "y"})

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Notices:
    """What an answer says.

    Attributes:
        ids: The events that preempt this machine.
        complete: Whether every event was understood; otherwise one more may be listed.
    """

    ids: frozenset[str]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of the notices: those that are listed, and all that were handled."""

    listed: frozenset[str] = frozenset()
    handled: frozenset[str] = frozenset()


def enabled(environ: Mapping[str, str]) -> bool:
    """Whether this is a node of AzureML, and nobody has switched this off."""
    if environ.get(DISABLE_SCHEDULED_EVENTS_VARIABLE, "").lower() in _YES:
        return False
    return any(environ.get(name) for name in _AZUREML_VARIABLES)


def read_machine(body: bytes) -> str | None:
    """This machine's name, as events list it; None if the answer does not say."""
    document = _json(body)
    compute = document.get("compute") if isinstance(document, dict) else None
    name = compute.get("name") if isinstance(compute, dict) else None
    return name if isinstance(name, str) and name else None


def read_notices(body: bytes, machine: str) -> Notices | None:
    """The preemptions of a machine in a document of scheduled events; None if it is none."""
    document = _json(body)
    events = document.get("Events") if isinstance(document, dict) else None
    if not isinstance(events, list):
        return None
    read = [_concerns(event, machine) for event in events]
    ids = frozenset(event["EventId"] for event, ours in zip(events, read, strict=True) if ours)
    return Notices(ids, complete=None not in read)


def observe(watched: Watched, notices: Notices | None) -> tuple[Watched, Trigger | None]:
    """What an answer changes, and what it means for the worker."""
    if notices is None:
        return watched, None
    if new := notices.ids - watched.handled:
        return Watched(notices.ids | watched.listed, watched.handled | new), Trigger.PREEMPTION
    if not notices.complete:
        return watched, None
    withdrawn = bool(watched.listed) and not notices.ids
    return Watched(notices.ids, watched.handled), Trigger.PREEMPTION_WITHDRAWN if withdrawn else None


def _concerns(event: Any, machine: str) -> bool | None:
    """Whether an event preempts this machine; None if it cannot be told."""
    if not isinstance(event, dict) or not isinstance(event.get("EventType"), str):
        return None
    if event["EventType"] != "Preempt":
        return False
    resources, event_id = event.get("Resources"), event.get("EventId")
    if not isinstance(resources, list) or not isinstance(event_id, str) or not event_id:
        return None
    return machine.lower() in [name.lower() for name in resources if isinstance(name, str)]


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


class Listener(Protocol):
    """Who is told: the worker."""

    def trigger(self, trigger: Trigger) -> None:
        """Let something happen to the worker."""


class MetadataUnavailable(Exception):
    """The metadata service gave no answer. The text says why."""


Fetch = Callable[[str, float], Awaitable[bytes]]
"""Gets a path of the metadata service within some seconds; raises `MetadataUnavailable`."""


class Watcher:
    """Asks for scheduled events and tells the worker of those that preempt it.

    Args:
        fetch: Asks the metadata service.
        listener: The worker.
    """

    def __init__(self, fetch: Fetch, listener: Listener) -> None:
        self._fetch = fetch
        self._listener = listener
        self._machine: str | None = None
        self._watched = Watched()
        self._answered = False
        self._trouble = ""

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        """Ask once, and tell the worker what has changed."""
        try:
            if self._machine is None:
                self._machine = read_machine(await self._get(INSTANCE_PATH))
            notices = read_notices(await self._get(EVENTS_PATH), self._machine) if self._machine else None
        except MetadataUnavailable as error:
            self._note(str(error))
            return
        self._note("" if notices else "the answer cannot be understood")
        self._watched, trigger = observe(self._watched, notices)
        if trigger is not None:
            event = "preemption_detected" if trigger is Trigger.PREEMPTION else "preemption_cleared"
            _log.warning(event, events=sorted(self._watched.listed))
            self._listener.trigger(trigger)

    async def _get(self, path: str) -> bytes:
        body = await self._fetch(path, CALL_SECONDS if self._answered else FIRST_CALL_SECONDS)
        self._answered = True
        return body

    def _note(self, trouble: str) -> None:
        """Log what changes, and not each of many thousand answers."""
        if trouble and not self._trouble:
            _log.warning("scheduled_events_unavailable", error=trouble)
        elif self._trouble and not trouble:
            _log.info("scheduled_events_available")
        self._trouble = trouble
