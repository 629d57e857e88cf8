"""Arithmetic of ARM's token buckets: how long until the next request may be sent. Pure; the caller brings the time.

ARM counts per principal, subscription and kind of operation. A bucket here is our picture of the one there: it starts
full, refills at the documented pace, and is corrected downwards by what the service reports.

Two pictures of one bucket are never quite equal: an answer is as old as its request was long, and the first request
arrives later than the others. So one token is never taken: otherwise every request of a busy time would be a gamble.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Size of a bucket and tokens that come back per second."""

    burst: float
    per_second: float


WRITE_LIMITS = Limits(200, 10)
READ_LIMITS = Limits(250, 25)
"""ARM's documented limits per principal, subscription and region; cancels are writes."""
SUBSCRIPTION_FACTOR = 15
"""How much more than in one region a subscription's requests may be over all regions, and principals."""
KEPT = 1.0
"""Tokens that stay in the bucket."""
_SHORTEST = 1e-6


class Bucket:
    """One token bucket."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._tokens = limits.burst
        self._at = now
        self._blocked_until = now

    def wait(self, now: float) -> float:
        """Seconds until a token may be taken; 0 means now."""
        self._refill(now)
        missing = (1 + KEPT - self._tokens) / self._limits.per_second
        wait = max(missing, self._blocked_until - now)
        # A wait shorter than the clock can tell would be waited for over and over.
        return wait if wait > _SHORTEST else 0.0

    def blocked(self, now: float) -> float:
        """Seconds for which the service has asked for silence."""
        return max(0.0, self._blocked_until - now)

    def take(self, now: float) -> None:
        """Take one token; only after ``wait`` has said 0."""
        self._refill(now)
        self._tokens -= 1

    def correct(self, now: float, remaining: float) -> None:
        """Learn how many tokens the service says are left: others may draw from the same bucket.

        It tells whole ones only, so that there may be nearly one more.
        """
        self._refill(now)
        self._tokens = min(self._tokens, max(0.0, remaining) + 1)

    def block(self, now: float, seconds: float) -> None:
        """The service has refused a request: nothing for so long. A shorter wish does not end a longer one."""
        self._refill(now)
        self._tokens = min(self._tokens, 0.0)
        self._blocked_until = max(self._blocked_until, now + seconds)

    def _refill(self, now: float) -> None:
        elapsed = max(0.0, now - self._at)
        self._tokens = min(self._limits.burst, self._tokens + elapsed * self._limits.per_second)
        self._at = max(self._at, now)
