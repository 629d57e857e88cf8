"""Duplicate detection: message ids of the recent past. Pure but for its own memory.

Invariant: an id is remembered from its first message for the whole window; a duplicate does not prolong it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any


class DuplicateFilter:
    """The ids of one entity."""

    def __init__(self) -> None:
        self._until: OrderedDict[Any, float] = OrderedDict()

    def is_duplicate(self, message_id: Any, now: float, window: float | None) -> bool:
        """Whether the id was there within the window; if not, it is remembered."""
        if window is None or message_id is None:
            return False
        self._forget(now)
        if message_id in self._until:
            return True
        self._until[message_id] = now + window
        return False

    def _forget(self, now: float) -> None:
        # Times grow with the order of insertion but after a shorter window was set: then ids live a little longer.
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
