"""A keyed, level-triggered work queue: each key is queued at most once and is never processed twice at a time.

Three rules carry all guarantees:

* ``add`` marks a key *dirty*; marking a dirty key again changes nothing (deduplication);
* a key that is being processed stays out of the ready line; if it turns dirty meanwhile, ``done`` puts it back (no
  wake-up is lost, and no key is reconciled concurrently);
* a key that waits for a time keeps only its earliest deadline (``add_after`` never postpones a wake-up).

Keys that are added in a hurry (somebody has changed what they want) go before those whose turn has come by itself, so
that an edit does not wait behind regular looks at thousands of others; but every few of them let one of the others by.

It knows nothing of what keys mean and starts no workers. All calls belong to one event loop; from another thread use
``loop.call_soon_threadsafe(queue.add, key)``.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

MAX_EXPONENT = 16
"""Beyond it the back-off no longer doubles: an uncapped exponent overflows a float after a long outage."""


IN_A_ROW = 4
"""Keys in a hurry that are taken before one that is not."""


class WorkQueue(Generic[K]):
    """Keys that wait for work, keys being worked on, and keys that wait for a time.

    Args:
        base_delay: Back-off in seconds after the first failure of a key; it doubles with each further one.
        max_delay: The longest back-off, before jitter.
        jitter: Up to this share is added to each back-off, so that many keys do not come back at the same moment.
        rng: Source of the jitter, a number in [0, 1).
    """

    def __init__(
        self,
        *,
        base_delay: float = 1.0,
        max_delay: float = 300.0,
        jitter: float = 0.1,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._base, self._max, self._jitter, self._rng = base_delay, max_delay, jitter, rng
        # An entry counts only as long as its key waits: a key that was in both lines is skipped in the second.
        self._regular: deque[K] = deque()
        self._hurried: deque[K] = deque()
        self._in_a_row = 0
        self._hurry: set[K] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._closed = False

    def __len__(self) -> int:
        """Keys that wait for a worker."""
        return 0 if self._closed else sum(self._waits(key) for key in self._dirty)

    @property
    def processing(self) -> int:
        """Keys that are being worked on."""
        return len(self._processing)

    @property
    def scheduled(self) -> int:
        """Keys that wait for a time."""
        return len(self._timers)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def is_dirty(self, key: K) -> bool:
        """Whether the key was added since its processing began, or waits to be processed."""
        return key in self._dirty

    def hurry(self, key: K) -> None:
        """``add``, before those that were not added so."""
        if self._closed or key in self._hurry:
            return
        self._hurry.add(key)
        if key not in self._dirty:
            self.add(key)
        elif self._waits(key):
            self._hurried.append(key)

    def add(self, key: K) -> None:
        """Have the key processed as soon as possible. No effect if it waits already, or after ``close``."""
        if self._closed or key in self._dirty:
            return
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        self._dirty.add(key)
        if key not in self._processing:
            self._put(key)

    def add_after(self, key: K, delay: float) -> None:
        """Have the key processed after ``delay`` seconds at the latest; an earlier wake-up stands."""
        if delay <= 0:
            self.add(key)
            return
        if self._closed or key in self._dirty:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + delay
        if (timer := self._timers.get(key)) is not None:
            if timer.when() <= deadline:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(deadline, self._fire, key)

    def retry(self, key: K, *, at_least: float = 0.0) -> float:
        """Add the key again after its back-off, but not before ``at_least`` seconds, and return that delay."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(self._max, self._base * 2.0 ** min(failures - 1, MAX_EXPONENT))
        delay = max(delay * (1 + self._jitter * self._rng()), at_least)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Reset the key's back-off, after a success or when the object is gone."""
        self._failures.pop(key, None)

    async def get(self) -> K | None:
        """Wait for a key and mark it as being processed; ``done`` must follow. None means that the queue is closed."""
        while not self._closed:
            if (key := self._next()) is not None:
                self._dirty.discard(key)
                self._hurry.discard(key)
                self._processing.add(key)
                return key
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # The wake-up may have been given to this waiter already: it must not be lost with it.
                if waiter.done() and not waiter.cancelled() and len(self):
                    self._wake_one()
                raise
        return None

    def done(self, key: K) -> None:
        """The key's processing has ended; if it was added meanwhile, it becomes ready again."""
        self._processing.discard(key)
        if key in self._dirty and not self._closed:
            self._put(key)

    def close(self) -> None:
        """Let nothing in or out any more: waiting ``get`` calls return None, timers are cancelled. Idempotent."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._regular.clear()
        self._hurried.clear()
        while self._waiters:
            self._wake_one()

    def _waits(self, key: K) -> bool:
        """Whether a key stands in line."""
        return key in self._dirty and key not in self._processing

    def _next(self) -> K | None:
        """Take the next key out of its line."""
        lines = (self._hurried, self._regular)
        for line in lines if self._in_a_row < IN_A_ROW else reversed(lines):
            while line:
                if self._waits(key := line.popleft()):
                    self._in_a_row = self._in_a_row + 1 if line is self._hurried else 0
                    return key
        return None

    def _put(self, key: K) -> None:
        (self._hurried if key in self._hurry else self._regular).append(key)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _fire(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)
