"""Arithmetic of ARM's token buckets: how long until the next request may be sent. Pure; the caller brings the time.

ARM counts per principal, subscription and kind of operation. A bucket here is our picture of the one there: it starts
full, refills at the documented pace, and is corrected downwards by what the service reports.

Two pictures of one bucket are never quite equal: a full bucket there refills only from when a burst arrives, which is
later than it was sent, the more so the more connections have to be made at once. So a burst is spread a little, and a
few tokens are never taken: otherwise every request of a busy time would be a gamble.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Size of a bucket and tokens that come back per second.

    Attributes:
        pace: The most tokens that are taken per second, however many there are.
    """

    burst: float
    per_second: float
    pace: float = math.inf


WRITE_LIMITS = Limits(200, 10, pace=100)
READ_LIMITS = Limits(250, 25)
"""ARM's documented limits per principal, subscription and region; cancels are writes. The pace is our own."""
SUBSCRIPTION_FACTOR = 15
"""How much more than in one region a subscription's requests may be over all regions, and principals."""
KEPT_SECONDS = 0.5
"""So much of the refill stays in the bucket, at least one token: a burst may arrive so late."""
LONGEST_REQUEST = 120.0
"""Seconds; how many tokens we had is forgotten after this."""
_SHORTEST = 1e-6


class Bucket:
    """One token bucket."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._tokens = limits.burst
        self._at = now
        self._blocked_until = now
        self._next_at = now
        self._kept = max(1.0, limits.per_second * KEPT_SECONDS)
        # When a token was taken and how many were left, but for what a later one undercut: both only rise.
        self._lows: deque[tuple[float, float]] = deque()

    def wait(self, now: float) -> float:
        """Seconds until a token may be taken; 0 means now."""
        self._refill(now)
        missing = (1 + self._kept - self._tokens) / self._limits.per_second
        wait = max(missing, self._blocked_until - now, self._next_at - now)
        # A wait shorter than the clock can tell would be waited for over and over.
        return wait if wait > _SHORTEST else 0.0

    def blocked(self, now: float) -> float:
        """Seconds for which the service has asked for silence."""
        return max(0.0, self._blocked_until - now)

    def take(self, now: float) -> None:
        """Take one token; only after ``wait`` has said 0."""
        self._refill(now)
        self._tokens -= 1
        self._next_at = now + 1 / self._limits.pace
        self._note_low(now)

    def correct(self, now: float, remaining: float, sent: float | None = None) -> None:
        """Learn how many tokens the service said were left: others may draw from the same bucket.

        Args:
            now: The time.
            remaining: Whole tokens, so that there may have been nearly one more, after a request that was counted at
                some time since it was sent. Only if we have had more all the time since is our picture wrong: a burst's
                last answer says that nothing was left seconds ago.
            sent: When ``take`` was called for it; by default it was counted just now.
        """
        self._refill(now)
        lows = (low for at, low in self._lows if sent is not None and at >= sent)
        surplus = next(lows, self._tokens) - (max(0.0, remaining) + 1)
        if surplus > 0:
            self._tokens -= surplus
            self._lows = deque((at, low - surplus) for at, low in self._lows)

    def block(self, now: float, seconds: float) -> None:
        """The service has refused a request: nothing for so long. A shorter wish does not end a longer one."""
        self._refill(now)
        self._tokens = min(self._tokens, 0.0)
        self._note_low(now)
        self._blocked_until = max(self._blocked_until, now + seconds)

    def _note_low(self, now: float) -> None:
        while self._lows and self._lows[-1][1] >= self._tokens:
            self._lows.pop()
        self._lows.append((now, self._tokens))
        while self._lows[0][0] < now - LONGEST_REQUEST:
            self._lows.popleft()

    def _refill(self, now: float) -> None:
        elapsed = max(0.0, now - self._at)
        self._tokens = min(self._limits.burst, self._tokens + elapsed * self._limits.per_second)
        self._at = max(self._at, now)
