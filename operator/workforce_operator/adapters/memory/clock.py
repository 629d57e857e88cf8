"""A clock that moves when it is told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """Stands still between calls of ``advance``."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        """Aware, in UTC."""
        return self._now

    def advance(self, seconds: float) -> datetime:
        """Let time pass, and return the new time."""
        self._now += timedelta(seconds=seconds)
        return self._now
