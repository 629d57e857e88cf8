"""The resource manager's token buckets: how many requests of a kind a principal has left.

Pure but for the clock that is passed in. Invariant: a bucket never holds more than its capacity nor less than nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

READS = (250.0, 25.0)
WRITES = (200.0, 10.0)
DELETES = (200.0, 10.0)
"""Capacity, and what comes back per second."""

_KINDS = {"GET": ("reads", READS), "HEAD": ("reads", READS), "DELETE": ("deletes", DELETES)}


@dataclass
class _Bucket:
    tokens: float
    at: float


@dataclass(frozen=True)
class Allowance:
    """What one request was granted."""

    kind: str
    remaining: int
    retry_after: int | None

    @property
    def header(self) -> tuple[str, str]:
        """The header that tells the client."""
        return f"x-ms-ratelimit-remaining-subscription-{self.kind}", str(self.remaining)


class TokenBuckets:
    """One bucket per principal, subscription and kind of request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str, str], _Bucket] = {}

    def take(self, principal: str, subscription: str, method: str) -> Allowance:
        """Take one token; without one, `retry_after` says when there will be."""
        kind, (capacity, rate) = _KINDS.get(method, ("writes", WRITES))
        now = self._clock()
        bucket = self._buckets.setdefault((principal, subscription.lower(), kind), _Bucket(capacity, now))
        bucket.tokens = min(capacity, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens < 1:
            return Allowance(kind, 0, max(1, math.ceil((1 - bucket.tokens) / rate)))
        bucket.tokens -= 1
        return Allowance(kind, int(bucket.tokens), None)
