"""Schedules: which of them lasts at a given time. Pure; time zones come from the tz database.

Changes of the clocks are treated as Debian's cron does it: a beginning that falls into the skipped hour comes right
after it, and one that falls into the repeated hour comes once, at its first time. The length counts seconds that pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from workforce_operator.api.autoscaling import Schedule

_REPEATED = timedelta(hours=3)
"""A clock time may come a second time within so much; cronsim cannot be asked from in between."""


class ScheduleError(ValueError):
    """A schedule cannot be understood. The text says which part of it."""


def check(schedule: Schedule) -> None:
    """Say what is wrong with a schedule.

    Raises:
        ScheduleError: Its time zone does not exist, or its cron expression never comes true.
    """
    begins_after(schedule, datetime(2024, 1, 1, tzinfo=UTC))


def begins_after(schedule: Schedule, after: datetime) -> datetime:
    """When a schedule begins next, in UTC.

    Raises:
        ScheduleError: Never, or the schedule cannot be understood.
    """
    try:
        zone = ZoneInfo(schedule.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"timeZone: there is no time zone {schedule.time_zone}") from error
    try:
        for start in CronSim(schedule.schedule, (after - _REPEATED).astimezone(zone)):
            if start > after:
                return start.astimezone(UTC)
    except CronSimError as error:
        raise ScheduleError(f"schedule: {schedule.schedule!r}: {error}") from error
    raise ScheduleError(f"schedule: {schedule.schedule!r} never comes")


def is_active(schedule: Schedule, now: datetime) -> bool:
    """Whether the schedule lasts now: from its beginning until just before its end."""
    return begins_after(schedule, now - timedelta(seconds=schedule.duration_seconds)) <= now


def highest(schedules: Iterable[Schedule], now: datetime) -> Schedule | None:
    """The schedule that keeps most replicas now, the first of them if several do; None if none lasts."""
    active = [schedule for schedule in schedules if is_active(schedule, now)]
    return max(active, key=lambda schedule: schedule.min_replicas, default=None)
