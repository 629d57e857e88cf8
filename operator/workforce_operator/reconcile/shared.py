"""One reading of a cluster, a workspace or a task queue for all Workforces that use it at about the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from jobq.names import cohort
from workforce_operator.api.spec import Queue
from workforce_operator.domain.capacity import ClusterCapacity, cluster_key, workspace_key
from workforce_operator.domain.observed import Job, QueueDepth
from workforce_operator.ports.azure import Capacity, JobBody, Listing, TaskQueueDepth, WorkerJobs, Workplace

CAPACITY_SECONDS = 4.0
"""Shorter than the time between two passes over one Workforce, so that each pass of it sees a new reading."""

DEPTH_SECONDS = 1.0
"""A queue moves faster than a cluster, and an edit asks for a new reading at once."""

LIST_SECONDS = 2.0
"""For a burst of passes. A list that is older would show a worker's end to its Workforce later than need be."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True)
class _Reading(Generic[T]):
    task: asyncio.Task[T]
    begun: float
    too_old_for: set[Hashable] = field(default_factory=set)


class Shared(Generic[K, T]):
    """Asks once for whoever asks meanwhile. A failure is shared too.

    Args:
        what: What is read, for the names of tasks.
        seconds: How long an answer is given to others, from when it was asked for.
        clock: Of the seconds.
    """

    def __init__(self, what: str, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._seconds, self._clock = what, seconds, clock
        self._readings: dict[K, _Reading[T]] = {}

    async def get(self, key: K, read: Callable[[], Awaitable[T]], *, asker: Hashable = None) -> T:
        """The answer under this key, by ``read`` if there is none that is young enough. Raises what ``read`` raised.

        Args:
            key: What is read.
            read: Reads it.
            asker: Who asks, as told to ``outdate``.
        """
        now = self._clock()
        reading = self._readings.get(key)
        if reading is None or self._is_old(reading, now) or asker in reading.too_old_for:
            self._readings = {key: each for key, each in self._readings.items() if not self._is_old(each, now)}
            task = asyncio.create_task(_awaited(read), name=self._what)
            # Whoever began it may have given up before it fails: then nobody else asks for the failure.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            reading = self._readings[key] = _Reading(task, now)
        return await asyncio.shield(reading.task)

    def outdate(self, key: K, asker: Hashable) -> None:
        """What has been asked for until now is no answer for this asker any more; for others it is."""
        if key in self._readings:
            self._readings[key].too_old_for.add(asker)

    async def close(self) -> None:
        """Give up what is still being read."""
        tasks = [reading.task for reading in self._readings.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._readings.clear()

    def _is_old(self, reading: _Reading[T], now: float) -> bool:
        return reading.task.done() and now - reading.begun >= self._seconds


async def _awaited(read: Callable[[], Awaitable[T]]) -> T:
    return await read()


class SharedCapacity:
    """The port ``Capacity``, asking ``capacity`` once for all."""

    def __init__(
        self, capacity: Capacity, *, seconds: float = CAPACITY_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = capacity
        self._shared = Shared[tuple[str, ...], ClusterCapacity | None]("capacity", seconds=seconds, clock=clock)

    async def read(self, place: Workplace) -> ClusterCapacity | None:
        """See ``ports.azure.Capacity``."""
        return await self._shared.get(cluster_key(place.coordinates), lambda: self._capacity.read(place))

    async def close(self) -> None:
        """Give up what is still being read."""
        await self._shared.close()


class SharedDepth:
    """The port ``TaskQueueDepth``, asking ``depth`` once for all."""

    def __init__(
        self, depth: TaskQueueDepth, *, seconds: float = DEPTH_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._depth = depth
        self._shared = Shared[Queue, QueueDepth]("queue depth", seconds=seconds, clock=clock)

    async def read(self, queue: Queue) -> QueueDepth:
        """See ``ports.azure.TaskQueueDepth``."""
        return await self._shared.get(queue, lambda: self._depth.read(queue))

    async def close(self) -> None:
        """Give up what is still being read."""
        await self._shared.close()


@dataclass(slots=True)
class _Desk:
    """Who asked for the jobs of a workspace lately.

    Attributes:
        asked: By prefix: when, and for how many pages at least.
        pages: Of the list of all jobs, at least.
    """

    asked: dict[str, tuple[float, int]] = field(default_factory=dict)
    pages: int = 1


class SharedJobs:
    """The port ``WorkerJobs``: one list for all Workforces of a workspace where that takes fewer pages than their own.

    The service answers so many reads per second, however many Workforces there are (planner rule 12). The own lists of
    those that asked within the last seconds are counted as one page per cohort, which is the least they can be; of the
    list of all is known how many pages it last had, and it is given up where it has more than it would save.

    Nobody is answered by a list that was begun before its own last list or write: what it knew it will not unlearn.
    """

    def __init__(
        self, jobs: WorkerJobs, *, seconds: float = LIST_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._jobs, self._seconds, self._clock = jobs, seconds, clock
        self._shared = Shared[tuple[str, ...], Listing | None]("jobs", seconds=seconds, clock=clock)
        self._desks: dict[tuple[str, ...], _Desk] = {}

    async def list_cohorts(self, place: Workplace, cohorts: frozenset[int]) -> tuple[Job, ...]:
        """See ``ports.azure.WorkerJobs``."""
        try:
            jobs = await self._of_all(place, len(cohorts))
            if jobs is None:
                return await self._jobs.list_cohorts(place, cohorts)
            return tuple(job for job in jobs if cohort(job.sequence) in cohorts)
        finally:
            self._outdate(place)

    async def list_installation(self, place: Workplace, *, most_pages: int) -> Listing | None:
        """See ``ports.azure.WorkerJobs``."""
        return await self._jobs.list_installation(place, most_pages=most_pages)

    async def list_owned(self, place: Workplace) -> tuple[Job, ...]:
        """See ``ports.azure.WorkerJobs``."""
        try:
            jobs = await self._of_all(place, 1)
            return await self._jobs.list_owned(place) if jobs is None else jobs
        finally:
            self._outdate(place)

    async def get(self, place: Workplace, name: str) -> Job | None:
        """See ``ports.azure.WorkerJobs``."""
        return await self._jobs.get(place, name)

    async def hire(self, place: Workplace, name: str, sequence: int, body: JobBody) -> Job:
        """See ``ports.azure.WorkerJobs``."""
        try:
            return await self._jobs.hire(place, name, sequence, body)
        finally:
            self._outdate(place)

    async def resume(self, place: Workplace, name: str) -> bool:
        """See ``ports.azure.WorkerJobs``."""
        try:
            return await self._jobs.resume(place, name)
        finally:
            self._outdate(place)

    async def cancel(self, place: Workplace, name: str) -> None:
        """See ``ports.azure.WorkerJobs``."""
        try:
            await self._jobs.cancel(place, name)
        finally:
            self._outdate(place)

    async def close(self) -> None:
        """Give up what is still being read."""
        await self._shared.close()

    async def _of_all(self, place: Workplace, pages: int) -> tuple[Job, ...] | None:
        """The Workforce's jobs in the list of all, or None where its own list of so many pages costs less."""
        desk = self._desks.setdefault(_desk_key(place), _Desk())
        alone = self._pages_alone(desk, place, pages)
        if desk.pages >= alone:
            return None
        listing = await self._shared.get(
            _desk_key(place), lambda: self._list_all(desk, place, alone - 1), asker=place.prefix
        )
        return None if listing is None else listing.jobs.get((place.owner, place.prefix), ())

    def _pages_alone(self, desk: _Desk, place: Workplace, pages: int) -> int:
        now = self._clock()
        desk.asked = {prefix: each for prefix, each in desk.asked.items() if now - each[0] < self._seconds}
        desk.asked[place.prefix] = (now, pages)
        return sum(number for _, number in desk.asked.values())

    async def _list_all(self, desk: _Desk, place: Workplace, most_pages: int) -> Listing | None:
        listing = await self._jobs.list_installation(place, most_pages=most_pages)
        desk.pages = most_pages + 1 if listing is None else listing.pages
        return listing

    def _outdate(self, place: Workplace) -> None:
        self._shared.outdate(_desk_key(place), place.prefix)


def _desk_key(place: Workplace) -> tuple[str, ...]:
    return (place.installation_id, *workspace_key(place.coordinates))
