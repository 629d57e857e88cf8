"""Messages of Service Bus that are ours: the visibility timeout of the port, made of locks that the service decides on.

A lock of the service lasts as long as its queue says, from 5 seconds to 5 minutes. While a message's visibility timeout
runs, its lock is renewed every fifth of that, at most every 5 seconds; when it has ended, the message is given back. If
this process dies, the message is free when its lock ends, however long it was to be held.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from azure.servicebus import ServiceBusReceivedMessage

from jobq.errors import JobQError, LockLost

RENEW_SECONDS = 5.0
RETRY_SECONDS = 2.0
_REMEMBERED = 1000


@dataclass(eq=False, slots=True)
class Hold:
    """A message that is ours."""

    raw: ServiceBusReceivedMessage
    receipt: str
    until: float
    renewed: float
    lock: float
    over: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The service's number of the message."""
        return str(self.raw.sequence_number)

    @property
    def interval(self) -> float:
        """Seconds between renewals."""
        return min(max(self.lock / 5, RENEW_SECONDS), self.lock / 2)


class Holds:
    """All messages of one queue that are ours.

    Args:
        name: Of the queue, for errors.
        renew: Renews the lock of a message at the service.
        give_back: Abandons a message at the service.
        now: A monotonic clock.
    """

    def __init__(
        self,
        name: str,
        renew: Callable[[ServiceBusReceivedMessage], Awaitable[object]],
        give_back: Callable[[ServiceBusReceivedMessage], Awaitable[object]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self.now = now
        self._renew = renew
        self._give_back = give_back
        self._holds: dict[str, Hold] = {}
        self._completed: dict[str, None] = {}
        self._receipts = itertools.count(1)

    def add(self, raw: ServiceBusReceivedMessage, seconds: float) -> Hold:
        """Hold a message that has just come, for so long."""
        now = self.now()
        hold = Hold(raw, str(next(self._receipts)), now + seconds, now, _lock_seconds(raw))
        if (before := self._holds.pop(hold.id, None)) is not None:
            before.over.set()  # its lock ended without our knowing, and here it is again
        self._completed.pop(hold.id, None)
        self._holds[hold.id] = hold
        hold.keeper = asyncio.create_task(self._keep(hold), name=f"hold-{hold.id}")
        return hold

    def owned(self, message_id: str, receipt: str) -> Hold:
        """The hold that a receipt proves.

        Raises:
            LockLost: The message is no longer ours, or another receipt counts now.
        """
        hold = self._holds.get(message_id)
        if hold is None or hold.receipt != receipt:
            raise LockLost(
                f"message {message_id} of {self._name} is no longer ours", gone=message_id in self._completed
            )
        return hold

    async def extend(self, hold: Hold, seconds: float) -> None:
        """Hold a message for so long from now, with a new receipt.

        An outage is no error as long as the service's lock surely lasts that long.

        Raises:
            LockLost: It is no longer ours.
        """
        if self.now() - hold.renewed > hold.interval / 2:
            try:
                await self.renew(hold)
            except LockLost:
                raise
            except JobQError:
                if hold.lock - (self.now() - hold.renewed) < seconds:
                    raise
        hold.receipt = str(next(self._receipts))
        hold.until = self.now() + seconds

    async def renew(self, hold: Hold) -> None:
        """Make sure that a message is ours for the time of a lock.

        Raises:
            LockLost: It is no longer ours.
        """
        begun = self.now()
        try:
            await self._renew(hold.raw)
        except LockLost:
            self.end(hold)
            raise
        hold.renewed = begun

    def end(self, hold: Hold, *, completed: bool = False) -> None:
        """Forget a message that was settled or lost."""
        hold.over.set()
        if self._holds.get(hold.id) is hold:
            del self._holds[hold.id]
        if completed:
            self._completed[hold.id] = None
            while len(self._completed) > _REMEMBERED:
                del self._completed[next(iter(self._completed))]

    async def close(self) -> None:
        """Stop renewing. What is still ours is free when its lock ends."""
        keepers = [hold.keeper for hold in self._holds.values() if hold.keeper is not None]
        for hold in list(self._holds.values()):
            self.end(hold)
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    async def _keep(self, hold: Hold) -> None:
        pause = hold.interval
        while not await _passed(hold.over, min(pause, hold.until - self.now())):
            if self.now() >= hold.until:
                self.end(hold)
                with suppress(JobQError):  # then it is free when its lock ends
                    await self._give_back(hold.raw)
                return
            pause = hold.interval
            if self.now() - hold.renewed < hold.interval * 0.9:
                continue
            try:
                await self.renew(hold)
            except LockLost:
                return
            except JobQError:
                pause = RETRY_SECONDS


async def _passed(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; whether it came in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    return event.is_set()


def _lock_seconds(raw: ServiceBusReceivedMessage) -> float:
    """How long the queue's locks are, as the first one tells."""
    until = raw.locked_until_utc
    left = (until - datetime.now(UTC)).total_seconds() if until is not None else 0.0
    return min(max(left, 5.0), 300.0)
