"""Settings of queues, topics and subscriptions. Pure; times are in seconds, and None is for ever."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QueueSettings:
    """How a queue or a subscription behaves. The defaults are the service's.

    Attributes:
        lock_duration: How long a receiver has a message, or a session, to itself.
        max_delivery_count: Failed deliveries after which a message is dead-lettered; None for no limit.
        default_time_to_live: Upper bound of the messages' own.
        requires_session: Messages belong to sessions, and receivers hold sessions.
        duplicate_window: How long message ids are remembered; None for no duplicate detection.
        dead_letter_on_expiration: Expired messages are dead-lettered instead of dropped.
        auto_delete_on_idle: The entity goes when nobody has used it for so long.
    """

    lock_duration: float = 60.0
    max_delivery_count: int | None = 10
    default_time_to_live: float | None = None
    requires_session: bool = False
    duplicate_window: float | None = None
    dead_letter_on_expiration: bool = False
    auto_delete_on_idle: float | None = None


@dataclass(frozen=True)
class TopicSettings:
    """How a topic behaves; the attributes mean what they mean for queues."""

    default_time_to_live: float | None = None
    duplicate_window: float | None = None
    auto_delete_on_idle: float | None = None
