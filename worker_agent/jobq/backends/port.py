"""The port to a queue service: peek-lock delivery of texts, at least once, in no promised order.

A backend knows texts, receipts and times, and nothing of tasks. Every method raises the errors of `jobq.errors` and no
others; which call may raise `LockLost` or `QueueMissing` is said there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is ours until its visibility time-out ends.

    Attributes:
        message_id: The service's id of the message.
        receipt: Proof of ownership; every renewal gives a new one.
        body: The message's text.
        attempts: How often it has been delivered, this time included.
        inserted: When it was stored.
    """

    message_id: str
    receipt: str
    body: str
    attempts: int
    inserted: datetime | None = None


@dataclass(frozen=True, slots=True)
class Peeked:
    """A message looked at without taking it."""

    body: str
    attempts: int
    inserted: datetime | None = None


@dataclass(frozen=True, slots=True)
class QueueSize:
    """How many messages a queue holds.

    Attributes:
        total: All of them, also those that a worker has or that wait for a retry; approximate.
        visible: Those that can be received now, as far as a look could count; None where there are more than that.
    """

    total: int
    visible: int | None

    @property
    def in_flight(self) -> int | None:
        """Those that are held or wait; None where the visible ones are unknown."""
        return None if self.visible is None else max(0, self.total - self.visible)


class QueueBackend(Protocol):
    """A queue and its dead-letter queue."""

    @property
    def full_name(self) -> str:
        """`<account>/<queue>`: names the queue for people, logs and the folder of PID files."""

    @property
    def page(self) -> int:
        """The most messages that one call can receive or peek."""

    @property
    def limit(self) -> int:
        """The largest message in bytes, as `jobq.task.message_size` counts them."""

    @property
    def longest(self) -> timedelta | None:
        """The longest visibility timeout to renew with: with a longer one a lost lock is noticed late. None: any."""

    @property
    def failed(self) -> Self:
        """The queue of dead letters, as a queue of its own."""

    async def create(self) -> None:
        """Make the queue if it is missing."""

    async def send(self, body: str, *, key: str | None = None, delay: timedelta = timedelta(0)) -> None:
        """Store a message that never expires, visible after `delay`.

        What certainly did not reach the service is tried again a few times; what perhaps did is not. A service that
        detects duplicates drops a message whose `key` it has seen in its window, and that counts as stored.

        Raises:
            TaskTooLarge: It is above the service's limit; nothing was sent.
            NotStored: The service refused it, or could not be reached.
            MaybeStored: The answer was lost.
            QueueMissing: No such queue.
        """

    async def receive(self, count: int, visibility: timedelta) -> Sequence[Delivery]:
        """Take up to `count` messages (at most a page) that nobody else gets during `visibility`; none at once if none.

        Raises:
            QueueMissing: No such queue.
        """

    async def renew(self, delivery: Delivery, visibility: timedelta) -> Delivery:
        """Keep a message for `visibility` from now. Returns the delivery with its new receipt.

        Raises:
            LockLost: It is no longer ours.
        """

    async def renew_for(self, owner: QueueBackend, delivery: Delivery, visibility: timedelta) -> Delivery:
        """Renew what another object for the same queue has received, and cannot renew while its event loop is stalled.

        Raises:
            LockLost: It is no longer the owner's.
        """

    async def complete(self, delivery: Delivery) -> None:
        """Remove a message for good. One that is gone already is what was wanted.

        Raises:
            LockLost: Somebody else has it.
        """

    async def release(self, delivery: Delivery, *, body: str | None = None, delay: timedelta = timedelta(0)) -> None:
        """Give a message back, visible after `delay`, with another text if one is given.

        Raises:
            LockLost: It is no longer ours.
        """

    async def dead_letter(self, delivery: Delivery, body: str) -> None:
        """Store `body` in the dead-letter queue, made on demand, then remove the message.

        A crash or a lost answer in between leaves the message in both, never in none.

        Raises:
            LockLost: It is no longer ours.
        """

    async def peek(self, count: int) -> Sequence[Peeked]:
        """Look at up to `count` visible messages (at most a page).

        Raises:
            QueueMissing: No such queue.
        """

    async def size(self) -> QueueSize:
        """Count messages.

        Raises:
            QueueMissing: No such queue.
        """

    async def clear(self) -> None:
        """Remove every message.

        Raises:
            QueueMissing: No such queue.
        """
