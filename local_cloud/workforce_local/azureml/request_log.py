"""What was asked of the local Azure over HTTP: for tests and the demo, which count from outside the product.

Kept in memory and bounded: the oldest requests are forgotten first, the counts never.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from workforce_local.azureml.jobs import utc_now

_KEPT = 20_000


class Entry(NamedTuple):
    """One answered request."""

    at: datetime
    method: str
    route: str
    path: str
    status: int


class RequestLog:
    """The requests, and how many there were per method, route and status."""

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._counts: Counter[tuple[str, str, int]] = Counter()

    def add(self, method: str, route: str, path: str, status: int) -> None:
        """Note one answer."""
        self._entries.append(Entry(self._clock(), method, route, path, status))
        self._counts[method, route, status] += 1

    def count(self, method: str, route: str, status: int | None = None) -> int:
        """How many requests there were; with any status if none is given."""
        return sum(
            number
            for (known_method, known_route, known_status), number in self._counts.items()
            if (known_method, known_route) == (method, route) and status in (None, known_status)
        )

    def document(self) -> dict[str, Any]:
        """Everything, as JSON."""
        counts = [
            {"method": method, "route": route, "status": status, "count": number}
            for (method, route, status), number in sorted(self._counts.items())
        ]
        return {
            "counts": counts,
            "requests": [{**entry._asdict(), "at": entry.at.isoformat()} for entry in self._entries],
        }
