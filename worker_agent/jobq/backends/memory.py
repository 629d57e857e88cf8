"""A queue in memory: for tests and for programs that try things out. It passes the same contract as the services.

Time comes from the caller, so that a test moves it by hand. It is not safe between threads and holds nothing on disk.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobq.backends.port import Delivery, Peeked, QueueBackend, QueueSize
from jobq.errors import LockLost
from jobq.task import MESSAGE_LIMIT, check_size


@dataclass(slots=True)
class _Message:
    id: str
    body: str
    inserted: datetime
    visible_at: datetime
    receipt: str = ""
    attempts: int = 0


def _now() -> datetime:
    return datetime.now(UTC)


class MemoryQueue:
    """A queue that lives as long as the object.

    Args:
        full_name: `<account>/<queue>`.
        now: The clock.
    """

    page = 32
    limit = MESSAGE_LIMIT
    longest: timedelta | None = None

    def __init__(self, full_name: str = "memory/queue", now: Callable[[], datetime] = _now) -> None:
        self._full_name = full_name
        self._now = now
        self._messages: dict[str, _Message] = {}
        self._numbers = itertools.count(1)
        self._failed: MemoryQueue | None = None

    @property
    def full_name(self) -> str:
        """See the port."""
        return self._full_name

    @property
    def failed(self) -> MemoryQueue:
        """See the port."""
        if self._failed is None:
            self._failed = MemoryQueue(f"{self._full_name}-failed", self._now)
        return self._failed

    async def create(self) -> None:
        """See the port; there is nothing to do."""

    async def send(self, body: str, *, key: str | None = None, delay: timedelta = timedelta(0)) -> None:
        """See the port. Duplicates are not detected."""
        check_size(body, self.limit)
        number = str(next(self._numbers))
        self._messages[number] = _Message(number, body, self._now(), self._now() + delay)

    async def receive(self, count: int, visibility: timedelta) -> Sequence[Delivery]:
        """See the port."""
        taken = self._visible()[: min(count, self.page)]
        for message in taken:
            message.attempts += 1
            message.visible_at = self._now() + visibility
            message.receipt = str(next(self._numbers))
        return [self._delivery(message) for message in taken]

    async def renew(self, delivery: Delivery, visibility: timedelta) -> Delivery:
        """See the port."""
        message = self._owned(delivery)
        message.visible_at = self._now() + visibility
        message.receipt = str(next(self._numbers))
        return self._delivery(message)

    async def renew_for(self, owner: QueueBackend, delivery: Delivery, visibility: timedelta) -> Delivery:
        """See the port. A queue in memory is its only object."""
        return await owner.renew(delivery, visibility)

    async def complete(self, delivery: Delivery) -> None:
        """See the port."""
        if delivery.message_id in self._messages:
            del self._messages[self._owned(delivery).id]

    async def release(self, delivery: Delivery, *, body: str | None = None, delay: timedelta = timedelta(0)) -> None:
        """See the port."""
        message = self._owned(delivery)
        message.body = message.body if body is None else body
        message.visible_at = self._now() + delay
        message.receipt = ""

    async def dead_letter(self, delivery: Delivery, body: str) -> None:
        """See the port."""
        self._owned(delivery)
        await self.failed.send(body)
        await self.complete(delivery)

    async def peek(self, count: int) -> Sequence[Peeked]:
        """See the port."""
        visible = self._visible()[: min(count, self.page)]
        return [Peeked(message.body, message.attempts, message.inserted) for message in visible]

    async def size(self) -> QueueSize:
        """See the port."""
        return QueueSize(len(self._messages), len(self._visible()))

    async def clear(self) -> None:
        """See the port."""
        self._messages.clear()

    def _visible(self) -> list[_Message]:
        return [message for message in self._messages.values() if message.visible_at <= self._now()]

    def _owned(self, delivery: Delivery) -> _Message:
        message = self._messages.get(delivery.message_id)
        if message is None or message.receipt != delivery.receipt:
            raise LockLost(f"message {delivery.message_id} of {self._full_name} is no longer ours")
        return message

    @staticmethod
    def _delivery(message: _Message) -> Delivery:
        return Delivery(message.id, message.receipt, message.body, message.attempts, message.inserted)
