"""Who may send the next request to ARM: paced by token buckets, bounded in flight, fair between Workforces.

One governor serves one principal. It knows nothing of HTTP. Waiting callers stand in one line per Workforce; the lines
are served in turn, each first come first served, so that a fleet of thousands does not hold up a fleet of two.

ARM counts in each of its own regions, and by what rule a request gets to one of them is not published. But each answer
says which region gave it: places (workspaces, namespaces) that are served by one region share a bucket, and those that
have not answered yet share one of the subscription. A larger bucket of the subscription bounds all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum

from workforce_operator.adapters.arm.buckets import READ_LIMITS, SUBSCRIPTION_FACTOR, WRITE_LIMITS, Bucket, Limits
from workforce_operator.domain.errors import Throttled

CONCURRENCY = 200
"""Requests in flight per bucket: a whole burst at once, and 10 per second through a PUT's 2-4 s or a stall of 20 s."""
PATIENCE = 5.0
"""A pause that the service asked for is waited out up to this long; a longer one is told to the caller."""


class Kind(StrEnum):
    """Which of ARM's budgets a request draws from."""

    READ = "reads"
    WRITE = "writes"


class _Gate:
    """One bucket with its lines of waiting callers."""

    def __init__(self, limits: Limits, concurrency: int, clock: Callable[[], float]) -> None:
        self.bucket = Bucket(limits, clock())
        self._clock = clock
        self._free = concurrency
        self._lines: OrderedDict[str, deque[asyncio.Future[float]]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, turn: str) -> float:
        """Wait for a place and a token; returns when it was taken."""
        self._refuse_if_blocked()
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(turn, deque()).append(future)
        self.serve()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.leave()
            raise

    @property
    def waiting(self) -> int:
        """Callers that stand in line."""
        return sum(len(line) for line in self._lines.values())

    def leave(self) -> None:
        """Give the place back."""
        self._free += 1
        self.serve()

    def block(self, seconds: float) -> None:
        """The service asked for silence: those who would wait longer than is reasonable are told so."""
        self.bucket.block(self._clock(), seconds)
        blocked = self.bucket.blocked(self._clock())
        if blocked > PATIENCE:
            for line in self._lines.values():
                for future in line:
                    if not future.done():
                        future.set_exception(_throttled(blocked))
            self._lines.clear()

    def serve(self) -> None:
        """Let in as many as may go now, and come back when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._free > 0 and (future := self._peek()) is not None:
            wait = self.bucket.wait(self._clock())
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self.serve)
                return
            self._advance()
            now = self._clock()
            self.bucket.take(now)
            self._free -= 1
            future.set_result(now)

    def _refuse_if_blocked(self) -> None:
        blocked = self.bucket.blocked(self._clock())
        if blocked > PATIENCE:
            raise _throttled(blocked)

    def _peek(self) -> asyncio.Future[float] | None:
        """Who is next, dropping those who have given up."""
        while self._lines:
            turn, line = next(iter(self._lines.items()))
            while line and line[0].done():
                del line[0]
            if line:
                return line[0]
            del self._lines[turn]
        return None

    def _advance(self) -> None:
        """Take the next one out of its line, and put the line behind all others."""
        turn, line = next(iter(self._lines.items()))
        del line[0]
        if line:
            self._lines.move_to_end(turn)
        else:
            del self._lines[turn]


def _throttled(seconds: float) -> Throttled:
    return Throttled("Azure Resource Manager asks for a pause", retry_after=seconds)


class Governor:
    """Paces all requests of one principal."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        concurrency: int = CONCURRENCY,
        limits: Mapping[Kind, Limits] | None = None,
    ) -> None:
        self._clock = clock
        self._concurrency = concurrency
        self._limits = limits or {Kind.READ: READ_LIMITS, Kind.WRITE: WRITE_LIMITS}
        self._gates: dict[tuple[str, str | None, Kind], _Gate] = {}
        self._regions: dict[str, str] = {}

    @asynccontextmanager
    async def slot(self, subscription: str, kind: Kind, *, turn: str, place: str = "") -> AsyncIterator[float]:
        """Hold a place in flight for one request, after waiting for a token; gives the time for ``report``.

        Args:
            subscription: ARM counts for each one by itself.
            kind: Read or write.
            turn: Whose turn it takes, usually the Workforce.
            place: What the request is about, as ``answered`` knows it.

        Raises:
            Throttled: The service has asked for a pause that is too long to wait for here.
        """
        async with (
            _entered(self._gate(subscription, self._regions.get(place, ""), kind), turn) as taken,
            _entered(self._gate(subscription, None, kind), turn),
        ):
            yield taken

    def waiting(self, kind: Kind) -> int:
        """How many callers wait for their turn, over all subscriptions."""
        return sum(gate.waiting for (_, _, gate_kind), gate in self._gates.items() if gate_kind is kind)

    def answered(self, place: str, region: str) -> None:
        """Learn which of ARM's regions serves a place."""
        self._regions[place] = region

    def report(
        self,
        subscription: str,
        kind: Kind,
        *,
        remaining: float | None,
        retry_after: float | None,
        place: str = "",
        sent: float | None = None,
    ) -> None:
        """Learn from an answer: how many requests were left, or for how long none will be taken.

        ``sent`` is what ``slot`` gave; by default the request was counted just now.
        """
        gate = self._gate(subscription, self._regions.get(place, ""), kind)
        if remaining is not None:
            gate.bucket.correct(self._clock(), remaining, sent)
        if retry_after is not None:
            gate.block(retry_after)

    def _gate(self, subscription: str, region: str | None, kind: Kind) -> _Gate:
        """The gate of one region; region None is the whole subscription."""
        key = (subscription.lower(), region, kind)
        if key not in self._gates:
            limits, concurrency = self._limits[kind], self._concurrency
            if region is None:
                limits = Limits(limits.burst * SUBSCRIPTION_FACTOR, limits.per_second * SUBSCRIPTION_FACTOR)
                concurrency *= SUBSCRIPTION_FACTOR
            self._gates[key] = _Gate(limits, concurrency, self._clock)
        return self._gates[key]


@asynccontextmanager
async def _entered(gate: _Gate, turn: str) -> AsyncIterator[float]:
    taken = await gate.enter(turn)
    try:
        yield taken
    finally:
        gate.leave()
