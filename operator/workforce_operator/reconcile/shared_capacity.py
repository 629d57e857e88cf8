"""One reading of a cluster for all Workforces that use it at about the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from workforce_operator.domain.capacity import ClusterCapacity, cluster_key
from workforce_operator.ports.azure import Capacity, Workplace

SHARED_SECONDS = 4.0
"""Shorter than the time between two passes over one Workforce, so that each pass of it sees a new reading."""


@dataclass(slots=True)
class _Reading:
    task: asyncio.Task[ClusterCapacity | None]
    begun: float


class SharedCapacity:
    """The port ``Capacity``, asking once for whoever asks meanwhile. A failure is shared too.

    Args:
        capacity: Asked in the end.
        seconds: How long an answer is given to others, from when it was asked for.
    """

    def __init__(
        self, capacity: Capacity, *, seconds: float = SHARED_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity, self._seconds, self._clock = capacity, seconds, clock
        self._readings: dict[tuple[str, ...], _Reading] = {}

    async def read(self, place: Workplace) -> ClusterCapacity | None:
        """See ``ports.azure.Capacity``."""
        key, now = cluster_key(place.coordinates), self._clock()
        reading = self._readings.get(key)
        if reading is None or (reading.task.done() and now - reading.begun >= self._seconds):
            self._forget(now)
            task = asyncio.create_task(self._capacity.read(place), name=f"capacity of {place.coordinates.compute}")
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

    def _forget(self, now: float) -> None:
        old = [
            key
            for key, reading in self._readings.items()
            if reading.task.done() and now - reading.begun >= self._seconds
        ]
        for key in old:
            del self._readings[key]
