"""The wall clock. The one place of the operator that asks the system for the date."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """The system's time."""

    def now(self) -> datetime:
        """Aware, in UTC."""
        return datetime.now(UTC)
