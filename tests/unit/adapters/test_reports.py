"""What the operator remembers of workers' reports: bounded, and the last words of those that ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jobq.control import Exit, Hello, State
from workforce_operator.adapters.servicebus.reports import Reports

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
JOBS = ("a", *(f"job-{number}" for number in range(5)))


def words(job, seconds=0.0):
    return Exit(job=job, time=NOW + timedelta(seconds=seconds), why="crashed", exit_code=1)


def state(job, seconds=0.0):
    return State(job=job, time=NOW + timedelta(seconds=seconds), busy_slots=0, completed=0, failed=0, accepting=True)


def test_last_words_are_bounded_and_the_oldest_go_first():
    reports = Reports(last_words_kept=3)
    for number in range(5):
        reports.add(words(f"job-{number}"))
    assert list(reports.last_words(JOBS)) == ["job-2", "job-3", "job-4"]


def test_last_words_end_a_state_and_a_later_agent_ends_last_words():
    reports = Reports()
    reports.add(state("a"))
    reports.add(words("a", 1))
    assert (reports.states(JOBS), list(reports.last_words(JOBS))) == ({}, ["a"])
    reports.add(Hello(job="a", time=NOW + timedelta(seconds=2), agent_version="1", slots=1))
    assert reports.last_words(JOBS) == {}


def test_a_report_that_comes_late_ends_no_last_words():
    reports = Reports()
    reports.add(words("a", 5))
    reports.add(Hello(job="a", time=NOW, agent_version="1", slots=1))
    assert list(reports.last_words(JOBS)) == ["a"]
