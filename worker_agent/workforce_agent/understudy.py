"""Renews locks while the worker's event loop is stalled: a thread that otherwise does nothing.

The event loop renews its locks itself. Should it stand still (a hung file system, a debugger, code of a user that got
into it), the thread notices, opens a connection of its own to the queue, and renews what is due until the loop is back.
It cannot help where nothing of this process runs: a C extension that keeps the interpreter's lock stops threads too,
and belongs into processes of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Protocol, Self

import structlog

from jobq.backends.port import QueueBackend

BEAT_SECONDS = (0.2, 2.0)
"""How often the loop is asked whether it lives, while there are locks: an eighth of the shortest, within these."""

OpenQueue = Callable[[], AbstractAsyncContextManager[QueueBackend]]

_log = structlog.get_logger()


class Rescued(Protocol):
    """A lock, as the understudy sees it from another thread."""

    @property
    def seconds(self) -> float:
        """How long it is, each time it is renewed."""

    async def rescue(self, queue: QueueBackend) -> None:
        """Renew it through another connection if it is due, unless the loop is in the middle of doing so."""


class Understudy:
    """Stands by for the event loop that makes it. A context manager.

    Args:
        open_queue: Opens the same queue once more, for another event loop.
    """

    def __init__(self, open_queue: OpenQueue) -> None:
        self._open = open_queue
        self._loop = asyncio.get_running_loop()
        self._locks: set[Rescued] = set()  # changed by the loop, copied by the thread in one step
        self._some = threading.Event()
        self._over = threading.Event()
        self._answer = threading.Event()
        self._thread = threading.Thread(target=self._run, name="understudy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A rescue under way ends by itself; nothing waits for it.
        self._over.set()
        self._some.set()

    @contextmanager
    def care(self, lock: Rescued) -> Iterator[None]:
        """Care for a lock, until it is settled or lost."""
        self._locks.add(lock)
        self._some.set()
        try:
            yield
        finally:
            self._locks.discard(lock)
            if not self._locks:
                self._some.clear()

    def _run(self) -> None:
        while not self._over.is_set():
            self._some.wait()
            if self._over.wait(self._beat()):
                return
            if self._locks and not self._loop_lives():
                _log.warning("event_loop_stalled", effect="locks are renewed from another thread until it is back")
                asyncio.run(self._stand_in())
                _log.info("event_loop_back")

    async def _stand_in(self) -> None:
        try:
            async with self._open() as queue:
                while not self._over.is_set():
                    for lock in list(self._locks):
                        await lock.rescue(queue)
                    if self._loop_lives():
                        return
        except Exception:  # it must be there the next time
            _log.exception("understudy_failed")

    def _loop_lives(self) -> bool:
        """Whether the loop answers within a beat."""
        self._answer.clear()
        with suppress(RuntimeError):  # closed
            self._loop.call_soon_threadsafe(self._answer.set)
        return self._answer.wait(self._beat()) or self._over.is_set()

    def _beat(self) -> float:
        shortest = min((lock.seconds for lock in list(self._locks)), default=BEAT_SECONDS[1] * 8)
        return min(max(shortest / 8, BEAT_SECONDS[0]), BEAT_SECONDS[1])
