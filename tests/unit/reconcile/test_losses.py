"""How much work shrinking has cost, from the workers' own reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobq.control import DrainFinished, State
from tests.support.whole_operator import KEY
from workforce_operator.domain.errors import Conflict, Fenced
from workforce_operator.domain.observed import LastReport
from workforce_operator.reconcile.losses import Losses, running_seconds

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def state(job="a", *, busy=2, running=100.0, oldest=None, ago=10):
    return State(
        job=job,
        time=NOW - timedelta(seconds=ago),
        busy_slots=busy,
        running_seconds=running,
        oldest_task_start=oldest,
        completed=0,
        failed=0,
        accepting=True,
    )


def said(*args, **values):
    return LastReport.of(state(*args, **values))


def finished(job="a", lost=30.0):
    return DrainFinished(job=job, time=NOW, drain_id="o", returned=1, lost_seconds=lost)


def test_running_tasks_go_on_after_the_last_report():
    assert running_seconds(said(), NOW) == 120.0
    assert running_seconds(said(busy=0, running=0.0), NOW) == 0.0
    assert running_seconds(None, NOW) == 0.0


def test_an_agent_that_tells_only_of_its_longest_task_is_understood():
    assert running_seconds(said(running=None, oldest=NOW - timedelta(seconds=60)), NOW) == 60.0
    assert running_seconds(said(running=None), NOW) == 0.0


def test_what_drained_workers_return_is_lost(world):
    Losses(world.telemetry).returned([finished("a"), finished("b", 12.0), finished("c", 0.0)])
    assert world.telemetry.losses == {"returned": 42.0}


def test_a_cancelled_worker_loses_what_it_ran_once_whatever_it_says_yet(world):
    losses = Losses(world.telemetry)
    losses.cancelled("a", said(), NOW)
    losses.cancelled("a", said(), NOW)
    losses.returned([finished("a")])
    assert world.telemetry.losses == {"cancelled": 120.0}


def test_a_report_of_a_drain_that_is_delivered_twice_is_counted_once(world):
    losses = Losses(world.telemetry)
    losses.returned([finished("a"), finished("a")])
    losses.returned([finished("a"), finished("b", 1.0)])
    assert world.telemetry.losses == {"returned": 31.0}


def test_a_worker_that_is_cancelled_after_its_drain_has_ended_loses_nothing_more(world):
    losses = Losses(world.telemetry)
    losses.returned([finished("a")])
    losses.cancelled("a", said(), NOW)
    assert world.telemetry.losses == {"returned": 30.0}


def test_of_who_was_counted_no_more_is_remembered_than_is_bounded(world, monkeypatch):
    monkeypatch.setattr("workforce_operator.reconcile.losses.REMEMBERED", 2)
    losses = Losses(world.telemetry)
    losses.returned([finished("a"), finished("b"), finished("c"), finished("b"), finished("a")])
    assert world.telemetry.losses == {"returned": 120.0}


@pytest.mark.parametrize(("policy", "lost"), [("Cancel", {"cancelled": 120.0}), ("Drain", {})])
async def test_only_a_pass_that_cancels_a_busy_worker_loses_work(world, policy, lost):
    world.store.apply(KEY, world.spec(replicas=1, deletionPolicy=policy))
    for _ in range(3):
        await world.reconciler.reconcile(KEY)
    (job,) = world.jobs.live()
    world.jobs.set_state(job.name, "Running")
    said = state(job.name).model_copy(update={"time": world.clock.now() - timedelta(seconds=10)})
    world.control.report("bus", said)
    world.store.delete(KEY)
    await world.reconciler.reconcile(KEY)
    assert dict(world.telemetry.losses) == lost


async def test_what_workers_say_at_the_end_of_their_drain_is_counted_once(world):
    world.store.apply(KEY, world.spec(replicas=0))
    await world.reconciler.reconcile(KEY)
    world.control.report("bus", finished("somebody", 9.0))
    for _ in range(3):
        await world.reconciler.reconcile(KEY)
    assert dict(world.telemetry.losses) == {"returned": 9.0}


@pytest.mark.parametrize("error", [Conflict("somebody edited it"), Fenced("not the leader any more")])
async def test_what_drained_workers_returned_is_counted_also_if_the_pass_is_broken_off(world, error):
    world.store.apply(KEY, world.spec(replicas=0))
    await world.reconciler.reconcile(KEY)
    world.store.apply(KEY, world.spec(replicas=1))
    world.control.report("bus", finished("somebody", 600.0))
    world.store.faults.next_error("write_status", error)
    with pytest.raises(type(error)):
        await world.reconciler.reconcile(KEY)
    for _ in range(2):
        await world.reconciler.reconcile(KEY)
    assert dict(world.telemetry.losses) == {"returned": 600.0}
