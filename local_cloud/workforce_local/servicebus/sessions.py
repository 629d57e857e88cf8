"""Delivery by session: a session's messages go to the one receiver that holds it, in order.

No network. Invariants: a session is held by at most one receiver; the hold ends by the clock, whatever became of the
receiver's link, unless the receiver gives the session back; the session's state outlives every hold.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from workforce_local.servicebus.competing import Store, next_ready
from workforce_local.servicebus.errors import EntityError, session_cannot_be_locked, session_lock_lost, timed_out
from workforce_local.servicebus.stored import Consumer, StoredMessage
from workforce_local.servicebus.timers import Timers


class SessionStore(Store, Protocol):
    """What sessions need of their queue."""

    @property
    def lock_duration(self) -> float:
        """How long a session is held without renewal."""

    def unlock_session(self, session_id: str, *, failed: bool) -> None:
        """Make the session's locked messages available again."""

    def extend_session(self, session_id: str, until: float) -> None:
        """The session's lock was renewed: its messages' locks are too."""


@dataclass
class _Session:
    ready: list[int] = field(default_factory=list)
    state: bytes | None = None
    holder: Consumer | None = None
    locked_until: float | None = None


@dataclass(eq=False)
class SessionRequest:
    """A receiver that wants the next session that has messages.

    Attributes:
        consumer: Who.
        accepted: Called with session id and end of the lock.
        refused: Called when the time is over.
    """

    consumer: Consumer
    accepted: Callable[[str, float], None]
    refused: Callable[[EntityError], None]
    open: bool = True


class Sessions:
    """The sessions of one entity."""

    def __init__(self, store: SessionStore, timers: Timers) -> None:
        self._store = store
        self._timers = timers
        self._sessions: dict[str, _Session] = {}
        self._held_by: dict[Consumer, str] = {}
        self._requests: deque[SessionRequest] = deque()

    # -- messages

    def add(self, message: StoredMessage) -> None:
        """A message is ready."""
        session = self._sessions.setdefault(message.session_id or "", _Session())
        heapq.heappush(session.ready, message.sequence)
        if session.locked_until is None:
            self._offer()
        else:
            self._pump(session)

    def granted(self, consumer: Consumer) -> None:
        """A holder's credit has changed."""
        session = self._sessions.get(self._held_by.get(consumer, ""))
        if session is not None and session.holder is consumer:
            self._pump(session)

    def _pump(self, session: _Session) -> None:
        while session.holder is not None and session.holder.credit > 0:
            message = next_ready(self._store, session.ready)
            if message is None:
                return
            heapq.heappop(session.ready)
            session.holder.credit -= 1
            self._store.hand_over(message, session.holder, locked_until=session.locked_until)

    # -- holding a session

    def accept(self, session_id: str, consumer: Consumer) -> float:
        """Lock a certain session; return until when.

        Raises:
            EntityError: Somebody else holds it.
        """
        session = self._sessions.setdefault(session_id, _Session())
        if session.locked_until is not None:
            raise session_cannot_be_locked(session_id)
        return self._lock(session_id, session, consumer)

    def accept_next(self, request: SessionRequest, timeout: float) -> None:
        """Lock the next free session with messages, now or as soon as there is one."""

        def give_up() -> None:
            if request.open:
                request.open = False
                self._requests.remove(request)
                request.refused(timed_out())

        self._requests.append(request)
        self._timers.at(self._timers.now() + timeout, give_up)
        self._offer()

    def withdraw(self, request: SessionRequest) -> None:
        """The receiver does not wait any more."""
        if request.open:
            request.open = False
            self._requests.remove(request)

    def remove(self, consumer: Consumer, *, orderly: bool) -> None:
        """A holder has gone: a closed link gives its session back at once, a lost one when the lock ends."""
        session_id = self._held_by.pop(consumer, None)
        session = self._sessions.get(session_id) if session_id is not None else None
        if session_id is None or session is None or session.holder is not consumer:
            return
        session.holder = None
        if orderly:
            self._release(session_id, session, failed=False)

    def renew(self, session_id: str) -> float:
        """Prolong the hold; return until when.

        Raises:
            EntityError: Nobody holds the session.
        """
        session = self._held(session_id)
        until = self._timers.now() + self._store.lock_duration
        session.locked_until = until
        self._store.extend_session(session_id, until)
        self._watch(session_id, session, until)
        return until

    def locked_until(self, session_id: str) -> float:
        """Until when a session is held.

        Raises:
            EntityError: Nobody holds it.
        """
        until = self._held(session_id).locked_until
        assert until is not None
        return until

    def lose_locks(self) -> int:
        """End all holds before their time, also those of receivers that have gone; return how many."""
        locked = [(name, session) for name, session in self._sessions.items() if session.locked_until is not None]
        for session_id, session in locked:
            self._lose(session_id, session)
        return len(locked)

    def state(self, session_id: str) -> bytes | None:
        """What its holder wrote last.

        Raises:
            EntityError: Nobody holds the session.
        """
        return self._held(session_id).state

    def set_state(self, session_id: str, state: bytes | None) -> None:
        """Write the session's state.

        Raises:
            EntityError: Nobody holds the session.
        """
        self._held(session_id).state = state

    def waiting(self) -> bool:
        """Whether anybody holds a session or waits for one."""
        return bool(self._requests or self._held_by)

    def _held(self, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None or session.locked_until is None:
            raise session_lock_lost(session_id)
        return session

    def _lock(self, session_id: str, session: _Session, consumer: Consumer) -> float:
        until = self._timers.now() + self._store.lock_duration
        session.holder, session.locked_until = consumer, until
        self._held_by[consumer] = session_id
        self._watch(session_id, session, until)
        return until

    def _watch(self, session_id: str, session: _Session, due: float) -> None:
        def lapse() -> None:
            # A renewal, or a new hold, has a later end and a watch of its own.
            if session.locked_until == due:
                self._lose(session_id, session)

        self._timers.at(due, lapse)

    def _lose(self, session_id: str, session: _Session) -> None:
        holder, session.holder = session.holder, None
        self._release(session_id, session, failed=True)
        if holder is not None:
            self._held_by.pop(holder, None)
            holder.force_detach(session_lock_lost(session_id))

    def _release(self, session_id: str, session: _Session, *, failed: bool) -> None:
        session.locked_until = None
        self._store.unlock_session(session_id, failed=failed)
        if not session.ready and session.state is None and session.locked_until is None:
            self._sessions.pop(session_id, None)
        self._offer()

    def _offer(self) -> None:
        while self._requests and (found := self._first_free()) is not None:
            session_id, session = found
            request = self._requests.popleft()
            request.open = False
            request.accepted(session_id, self._lock(session_id, session, request.consumer))

    def _first_free(self) -> tuple[str, _Session] | None:
        """The free session whose first message is the oldest."""
        best: tuple[int, str, _Session] | None = None
        for session_id, session in list(self._sessions.items()):
            if session.locked_until is None and (message := next_ready(self._store, session.ready)) is not None:
                candidate = (message.sequence, session_id, session)
                best = candidate if best is None or message.sequence < best[0] else best
        return best[1:] if best else None
