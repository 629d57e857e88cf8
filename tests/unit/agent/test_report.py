"""Reports: sent in the background, never in the way."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobq.control import Mode, decode_report
from workforce_agent.report import Activity, Reporter, ReportError, state_due

NOW = datetime(2026, 11, 1, tzinfo=UTC)
IDLE = Activity(0, None, 3, 1, True, None, 0)


def test_state_is_reported_every_five_minutes_and_soon_after_a_change():
    began, sent = NOW - timedelta(hours=2), NOW - timedelta(seconds=10)
    assert state_due(NOW, began, sent, changed=False) == sent + timedelta(minutes=5)
    assert state_due(NOW, began, sent, changed=True) == sent + timedelta(seconds=30)
    assert state_due(NOW, began, NOW - timedelta(hours=1), changed=True) == NOW


def test_the_first_state_waits_a_moment_for_the_first_tasks():
    assert state_due(NOW, NOW, None, changed=False) == NOW + timedelta(seconds=2)
    assert state_due(NOW, NOW, None, changed=True) == NOW + timedelta(seconds=2)
    assert state_due(NOW, NOW - timedelta(minutes=1), None, changed=False) == NOW


class Link:
    """A reports queue in memory that can fail."""

    def __init__(self):
        self.sent = []
        self.failing = False

    @asynccontextmanager
    async def open(self):
        if self.failing:
            raise ReportError("no rights")
        yield self

    async def send(self, body):
        if self.failing:
            raise ReportError("no rights")
        self.sent.append(decode_report(body))


@asynccontextmanager
async def reporting():
    """A reporter on the clock of the loop; made in the test, where that is the virtual one."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    link = Link()
    reporter = Reporter("j1", link.open, lambda: IDLE, lambda: NOW + timedelta(seconds=loop.time() - start))
    running = asyncio.create_task(reporter.run())
    yield reporter, link
    running.cancel()


def kinds(link):
    return [report.kind for report in link.sent]


pytestmark = pytest.mark.looptime


async def test_a_workers_life_is_reported_in_order():
    async with reporting() as (reporter, link):
        reporter.hello(4)
        reporter.drain_accepted("o1", 2, Mode.FINISH)
        reporter.drain_finished("o1", 3, 1, 12.5)
        reporter.exit("drain-finish", 0, [])
        await reporter.flush(5)
        assert kinds(link)[:4] == ["hello", "drain-accepted", "drain-finished", "exit"]
        assert {report.job for report in link.sent} == {"j1"}
        finished = link.sent[2]
        assert (finished.completed, finished.returned, finished.lost_seconds) == (3, 1, 12.5)


async def test_a_worker_that_takes_tasks_at_once_is_never_said_to_be_idle():
    async with reporting() as (reporter, link):
        reporter.hello(4)
        for busy in range(1, 5):
            await asyncio.sleep(0.2)
            reporter._activity = lambda busy=busy: replace(IDLE, busy_slots=busy)
            reporter.changed()
        await asyncio.sleep(60)
        assert kinds(link) == ["hello", "state"]
        assert link.sent[1].busy_slots == 4


async def test_many_changes_make_one_report_each_half_minute():
    async with reporting() as (reporter, link):
        for _ in range(300):
            reporter.changed()
            await asyncio.sleep(0.9)
        assert 9 <= len(link.sent) <= 10
        assert set(kinds(link)) == {"state"}


async def test_without_change_a_report_comes_every_five_minutes():
    async with reporting() as (_, link):
        await asyncio.sleep(905)
        assert len(link.sent) == 4


async def test_a_state_says_when_a_task_last_saved():
    async with reporting() as (reporter, link):
        saved = NOW - timedelta(seconds=3)
        reporter._activity = lambda: replace(IDLE, busy_slots=1, last_checkpoint=saved, running_seconds=3.0)
        reporter.changed()
        await asyncio.sleep(3)
        assert (link.sent[-1].last_checkpoint, link.sent[-1].running_seconds) == (saved, 3.0)


async def test_an_outage_delays_reports_and_keeps_their_order():
    async with reporting() as (reporter, link):
        link.failing = True
        reporter.hello(1)
        await reporter.flush(5)
        reporter.exit("time-limit", 0, [])
        link.failing = False
        await reporter.flush(120)
        assert [kind for kind in kinds(link) if kind != "state"] == ["hello", "exit"]


async def test_a_worker_without_a_reports_queue_reports_nothing_and_waits_for_nothing():
    reporter = Reporter(None, None, lambda: IDLE)
    reporter.hello(1)
    await reporter.run()
    await reporter.flush(1)
