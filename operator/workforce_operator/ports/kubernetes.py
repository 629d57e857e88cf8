"""Ports to Kubernetes: the Workforce objects, Secrets and Events; and the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.actions import Note


class Key(NamedTuple):
    """Identity of a Workforce object; what the work queue holds."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class StoredWorkforce:
    """One object as the API server has it. ``spec`` is unvalidated: it may have been stored under older rules.

    ``drain_requested`` are the names of worker jobs that somebody wants to have drained; ``creation_time`` is unknown
    only of objects that no API server made.
    """

    key: Key
    uid: str
    generation: int
    resource_version: str
    deletion_time: datetime | None
    finalizers: tuple[str, ...]
    spec: Mapping[str, Any]
    status: WorkforceStatus
    drain_requested: frozenset[str] = frozenset()
    creation_time: datetime | None = None


class WorkforceStore(Protocol):
    """The Workforce objects. Methods raise ``Unavailable``, ``Denied``, or ``Conflict`` for a stale resourceVersion."""

    async def get(self, key: Key) -> StoredWorkforce | None:
        """Read live from the API server; None if there is none."""
        ...

    async def list_keys(self) -> tuple[Key, ...]:
        """Keys of all objects in the watched namespaces."""
        ...

    async def write_status(self, stored: StoredWorkforce, status: WorkforceStatus) -> StoredWorkforce:
        """Replace the status under the object's resourceVersion. Returns the object as it is stored now."""
        ...

    async def add_finalizer(self, stored: StoredWorkforce) -> StoredWorkforce:
        """Add our finalizer under the object's resourceVersion."""
        ...

    async def remove_finalizer(self, stored: StoredWorkforce) -> None:
        """Remove our finalizer; no error if it, or the object, is gone."""
        ...

    async def secret_value(self, namespace: str, name: str, key: str) -> str:
        """One key of a Secret, decoded. Raises ``Missing`` or ``Denied``."""
        ...

    async def definition_is_going(self) -> bool:
        """Whether the CustomResourceDefinition itself is being deleted; False if that cannot be read."""
        ...


class EventSink(Protocol):
    """Kubernetes Events with aggregation: the same reason and message within ten minutes raises a count."""

    async def emit(self, stored: StoredWorkforce, note: Note) -> None:
        """Record it. Never raises: a lost Event never stops work."""
        ...


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """Aware, in UTC."""
        ...
