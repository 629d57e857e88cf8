"""Keeping the lock of a running task's message.

The visibility timeout starts short, so that the young task of a killed worker runs again within a minute, and grows
with the task's age, so that a large fleet does not exceed what one queue takes: it is the task's age, at least
`shortest` (60 s by default) and at most `longest` (600 s), renewed when half of it has passed. So 50,000 slots of long
tasks cost 170 requests per second, and as many young ones 1,700.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from jobq.backends.port import Delivery, QueueBackend
from jobq.errors import JobQError, LockLost

SHORTEST = timedelta(seconds=60)
LONGEST = timedelta(seconds=600)
RETRY_SECONDS = 5.0
SETTLE_SECONDS = 600.0
RESCUE_POLL_SECONDS = 0.01
EARLY_SECONDS = 0.1
"""So much before it is due a renewal is not worth putting off."""
CALL_SECONDS = 20.0
"""A renewal that takes longer is given up and tried again, while there is time."""

_log = structlog.get_logger()


def visibility(age: timedelta, shortest: timedelta = SHORTEST) -> timedelta:
    """For how long to hide a task of this age."""
    return min(max(age, shortest), max(LONGEST, shortest))


class Lock:
    """The hold on one message: renewed in the background, and used up by its settlement.

    Args:
        backend: The queue.
        delivery: What was received.
        shortest: The visibility timeout it was received with.
        received: When it was asked for, on the clock of `now`; before the answer came, so that we never believe longer
            than the service does.
        now: A monotonic clock.
    """

    def __init__(
        self,
        backend: QueueBackend,
        delivery: Delivery,
        shortest: timedelta,
        received: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.delivery = delivery
        self.lost = asyncio.Event()
        self._backend = backend
        self._shortest = shortest
        self._started = received
        self._renewed = received
        self._timeout = shortest
        self._now = now
        self._turn = asyncio.Lock()
        self._guard = threading.Lock()

    @property
    def seconds_left(self) -> float:
        """How long the message is surely ours."""
        return self._timeout.total_seconds() - (self._now() - self._renewed)

    @property
    def seconds(self) -> float:
        """How long it is, each time it is renewed."""
        return self._timeout.total_seconds()

    @property
    def renewal_in(self) -> float:
        """Seconds until it is to be renewed."""
        return self.seconds_left - self._timeout.total_seconds() / 2

    async def keep(self) -> None:
        """Renew until cancelled or lost; a lost lock sets `lost` and ends it."""
        while not self.lost.is_set():
            await asyncio.sleep(max(0.0, self.renewal_in))
            await self._renew_once()

    async def settle(self, how: Callable[[Delivery], Awaitable[None]]) -> bool:
        """Settle the message with its latest receipt, again and again while the service fails and the lock holds.

        A renewal under way is waited for and never cut: it may have changed the receipt. Returns False if the message
        was lost, or could not be settled in `SETTLE_SECONDS`; it is then delivered again.
        """
        give_up = self._now() + SETTLE_SECONDS
        while not self.lost.is_set():
            async with self._alone():
                try:
                    await how(self.delivery)
                except LockLost:
                    self.lost.set()
                    return False
                except JobQError as error:
                    _log.warning("not_settled_yet", error=str(error))
                else:
                    return True
            if self._now() > give_up:
                break
            await asyncio.sleep(RETRY_SECONDS)
        return False

    async def rescue(self, queue: QueueBackend) -> None:
        """Renew from another thread if it is due; called by the understudy while this lock's event loop is stalled.

        Args:
            queue: The same queue, opened in the event loop that calls.
        """
        # A service that holds locks itself has shorter ones than ours, which the stalled loop kept renewing.
        due = self.renewal_in <= 0 or self._backend.longest is not None
        if not due or self.lost.is_set() or not self._guard.acquire(blocking=False):
            return
        try:
            begun = self._now()
            timeout = self._next_timeout(begun)
            async with asyncio.timeout(CALL_SECONDS):
                self.delivery = await queue.renew_for(self._backend, self.delivery, timeout)
            self._renewed, self._timeout = begun, timeout
        except (JobQError, TimeoutError) as error:
            # If it is lost, the event loop finds out at its next renewal.
            _log.warning("lock_not_renewed", error=str(error), seconds_left=round(self.seconds_left))
        finally:
            self._guard.release()

    def _next_timeout(self, now: float) -> timedelta:
        timeout = visibility(timedelta(seconds=now - self._started), self._shortest)
        if self._backend.longest is not None:
            timeout = min(timeout, max(self._backend.longest, self._shortest))
        return timeout

    async def _renew_once(self) -> None:
        async with self._alone():
            pause = await self._renew()
        await asyncio.sleep(pause)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Let nothing else happen to the message meanwhile, in this event loop or in the understudy's."""
        async with self._turn:
            while not self._guard.acquire(blocking=False):  # noqa: ASYNC110 - it is released by another thread
                await asyncio.sleep(RESCUE_POLL_SECONDS)
            try:
                yield
            finally:
                self._guard.release()

    async def _renew(self) -> float:
        """Renew, and return how long to wait before anything else."""
        if self.renewal_in > EARLY_SECONDS:
            return 0.0  # the understudy was faster
        begun = self._now()
        timeout = self._next_timeout(begun)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                self.delivery = await self._backend.renew(self.delivery, timeout)
        except LockLost:
            self.lost.set()
        except (JobQError, TimeoutError) as error:
            if self.seconds_left <= 0:
                self.lost.set()
                return 0.0
            _log.warning("lock_not_renewed", error=str(error), seconds_left=round(self.seconds_left))
            return min(RETRY_SECONDS, max(0.1, self.seconds_left / 4))
        else:
            self._renewed, self._timeout = begun, timeout
        return 0.0
