"""Events about Workforces. See ``ports.kubernetes.EventSink`` for the contract.

What was said within the last ten minutes is not said again: its count is raised. An Event is never worth a failure.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from workforce_operator.adapters.kubernetes.api import KubernetesApi
from workforce_operator.api.base import GROUP, KIND, VERSION
from workforce_operator.domain.actions import Note
from workforce_operator.domain.errors import Missing, OperatorError
from workforce_operator.domain.words import cut
from workforce_operator.ports.kubernetes import Clock, StoredWorkforce

COMPONENT = "workforce-operator"
WINDOW = timedelta(minutes=10)
REMEMBERED = 4096
_MESSAGE_LENGTH = 1024
_NAME_LENGTH = 180

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Said:
    name: str
    count: int
    last: datetime


class KubernetesEventSink:
    """The port over the API server."""

    def __init__(self, api: KubernetesApi, clock: Clock, *, instance: str) -> None:
        self._api = api
        self._clock = clock
        self._instance = instance
        self._said: OrderedDict[tuple[str, str, str], _Said] = OrderedDict()

    async def emit(self, stored: StoredWorkforce, note: Note) -> None:
        """See ``ports.kubernetes.EventSink``."""
        try:
            await self._emit(stored, note)
        except OperatorError as error:
            _log.warning(
                "an Event was not recorded", namespace=stored.key.namespace, workforce=stored.key.name, why=str(error)
            )

    async def _emit(self, stored: StoredWorkforce, note: Note) -> None:
        now = self._clock.now()
        key = (stored.uid, note.reason, note.message)
        said = self._said.get(key)
        if said is None or now - said.last >= WINDOW or not await self._repeat(stored, said, now):
            said = _Said(_name(stored, note, now), 1, now)
            await self._api.create(_path(stored), event_of(stored, note, said.name, now, self._instance))
        self._said[key] = said
        self._said.move_to_end(key)
        while len(self._said) > REMEMBERED:
            self._said.popitem(last=False)

    async def _repeat(self, stored: StoredWorkforce, said: _Said, now: datetime) -> bool:
        """Raise the count; False if the Event is gone: the API server keeps them for an hour or less."""
        body = {"count": said.count + 1, "lastTimestamp": _time(now)}
        try:
            await self._api.patch(f"{_path(stored)}/{said.name}", body)
        except Missing:
            return False
        said.count, said.last = said.count + 1, now
        return True


def event_of(stored: StoredWorkforce, note: Note, name: str, now: datetime, instance: str) -> dict[str, Any]:
    """The Event's document."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": stored.key.namespace},
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "namespace": stored.key.namespace,
            "name": stored.key.name,
            "uid": stored.uid,
            "resourceVersion": stored.resource_version,
        },
        "type": "Warning" if note.warning else "Normal",
        "reason": note.reason,
        "message": cut(note.message, _MESSAGE_LENGTH),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
        "firstTimestamp": _time(now),
        "lastTimestamp": _time(now),
        "count": 1,
    }


def _name(stored: StoredWorkforce, note: Note, now: datetime) -> str:
    text = "\n".join((stored.uid, note.reason, note.message, now.isoformat()))
    return f"{stored.key.name[:_NAME_LENGTH]}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _path(stored: StoredWorkforce) -> str:
    return f"/api/v1/namespaces/{stored.key.namespace}/events"


def _time(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
