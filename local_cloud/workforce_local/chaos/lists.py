"""Lists that are not what they should be: kept for too long, or cut short. Pure but for the clock that is passed in."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

_MOST = 1_000


class Snapshots:
    """Answers that are given again until they are too old."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[Hashable, tuple[float, bytes]] = {}

    def find(self, key: Hashable, age: float) -> bytes | None:
        """The answer that was kept, unless it is older than that."""
        at, body = self._kept.get(key, (-math.inf, b""))
        return body if self._clock() - at < age else None

    def keep(self, key: Hashable, body: bytes) -> None:
        """Keep an answer; the oldest goes if there are too many."""
        self._kept.pop(key, None)
        if len(self._kept) >= _MOST:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (self._clock(), body)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()


def truncated(document: Mapping[str, Any], keep: float) -> dict[str, Any]:
    """A list without its end, and without a word about it."""
    items = document["value"]
    short = {**document, "value": items[: math.floor(len(items) * keep)]}
    short.pop("nextLink", None)
    if "continuationToken" in short:
        short["continuationToken"] = None
    return short
