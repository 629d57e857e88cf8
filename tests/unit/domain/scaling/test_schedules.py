"""Schedules, and what changes of the clocks make of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.tables import table
from workforce_operator.api.autoscaling import Schedule
from workforce_operator.domain.scaling.schedules import ScheduleError, begins_after, check, highest, is_active

HOUR = 3600


def schedule(cron: str = "0 8 * * 1-5", zone: str = "Europe/London", seconds: int = 10 * HOUR, **fields: Any):
    base = {"name": "office", "min_replicas": 20}
    return Schedule(schedule=cron, time_zone=zone, duration_seconds=seconds, **(base | fields))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_a_schedule_lasts_from_its_beginning_until_just_before_its_end():
    office = schedule()
    for time, active in [
        ("2026-01-12T07:59:59.999Z", False),
        ("2026-01-12T08:00:00Z", True),
        ("2026-01-12T17:59:59.999Z", True),
        ("2026-01-12T18:00:00Z", False),
        ("2026-01-11T12:00:00Z", False),  # a Sunday
    ]:
        assert is_active(office, at(time)) is active, time


def test_a_schedule_follows_the_clocks_of_its_time_zone():
    office = schedule()
    assert is_active(office, at("2026-07-06T07:30:00Z"))
    assert not is_active(office, at("2026-01-12T07:30:00Z"))
    new_york = schedule(zone="America/New_York")
    assert begins_after(new_york, at("2026-07-06T00:00:00Z")) == at("2026-07-06T12:00:00Z")
    assert begins_after(new_york, at("2026-01-12T00:00:00Z")) == at("2026-01-12T13:00:00Z")


def starts(given: Schedule, first: str, last: str) -> list[str]:
    found, time = [], at(first)
    while (time := begins_after(given, time)) < at(last):
        found.append(time.strftime("%dT%H:%M"))
    return found


def test_a_beginning_in_the_skipped_hour_comes_right_after_it():
    """In London the clocks go from 01:00 to 02:00 on 29 March 2026."""
    nightly = schedule("30 1 * * *", seconds=HOUR)
    assert starts(nightly, "2026-03-28T00:00Z", "2026-03-31T00:00Z") == ["28T01:30", "29T01:00", "30T00:30"]
    assert is_active(nightly, at("2026-03-29T01:59Z"))
    assert not is_active(nightly, at("2026-03-29T02:00Z"))


def test_a_beginning_in_the_repeated_hour_comes_once():
    """In London the clocks go from 02:00 back to 01:00 on 25 October 2026."""
    nightly = schedule("30 1 * * *", seconds=20 * 60)
    assert starts(nightly, "2026-10-24T00:00Z", "2026-10-27T00:00Z") == ["24T00:30", "25T00:30", "26T01:30"]
    assert is_active(nightly, at("2026-10-25T00:45Z"))
    assert not is_active(nightly, at("2026-10-25T01:45Z"))


def test_every_moment_around_both_changes_of_the_clocks_is_in_the_schedule_or_not_as_its_beginnings_say():
    for cron in ("30 1 * * *", "0 * * * *", "15 0-3 * * *", "*/20 1 * * *", "59 0 * * *", "0 2 * * *"):
        given = schedule(cron, seconds=25 * 60)
        for day in ("2026-03-28T20:00Z", "2026-10-24T20:00Z"):
            begin, time = at(day), at(day) - timedelta(hours=2)
            known = []
            while (time := begins_after(given, time)) < begin + timedelta(hours=10):
                known.append(time)
            for minute in range(0, 600, 5):
                now = begin + timedelta(minutes=minute)
                assert is_active(given, now) == any(start <= now < start + timedelta(minutes=25) for start in known)


def test_the_length_counts_seconds_that_pass():
    """Begun the evening before, it lasts its ten hours whatever the clocks do in the night."""
    night = schedule("0 20 * * *")
    for evening in ("2026-03-28T20:00Z", "2026-10-24T19:00Z"):
        assert is_active(night, at(evening) + timedelta(hours=10, seconds=-1))
        assert not is_active(night, at(evening) + timedelta(hours=10))


def test_the_schedule_that_keeps_most_replicas_counts():
    few, many = schedule(min_replicas=5, name="few"), schedule(min_replicas=9, name="many")
    never_now = schedule("0 8 * * 6", min_replicas=99, name="saturday")
    assert highest([few, never_now, many], at("2026-01-12T09:00Z")) is many
    assert highest([few, many], at("2026-01-12T19:00Z")) is None


@table(
    ("given", "said"),
    [
        (schedule("0 25 * * *"), "hour"),
        (schedule("0 8 31 2 *"), "0 8 31 2"),
        (schedule("a b c d e"), "minute"),
        (schedule(zone="Europe/Londn"), "timeZone: there is no time zone Europe/Londn"),
        (schedule(zone="Europe"), "timeZone: there is no time zone Europe"),
    ],
)
def test_what_cannot_be_understood_is_told(given, said):
    with pytest.raises(ScheduleError, match=said):
        check(given)
