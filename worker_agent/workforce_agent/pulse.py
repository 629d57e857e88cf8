"""A sign of life every few minutes, with the queue's size and the machine's load; and the size for whoever shows it."""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

import structlog

from jobq.backends.port import QueueSize
from jobq.errors import JobQError

PULSE_SECONDS = 300.0
SHOWN_SECONDS = 5.0
"""How often a person at a terminal gets a new number."""
FIRST_SECONDS = 0.5
"""And the first one: not before the first tasks are asked for."""
_LOAD_SECONDS = 1.0
_SHORTEST_SECONDS = 0.01
"""Rounding neither makes the loop spin nor puts off a sign of life."""

_log = structlog.get_logger()


class Sized(Protocol):
    """A queue that can be counted."""

    async def size(self) -> QueueSize:
        """How many messages it holds. Raises errors of `jobq.errors`."""


class Pulse:
    """Looks at the queue now and then.

    Args:
        queue: The task queue.
        shown: Whether somebody watches the size.
    """

    def __init__(self, queue: Sized, *, shown: bool) -> None:
        self._queue = queue
        self._first = FIRST_SECONDS if shown else PULSE_SECONDS
        self._every = SHOWN_SECONDS if shown else PULSE_SECONDS
        self.queue_size: int | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        # Out of step with the other workers of a fleet, which often start together. It protects nothing.
        told = loop.time() - random.uniform(0, PULSE_SECONDS / 2)  # noqa: S311 - see above
        pause = self._first
        while True:
            await asyncio.sleep(min(pause, max(_SHORTEST_SECONDS, told + PULSE_SECONDS - loop.time())))
            pause = self._every
            self.queue_size = await self._size()
            if loop.time() - told >= PULSE_SECONDS - _SHORTEST_SECONDS:
                told = loop.time()
                cpu, memory = await load()
                size = -1 if self.queue_size is None else self.queue_size  # as the ancestor says "unknown"
                _log.info("worker_running", queue_size=size, cpu_util=cpu, memory_util=memory)

    async def _size(self) -> int | None:
        try:
            return (await self._queue.size()).total
        except JobQError:
            return None


async def load() -> tuple[float, float]:
    """How much of the machine's processors (over a second) and memory is in use, from 0 to 1."""
    # Imported here: the first time it is needed is minutes after the start.
    import psutil  # noqa: PLC0415 - see above

    psutil.cpu_percent(None)
    await asyncio.sleep(_LOAD_SECONDS)
    return psutil.cpu_percent(None) / 100, psutil.virtual_memory().percent / 100
