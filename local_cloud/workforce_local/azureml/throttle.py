"""The resource manager's token buckets: how many requests of a kind a principal has left in a region.

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
GLOBAL_FACTOR = 15
"""How much more all principals of a subscription have together."""

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
    remaining_global: int = 0

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell the client: what is left for it, and for the whole subscription."""
        return {
            f"x-ms-ratelimit-remaining-subscription-{self.kind}": str(self.remaining),
            f"x-ms-ratelimit-remaining-subscription-global-{self.kind}": str(self.remaining_global),
        }


class TokenBuckets:
    """One bucket per principal, subscription, region and kind of request, and one that all principals share."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str, str, str], _Bucket] = {}

    def take(self, principal: str, subscription: str, method: str, region: str = "") -> Allowance:
        """Take one token; without one, `retry_after` says when there will be. Nobody's bucket is "*"."""
        kind, (capacity, rate) = _KINDS.get(method, ("writes", WRITES))
        place = (subscription.lower(), region.lower(), kind)
        own = self._fill((principal, *place), capacity, rate)
        common = self._fill(("*", *place), capacity * GLOBAL_FACTOR, rate * GLOBAL_FACTOR)
        wait = max((1 - own.tokens) / rate, (1 - common.tokens) / (rate * GLOBAL_FACTOR))
        if wait > 0:
            return Allowance(kind, int(own.tokens), max(1, math.ceil(wait)), int(common.tokens))
        own.tokens -= 1
        common.tokens -= 1
        return Allowance(kind, int(own.tokens), None, int(common.tokens))

    def _fill(self, key: tuple[str, str, str, str], capacity: float, rate: float) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.setdefault(key, _Bucket(capacity, now))
        bucket.tokens = min(capacity, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        return bucket
