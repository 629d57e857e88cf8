"""Kubernetes without Kubernetes: Workforce objects with resource versions and finalizers, Secrets and Events."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from workforce_operator.adapters.memory.clock import ManualClock
from workforce_operator.adapters.memory.faults import Faults
from workforce_operator.api.base import FINALIZER
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.actions import Note
from workforce_operator.domain.errors import Conflict, Missing
from workforce_operator.ports.kubernetes import Clock, Key, StoredWorkforce


class MemoryWorkforceStore:
    """The API server's part of the contract: generations, resource versions, deletion that waits for finalizers."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.faults = Faults()
        self.definition_going = False
        self.secrets: dict[tuple[str, str], dict[str, str]] = {}
        self._clock = clock or ManualClock()
        self._objects: dict[Key, StoredWorkforce] = {}
        self._version = 0

    async def get(self, key: Key) -> StoredWorkforce | None:
        """See ``ports.kubernetes.WorkforceStore``."""
        with self.faults.call("get", key):
            return self._objects.get(key)

    async def list_keys(self) -> tuple[Key, ...]:
        """See ``ports.kubernetes.WorkforceStore``."""
        with self.faults.call("list_keys"):
            return tuple(self._objects)

    async def write_status(self, stored: StoredWorkforce, status: WorkforceStatus) -> StoredWorkforce:
        """See ``ports.kubernetes.WorkforceStore``. What is kept is what a round trip over JSON keeps."""
        with self.faults.call("write_status", stored, status):
            current = self._current(stored)
            kept = WorkforceStatus.model_validate_json(status.model_dump_json(by_alias=True, exclude_none=True))
            return self._store(current if kept == current.status else replace(current, status=kept), current)

    async def add_finalizer(self, stored: StoredWorkforce) -> StoredWorkforce:
        """See ``ports.kubernetes.WorkforceStore``."""
        with self.faults.call("add_finalizer", stored):
            current = self._current(stored)
            if FINALIZER in current.finalizers:
                return current
            return self._store(replace(current, finalizers=(*current.finalizers, FINALIZER)), current)

    async def remove_finalizer(self, stored: StoredWorkforce) -> None:
        """See ``ports.kubernetes.WorkforceStore``."""
        with self.faults.call("remove_finalizer", stored):
            current = self._objects.get(stored.key)
            if current is None or current.uid != stored.uid or FINALIZER not in current.finalizers:
                return
            left = tuple(name for name in current.finalizers if name != FINALIZER)
            if current.deletion_time is not None and not left:
                del self._objects[stored.key]
            else:
                self._store(replace(current, finalizers=left), current)

    async def secret_value(self, namespace: str, name: str, key: str) -> str:
        """See ``ports.kubernetes.WorkforceStore``."""
        with self.faults.call("secret_value", namespace, name, key):
            try:
                return self.secrets[namespace, name][key]
            except KeyError:
                raise Missing(f"Secret {namespace}/{name} has no key {key}, or does not exist") from None

    async def definition_is_going(self) -> bool:
        """See ``ports.kubernetes.WorkforceStore``."""
        with self.faults.call("definition_is_going"):
            return self.definition_going

    def apply(self, key: Key, spec: Mapping[str, Any]) -> StoredWorkforce:
        """Create the object, or change its spec, as `kubectl apply` does."""
        current = self._objects.get(key)
        if current is None:
            self._version += 1
            current = self._objects[key] = StoredWorkforce(
                key=key,
                uid=f"uid-{self._version}",
                generation=1,
                resource_version=str(self._version),
                deletion_time=None,
                finalizers=(),
                spec=copy.deepcopy(dict(spec)),
                status=WorkforceStatus(),
                creation_time=self._clock.now(),
            )
            return current
        if current.spec == spec:
            return current
        changed = replace(current, spec=copy.deepcopy(dict(spec)), generation=current.generation + 1)
        return self._store(changed, current)

    def ask_to_drain(self, key: Key, *jobs: str) -> None:
        """Annotate the object, as `workforce drain` does: its generation stays as it is."""
        current = self._objects[key]
        self._store(replace(current, drain_requested=frozenset(jobs)), current)

    def delete(self, key: Key) -> None:
        """Delete the object, as `kubectl delete --wait=false` does: it stays as long as it has finalizers."""
        current = self._objects.get(key)
        if current is None or current.deletion_time is not None:
            return
        if not current.finalizers:
            del self._objects[key]
            return
        deleted = replace(current, deletion_time=self._clock.now(), generation=current.generation + 1)
        self._store(deleted, current)

    def lose_status(self, key: Key) -> None:
        """Empty the status, as a restore from a manifest does."""
        current = self._objects[key]
        self._store(replace(current, status=WorkforceStatus()), current)

    def _current(self, stored: StoredWorkforce) -> StoredWorkforce:
        current = self._objects.get(stored.key)
        if current is None or current.uid != stored.uid:
            raise Conflict(f"{stored.key.namespace}/{stored.key.name} is gone")
        if current.resource_version != stored.resource_version:
            raise Conflict(f"{stored.key.namespace}/{stored.key.name} was changed by somebody else")
        return current

    def _store(self, changed: StoredWorkforce, current: StoredWorkforce) -> StoredWorkforce:
        if changed == current:
            return current
        self._version += 1
        result = self._objects[changed.key] = replace(changed, resource_version=str(self._version))
        return result


@dataclass(frozen=True, slots=True)
class MemoryEvent:
    """One recorded Event, without aggregation."""

    key: Key
    note: Note


class MemoryEventSink:
    """Keeps every note."""

    def __init__(self) -> None:
        self.events: list[MemoryEvent] = []

    async def emit(self, stored: StoredWorkforce, note: Note) -> None:
        """See ``ports.kubernetes.EventSink``."""
        self.events.append(MemoryEvent(stored.key, note))

    def reasons(self) -> list[str]:
        """The reasons, in order."""
        return [event.note.reason for event in self.events]
