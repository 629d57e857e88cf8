"""A queue: messages with locks, time to live and a dead-letter queue. Subscriptions are queues, too.

No network. Invariants: a message is in exactly one state; it leaves by completion, expiry or into the dead-letter
queue, never otherwise; only the holder of a valid lock token settles it; a failed delivery counts, a release does not.
A closed link changes nothing here: locks end by the clock.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence

from workforce_local.servicebus.competing import Competing
from workforce_local.servicebus.duplicates import DuplicateFilter
from workforce_local.servicebus.errors import (
    NOT_ALLOWED,
    EntityError,
    entity_not_found,
    message_lock_lost,
    message_not_found,
)
from workforce_local.servicebus.message import Message
from workforce_local.servicebus.sessions import Sessions
from workforce_local.servicebus.settings import QueueSettings
from workforce_local.servicebus.stored import Action, Consumer, Counts, Origin, Settlement, State, StoredMessage
from workforce_local.servicebus.timers import Timers

DEAD_LETTER_QUEUE = "$DeadLetterQueue"


class Queue:
    """A queue.

    Args:
        path: Its address.
        settings: How it behaves.
        timers: Clock and timers of its namespace.
        dead_letters_of: The queue whose dead letters it holds, if it is a dead-letter queue.
    """

    def __init__(
        self, path: str, settings: QueueSettings, timers: Timers, *, dead_letters_of: Queue | None = None
    ) -> None:
        self.path = path
        self.settings = settings
        self.timers = timers
        self.created = self.updated = self.accessed = timers.now()
        self.deleted = False
        self.messages: dict[int, StoredMessage] = {}
        self.consumers: set[Consumer] = set()
        self.sessions: Sessions | None = Sessions(self, timers) if settings.requires_session else None
        self._competing = Competing(self)
        self._locked: dict[uuid.UUID, StoredMessage] = {}
        self._sequence = itertools.count(1)
        self._duplicates = DuplicateFilter()
        self._parent = dead_letters_of
        self._dead_letters: Queue | None = None
        if dead_letters_of is None:
            inner = QueueSettings(lock_duration=settings.lock_duration, max_delivery_count=None)
            self._dead_letters = Queue(f"{path}/{DEAD_LETTER_QUEUE}", inner, timers, dead_letters_of=self)

    # -- the entity

    @property
    def dead_letters(self) -> Queue:
        """Its dead-letter queue; of a dead-letter queue, itself."""
        return self._dead_letters or self

    @property
    def lock_duration(self) -> float:
        """How long a lock holds."""
        return self._parent.lock_duration if self._parent else self.settings.lock_duration

    @property
    def used(self) -> float:
        """When anybody had to do with it last."""
        return max(self.accessed, self.updated)

    def in_use(self) -> bool:
        """Whether anybody waits for messages here."""
        return self._competing.waiting() or bool(self.sessions and self.sessions.waiting())

    def delete(self) -> None:
        """Take it out of use: its links are detached, its messages are gone."""
        self.deleted = True
        self.messages.clear()
        self._locked.clear()
        for consumer in list(self.consumers):
            consumer.force_detach(entity_not_found(self.path))
        if self._dead_letters is not None:
            self._dead_letters.delete()

    def counts(self) -> Counts:
        """How many messages there are."""
        states = [message.state for message in self.messages.values()]
        scheduled = states.count(State.SCHEDULED)
        return Counts(
            active=len(states) - scheduled,
            locked=len(self._locked),
            deferred=states.count(State.DEFERRED),
            scheduled=scheduled,
            dead_lettered=len(self._dead_letters.messages) if self._dead_letters is not None else 0,
        )

    # -- messages in

    def submit(self, message: Message) -> int:
        """Take a message from a client; return its sequence number, or 0 if it is a duplicate.

        Raises:
            EntityError: The queue is gone, cannot be sent to, or needs a session id.
        """
        self._check_sendable(message)
        now = self.timers.now()
        if self._duplicates.is_duplicate(message.message_id, now, self.settings.duplicate_window):
            return 0
        return self.put(message).sequence

    def put(self, message: Message, origin: Origin | None = None) -> StoredMessage:
        """Store a message without asking whether it is a duplicate."""
        origin = origin or Origin()
        now = self.accessed = self.timers.now()
        appears = max(now, message.scheduled_for or now)
        lifetime = self._lifetime(message, origin)
        sequence = next(self._sequence)
        stored = StoredMessage(
            sequence=sequence,
            message=message,
            enqueued=appears,
            expires=None if lifetime is None else appears + lifetime,
            enqueued_sequence=origin.sequence or sequence,
            delivery_count=origin.delivery_count,
            added=dict(origin.added or {}),
        )
        self.messages[sequence] = stored
        if stored.expires is not None:
            self.timers.at(stored.expires, lambda: self._expire_now(stored))
        if appears > now and self._parent is None:
            stored.state = State.SCHEDULED
            self.timers.at(appears, lambda: self._activate(stored))
        else:
            self._make_ready(stored)
        return stored

    def cancel_scheduled(self, sequence: int) -> None:
        """Take back a scheduled message.

        Raises:
            EntityError: There is no such message, or it has appeared already.
        """
        message = self.messages.get(sequence)
        if message is None or message.state is not State.SCHEDULED:
            raise message_not_found("scheduled", sequence)
        self._remove(message)

    def _check_sendable(self, message: Message) -> None:
        if self.deleted:
            raise entity_not_found(self.path)
        if self._parent is not None:
            raise EntityError(NOT_ALLOWED, f"'{self.path}' is a dead-letter queue and cannot be sent to.")
        if self.settings.requires_session and message.session_id is None:
            raise EntityError(
                NOT_ALLOWED,
                "The SessionId was not set on a message, and it cannot be sent to the entity. Entities that have "
                "session support enabled can only receive messages that have the SessionId set to a valid value.",
            )

    def _lifetime(self, message: Message, origin: Origin) -> float | None:
        if self._parent is not None:
            return None  # Dead letters do not expire.
        bounds = (message.time_to_live, origin.time_to_live, self.settings.default_time_to_live)
        return min((bound for bound in bounds if bound is not None), default=None)

    def _activate(self, message: StoredMessage) -> None:
        if self._holds(message) and message.state is State.SCHEDULED:
            message.state = State.ACTIVE
            self._make_ready(message)

    def _make_ready(self, message: StoredMessage) -> None:
        if self.sessions is not None:
            self.sessions.add(message)
        else:
            self._competing.add(message)

    # -- messages out

    def add_consumer(self, consumer: Consumer) -> None:
        """A receiver has attached."""
        self.consumers.add(consumer)
        self.accessed = self.timers.now()

    def granted(self, consumer: Consumer) -> None:
        """A receiver's credit has changed."""
        self.accessed = self.timers.now()
        if self.sessions is not None:
            self.sessions.granted(consumer)
        else:
            self._competing.granted(consumer)

    def remove_consumer(self, consumer: Consumer, *, orderly: bool) -> None:
        """A receiver has gone.

        Its locks stay until they end, but for a session that an orderly closed link gives back.
        """
        self.consumers.discard(consumer)
        self.accessed = self.timers.now()
        if self.sessions is not None:
            self.sessions.remove(consumer, orderly=orderly)
        else:
            self._competing.remove(consumer)

    def hand_over(self, message: StoredMessage, consumer: Consumer, *, locked_until: float | None = None) -> None:
        """Lock a message, or take it out, and deliver it."""
        self.accessed = self.timers.now()
        if consumer.settles_on_send:
            self._remove(message)
            consumer.deliver(message, uuid.uuid4().bytes_le)
        else:
            consumer.deliver(message, self._lock(message, locked_until).bytes_le)

    def receive_deferred(self, sequences: Sequence[int], *, settles_on_send: bool) -> list[StoredMessage]:
        """Lock, or take out, deferred messages; all of them or none.

        Raises:
            EntityError: One of them is not there, or is locked.
        """
        found = [self._deferred(sequence) for sequence in sequences]
        for message in found:
            if settles_on_send:
                self._remove(message)
            else:
                session = message.session_id
                held = self.sessions.locked_until(session) if self.sessions is not None and session else None
                self._lock(message, held)
        return found

    def peek(self, start: int, count: int, session_id: str | None = None) -> list[StoredMessage]:
        """Look at messages in any state from a sequence number on, without locking them."""
        return list(itertools.islice(self._visible(start, session_id), count))

    def _visible(self, start: int, session_id: str | None) -> Iterator[StoredMessage]:
        now = self.timers.now()
        for sequence, message in sorted(self.messages.items()):
            gone = message.expired(now) and message.token is None
            if sequence >= start and not gone and session_id in (None, message.session_id):
                yield message

    def _deferred(self, sequence: int) -> StoredMessage:
        message = self.messages.get(sequence)
        if message is None or message.state is not State.DEFERRED or message.token is not None:
            raise message_not_found("deferred", sequence)
        return message

    # -- locks and settlement

    def settle(self, token: uuid.UUID, settlement: Settlement) -> None:
        """Settle a locked message.

        Raises:
            EntityError: The lock is lost, or the message is in the dead-letter queue already.
        """
        message = self._by_token(token)
        self.accessed = self.timers.now()
        if settlement.action is Action.DEAD_LETTER and self._parent is not None:
            raise EntityError(NOT_ALLOWED, "A message in a dead-letter queue cannot be dead-lettered again.")
        message.added.update(settlement.properties)
        match settlement.action:
            case Action.COMPLETE:
                self._remove(message)
            case Action.ABANDON:
                self._unlock(message, failed=True)
            case Action.RELEASE:
                self._unlock(message, failed=False)
            case Action.DEFER:
                message.state = State.DEFERRED
                self._unlock(message, failed=False)
            case Action.DEAD_LETTER:
                self.dead_letter(message, settlement.reason, settlement.description)

    def renew(self, token: uuid.UUID) -> float:
        """Prolong a lock; return until when.

        Raises:
            EntityError: The lock is lost, or is its session's.
        """
        message = self._by_token(token)
        if self.sessions is not None:
            raise EntityError(NOT_ALLOWED, "A message of a session has the session's lock: renew that one.")
        return self._extend(message)

    def dead_letter(self, message: StoredMessage, reason: str | None, description: str | None) -> None:
        """Move a message to the dead-letter queue."""
        self._remove(message)
        why = {"DeadLetterReason": reason, "DeadLetterErrorDescription": description}
        added = message.added | {name: text for name, text in why.items() if text}
        self.dead_letters.put(
            message.message,
            Origin(sequence=message.enqueued_sequence, added=added, delivery_count=message.delivery_count),
        )

    def expire(self, message: StoredMessage) -> bool:
        """Take a message out if its time is over; whether that was so. A locked one may still be completed."""
        if not message.expired(self.timers.now()) or message.token is not None:
            return False
        if self.settings.dead_letter_on_expiration:
            self.dead_letter(message, "TTLExpiredException", "The message expired and was dead lettered.")
        else:
            self._remove(message)
        return True

    def unlock_session(self, session_id: str, *, failed: bool) -> None:
        """Make the session's locked messages available again."""
        for message in [one for one in self._locked.values() if one.session_id == session_id]:
            self._unlock(message, failed=failed)

    def extend_session(self, session_id: str, until: float) -> None:
        """The session's lock was renewed: its messages' locks are too."""
        for message in self._locked.values():
            if message.session_id == session_id:
                message.locked_until = until

    def lose_locks(self) -> int:
        """Take all locks away before their time, of messages or of sessions; return how many."""
        if self.sessions is not None:
            return self.sessions.lose_locks()
        lost = list(self._locked.values())
        for message in lost:
            self._unlock(message, failed=True)
        return len(lost)

    def duplicate(self) -> int:
        """Store each message that waits or is being handled once more, as a sender does that repeats itself."""
        twice = [message.message for message in self.messages.values() if message.state is State.ACTIVE]
        for message in twice:
            self.put(message)
        return len(twice)

    def _by_token(self, token: uuid.UUID) -> StoredMessage:
        message = self._locked.get(token)
        if message is None or message.locked_until <= self.timers.now():
            raise message_lock_lost()
        return message

    def _lock(self, message: StoredMessage, until: float | None) -> uuid.UUID:
        token = message.token = uuid.uuid4()
        self._locked[token] = message
        if until is None:
            self._extend(message)
        else:
            message.locked_until = until  # The session's lock counts, and ends with the session.
        return token

    def _extend(self, message: StoredMessage) -> float:
        due = message.locked_until = self.timers.now() + self.lock_duration
        token = message.token

        def lapse() -> None:
            if message.token == token and message.locked_until == due:
                self._unlock(message, failed=True)

        self.timers.at(due, lapse)
        return due

    def _unlock(self, message: StoredMessage, *, failed: bool) -> None:
        if message.token is not None:
            self._locked.pop(message.token, None)
            message.token = None
        message.delivery_count += failed
        limit = None if self._parent is not None else self.settings.max_delivery_count
        if failed and limit is not None and message.delivery_count >= limit:
            text = f"Message could not be consumed after {message.delivery_count} delivery attempts."
            self.dead_letter(message, "MaxDeliveryCountExceeded", text)
        elif not self.expire(message) and message.state is State.ACTIVE:
            self._make_ready(message)

    def _remove(self, message: StoredMessage) -> None:
        self.messages.pop(message.sequence, None)
        if message.token is not None:
            self._locked.pop(message.token, None)
            message.token = None

    def _expire_now(self, message: StoredMessage) -> None:
        if self._holds(message):
            self.expire(message)

    def _holds(self, message: StoredMessage) -> bool:
        return self.messages.get(message.sequence) is message
