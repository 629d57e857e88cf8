"""Delivery to competing consumers: the next message to whoever has waited longest.

No network, no locks of its own. Invariants: credit is served in the order in which it came, and what is left of it
stays in the line; messages go out in the order of their sequence numbers.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Protocol

from workforce_local.servicebus.stored import Consumer, State, StoredMessage


class Store(Protocol):
    """What a way of delivering needs of its queue."""

    messages: dict[int, StoredMessage]

    def hand_over(self, message: StoredMessage, consumer: Consumer, *, locked_until: float | None = None) -> None:
        """Lock a message, or take it out, and deliver it."""

    def expire(self, message: StoredMessage) -> bool:
        """Take a message out if its time is over; whether that was so."""


class Competing:
    """Who waits, and what is ready."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ready: list[int] = []
        self._waiting: deque[Consumer] = deque()

    def add(self, message: StoredMessage) -> None:
        """A message is ready."""
        heapq.heappush(self._ready, message.sequence)
        self._pump()

    def granted(self, consumer: Consumer) -> None:
        """A consumer's credit has changed."""
        if consumer.credit > 0 and consumer not in self._waiting:
            self._waiting.append(consumer)
        self._pump()

    def remove(self, consumer: Consumer) -> None:
        """A consumer has gone. Its locks are not touched."""
        if consumer in self._waiting:
            self._waiting.remove(consumer)

    def waiting(self) -> bool:
        """Whether anybody waits for a message."""
        return any(consumer.credit > 0 for consumer in self._waiting)

    def _pump(self) -> None:
        while self._waiting and (message := next_ready(self._store, self._ready)) is not None:
            consumer = self._waiting.popleft()
            if consumer.credit <= 0:
                continue
            heapq.heappop(self._ready)
            consumer.credit -= 1
            if consumer.credit > 0:
                self._waiting.append(consumer)
            self._store.hand_over(message, consumer)


def next_ready(store: Store, ready: list[int]) -> StoredMessage | None:
    """The first deliverable message of a heap of sequence numbers, left in it; what is not deliverable is dropped."""
    while ready:
        message = store.messages.get(ready[0])
        if message is not None and message.state is State.ACTIVE and message.token is None:
            if not store.expire(message):
                return message
        else:
            heapq.heappop(ready)
    return None
