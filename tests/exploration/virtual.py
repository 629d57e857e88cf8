"""An event loop in which hours cost milliseconds: when nothing is ready, the clock jumps to the next timer.

It opens no sockets and starts no threads: whatever would wait for the outside is a mistake of the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 1, 1, 8, tzinfo=UTC)


class Stuck(Exception):
    """Nothing is ready, no timer is set, and somebody waits."""


class _Instant:
    """In the place of a selector: waiting is moving the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck
        self._loop.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio event loop on a clock of its own, which begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.finishing = False
        self._selector = _Instant(self)
        self._clock_resolution = 1e-6  # a jump to a timer may fall short of it by a rounding error

    def time(self) -> float:
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing ever happens outside."""

    def _write_to_self(self) -> None:
        """Nobody else's thread wakes this loop."""

    def finish(self) -> None:
        """Cancel everything that still runs, and close."""
        self.finishing = True
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        if tasks:
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.close()


class WallClock:
    """The time of day on a virtual loop. ``skew`` is by how many seconds it is wrong."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.skew = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.now + self.skew)


def run(loop: VirtualLoop, main: Coroutine[Any, Any, Any]) -> bool:
    """Run to the end; False if somebody stopped the loop before."""

    async def to_the_end() -> None:
        try:
            await main
        finally:
            if not loop.finishing:
                loop.stop()

    task = loop.create_task(to_the_end())
    loop.run_forever()
    if not task.done():
        return False
    task.result()
    return True
