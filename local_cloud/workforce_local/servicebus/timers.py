"""Things to do at a time, driven by an injected clock. No event loop: whoever owns the timers runs what is due.

Invariant: callbacks run in the order of their times, and never before the clock says so.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

Callback = Callable[[], None]


class Timers:
    """Callbacks by time. There is no cancelling: a callback looks whether it still has something to do.

    Attributes:
        now: The clock, in seconds since the epoch.
        wake: Called when the earliest time changes to an earlier one.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock
        self.wake: Callable[[float], None] = lambda due: None
        self._heap: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()

    def at(self, due: float, callback: Callback) -> None:
        """Call back at a time."""
        heapq.heappush(self._heap, (due, next(self._order), callback))
        if self._heap[0][0] == due:
            self.wake(due)

    def run_due(self) -> float | None:
        """Run what is due; return when the next thing is, if there is one."""
        while self._heap and self._heap[0][0] <= self.now():
            heapq.heappop(self._heap)[2]()
        return self._heap[0][0] if self._heap else None
