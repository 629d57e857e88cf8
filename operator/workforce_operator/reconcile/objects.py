"""The Workforce objects as passes take and write them: read, or known from the watch or an own write.

What is known without having been read in this pass is not acted for before the API server has confirmed it: by taking a
write under its resourceVersion, or by being asked.
"""

from __future__ import annotations

from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.errors import Conflict
from workforce_operator.ports.kubernetes import Clock, Key, StoredWorkforce, WorkforceStore
from workforce_operator.reconcile.recent import Recent


class Objects:
    """Takes and writes objects. The caller never runs two passes over one object at a time.

    Every method raises what the store raises.

    Args:
        store: The objects.
        clock: The time.
        recent: Spares reading objects, and has to be told of each change that others make; without it each is read.
    """

    def __init__(self, store: WorkforceStore, clock: Clock, recent: Recent | None) -> None:
        self._store, self._clock, self._recent = store, clock, recent
        self._unconfirmed: set[Key] = set()

    async def take(self, key: Key) -> StoredWorkforce | None:
        """The object for the pass that begins; None if there is none."""
        known = self._recent.take(key, self._clock.now()) if self._recent is not None else None
        if known is not None:
            self._unconfirmed.add(key)
            return known
        self._unconfirmed.discard(key)
        return await self._store.get(key)

    async def add_finalizer(self, stored: StoredWorkforce) -> StoredWorkforce:
        """Add our finalizer under the object's resourceVersion."""
        written = await self._store.add_finalizer(stored)
        self._unconfirmed.discard(stored.key)
        return written

    async def write_status(self, stored: StoredWorkforce, status: WorkforceStatus) -> StoredWorkforce:
        """Replace the status under the object's resourceVersion."""
        written = await self._store.write_status(stored, status)
        self._unconfirmed.discard(stored.key)
        if self._recent is not None and written.deletion_time is None:
            self._recent.wrote(written, self._clock.now())
        return written

    async def confirm(self, stored: StoredWorkforce) -> None:
        """Have it known that the object is still so, before acts that nothing is written for.

        Raises:
            Conflict: It has changed, or is gone.
        """
        if stored.key not in self._unconfirmed:
            return
        current = await self._store.get(stored.key)
        if current is None or current.resource_version != stored.resource_version:
            raise Conflict(f"{stored.key.namespace}/{stored.key.name} has changed since it was written here")
        self._unconfirmed.discard(stored.key)
