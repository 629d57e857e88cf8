"""One reading of a cluster or a task queue for all Workforces that use it at about the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from workforce_operator.api.spec import Queue
from workforce_operator.domain.capacity import ClusterCapacity, cluster_key
from workforce_operator.domain.observed import QueueDepth
from workforce_operator.ports.azure import Capacity, TaskQueueDepth, Workplace

CAPACITY_SECONDS = 4.0
"""Shorter than the time between two passes over one Workforce, so that each pass of it sees a new reading."""

DEPTH_SECONDS = 1.0
"""A queue moves faster than a cluster, and an edit asks for a new reading at once."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True)
class _Reading(Generic[T]):
    task: asyncio.Task[T]
    begun: float


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

    async def get(self, key: K, read: Callable[[], Awaitable[T]]) -> T:
        """The answer under this key, by ``read`` if there is none that is young enough. Raises what ``read`` raised."""
        now = self._clock()
        reading = self._readings.get(key)
        if reading is None or self._is_old(reading, now):
            self._readings = {key: each for key, each in self._readings.items() if not self._is_old(each, now)}
            task = asyncio.create_task(_awaited(read), name=self._what)
            # Whoever began it may have given up before it fails: then nobody else asks for the failure.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            reading = self._readings[key] = _Reading(task, now)
        return await asyncio.shield(reading.task)

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
