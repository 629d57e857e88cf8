"""A message inside an entity, how it is settled and counted, and the interface of those that receive it. No network.

Invariant: a message has a lock token exactly as long as somebody may settle it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from workforce_local.servicebus.amqp_types import Int, Symbol, Timestamp
from workforce_local.servicebus.errors import EntityError
from workforce_local.servicebus.message import Message


class State(Enum):
    """Where a message is in its life; the value is what peeking shows."""

    ACTIVE = 0
    DEFERRED = 1
    SCHEDULED = 2


class Action(Enum):
    """What a receiver does with a message that it has locked."""

    COMPLETE = "complete"
    ABANDON = "abandon"
    RELEASE = "release"
    DEFER = "defer"
    DEAD_LETTER = "dead-letter"


@dataclass(frozen=True)
class Settlement:
    """The settlement of a message.

    Attributes:
        action: What becomes of it.
        properties: Application properties to add.
        reason: Why it is dead-lettered.
        description: The same in more words.
    """

    action: Action
    properties: Mapping[Any, Any] = field(default_factory=dict)
    reason: str | None = None
    description: str | None = None


@dataclass(eq=False)
class StoredMessage:
    """A message in a queue or a subscription, or in its dead-letter queue."""

    sequence: int
    message: Message
    enqueued: float
    expires: float | None
    enqueued_sequence: int
    state: State = State.ACTIVE
    token: uuid.UUID | None = None
    locked_until: float = 0.0
    delivery_count: int = 0
    added: dict[Any, Any] = field(default_factory=dict)

    @property
    def session_id(self) -> str | None:
        """Its session."""
        return self.message.session_id

    def expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now

    def encode(self) -> bytes:
        """The message as a receiver gets it."""
        annotations: dict[Symbol, Any] = {
            Symbol("x-opt-sequence-number"): self.sequence,
            Symbol("x-opt-enqueued-time"): milliseconds(self.enqueued),
            Symbol("x-opt-enqueue-sequence-number"): self.enqueued_sequence,
        }
        if self.token is not None:
            annotations[Symbol("x-opt-locked-until")] = milliseconds(self.locked_until)
        if self.state is not State.ACTIVE:
            annotations[Symbol("x-opt-message-state")] = Int(self.state.value)
        return self.message.encode(delivery_count=self.delivery_count, annotations=annotations, added=self.added)


@dataclass(frozen=True)
class Counts:
    """How many messages an entity holds. Active ones include locked and deferred ones, as in the service's counts."""

    active: int = 0
    locked: int = 0
    deferred: int = 0
    scheduled: int = 0
    dead_lettered: int = 0

    @property
    def total(self) -> int:
        """All of them, dead-lettered ones too."""
        return self.active + self.scheduled + self.dead_lettered


@dataclass(frozen=True)
class Origin:
    """What a message brings along from where it was before.

    Attributes:
        sequence: Its sequence number there.
        time_to_live: Upper bound from there.
        added: Application properties added on the way.
        delivery_count: Failed deliveries so far.
    """

    sequence: int | None = None
    time_to_live: float | None = None
    added: Mapping[Any, Any] | None = None
    delivery_count: int = 0


def milliseconds(seconds: float) -> Timestamp:
    """A time as AMQP writes it."""
    return Timestamp(int(seconds * 1000))


class Consumer(Protocol):
    """A receiver, as an entity sees it.

    Attributes:
        credit: How many messages it takes now; the entity counts down as it delivers.
        settles_on_send: It gets messages for good (receive-and-delete) instead of locked.
    """

    credit: int
    settles_on_send: bool

    def deliver(self, message: StoredMessage, tag: bytes) -> None:
        """Send a message; the tag is the lock token."""

    def force_detach(self, error: EntityError) -> None:
        """End the link: the entity does not serve it any more."""
