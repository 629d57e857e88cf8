"""Arithmetic of ARM's token buckets: how long until the next request may be sent. Pure; the caller brings the time.

ARM counts per principal, subscription and kind of operation. A bucket here is our picture of the one there: it starts
full, refills at the documented pace, and is corrected downwards by what the service reports.
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
        missing = max(0.0, 1 - self._tokens) / self._limits.per_second
        return max(missing, self._blocked_until - now, 0.0)

    def blocked(self, now: float) -> float:
        """Seconds for which the service has asked for silence."""
        return max(0.0, self._blocked_until - now)

    def take(self, now: float) -> None:
        """Take one token; only after ``wait`` has said 0."""
        self._refill(now)
        self._tokens -= 1

    def correct(self, now: float, remaining: float) -> None:
        """Learn how many tokens the service says are left: others may draw from the same bucket."""
        self._refill(now)
        self._tokens = min(self._tokens, max(0.0, remaining))

    def block(self, now: float, seconds: float) -> None:
        """The service has refused a request: nothing for so long. A shorter wish does not end a longer one."""
        self._refill(now)
        self._tokens = min(self._tokens, 0.0)
        self._blocked_until = max(self._blocked_until, now + seconds)

    def _refill(self, now: float) -> None:
        elapsed = max(0.0, now - self._at)
        self._tokens = min(self._limits.burst, self._tokens + elapsed * self._limits.per_second)
        self._at = max(self._at, now)
