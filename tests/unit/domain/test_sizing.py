"""What a pass knows when it decides how many replicas are wanted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.support.planning import (
    MINUTE,
    NOW,
    desired,
    entry,
    hires,
    job,
    jobs,
    ledger,
    name_of,
    observed,
    regions,
    report,
    running,
    wave,
    with_tasks,
)
from workforce_operator.api.status import ScaleDecision
from workforce_operator.domain.counting import count_jobs
from workforce_operator.domain.observed import Known
from workforce_operator.domain.plan import plan
from workforce_operator.domain.scaling.backlog import fleet, with_reports


def autoscaled(policy: str = "JobQ", *, most: int = 1000, **changes: Any):
    scaling = {"policy": policy, "maxReplicas": 1000, "tasksPerReplica": 4} | changes
    return desired(autoscaling=scaling, replicas=None, regions=regions(one=most))


def wanted_before(number: int) -> ScaleDecision:
    return ScaleDecision(time=NOW - MINUTE, backlog=0, raw_desired=number, desired=number)


def test_the_documented_examples_are_planned():
    """1600 tasks, 4 at a time: 10 workers with none running, 40 with 3 running."""
    nobody = plan(autoscaled(), with_tasks(observed(one=jobs()), 1600), ledger(one=entry(0)))
    assert (nobody.desired, len(hires(nobody))) == (10, 10)
    three = plan(autoscaled(), with_tasks(observed(one=jobs(*running(3))), 1600), ledger(one=entry(3, filled=3)))
    assert (three.desired, len(hires(three))) == (40, 37)


def test_the_decision_is_written_before_the_hires_that_follow_from_it():
    answer = plan(autoscaled(), with_tasks(observed(one=jobs()), 1600), ledger(one=entry(0)))
    assert answer.ledger.decision is not None
    assert answer.ledger.decision.desired == 10
    assert answer.ledger.decision.message.startswith("1600 tasks / 4 per replica = 400: step 50")


def test_workers_that_were_told_to_leave_do_not_feed_the_ramp():
    here = jobs(*running(4), job(4, "Queued"), job(5, "Failed", ended=1))
    known = ledger(one=entry(6, waves=(wave(0, 1),)))
    counted = fleet({"one": count_jobs(here, known.regions["one"].waves)}, known, {"one": 10})
    assert (counted.running, counted.perhaps_running, counted.supply) == (2, 2, 3)


def test_a_region_that_cannot_be_read_may_hold_as_many_as_were_last_known():
    known = ledger(one=entry(3), two=entry(9, region="two", reserved=7), three=entry(region="three"))
    counts = {"one": count_jobs(jobs(*running(2), unread=[2]), ())}
    counted = fleet(counts, known, {"one": 10, "two": 10, "three": 5})
    assert (counted.running, counted.perhaps_running, counted.supply) == (2, 2 + 1 + 7 + 5, 2)


def test_an_unreadable_region_with_all_the_workers_takes_nobody_away_elsewhere():
    two = desired(autoscaling={"policy": "JobQ", "maxReplicas": 1000}, replicas=None, regions=regions(one=500, two=500))
    known = replace(
        ledger(one=entry(5, filled=5), two=entry(300, region="two", filled=300, reserved=300)),
        decision=wanted_before(305),
    )
    world = with_tasks(observed(one=jobs(*running(5)), two=None), 50_000)
    assert plan(two, world, known).desired >= 305


def test_a_deleted_workforce_wants_nobody_and_keeps_its_last_decision():
    known = replace(ledger(one=entry(1)), decision=wanted_before(5))
    gone = desired(autoscaling={"policy": "JobQ", "maxReplicas": 9}, deletion_time=NOW)
    answer = plan(gone, observed(one=jobs()), known)
    assert (answer.desired, answer.ledger.decision) == (0, known.decision)


# Service Bus counts tasks that wait and tasks that are run as one number.

ACTIVE = {"told_apart": False}


def test_tasks_that_workers_say_they_run_do_not_wait():
    reports = {name_of(each): report(each, busy=2) for each in range(2)}
    world = with_tasks(observed(one=jobs(*running(2)), reports=reports), 4, **ACTIVE)
    known = with_reports(world.queue, world)
    assert isinstance(known, Known)
    assert (known.value.has_visible, known.value.length) == (False, 4)
    more = with_tasks(world, 5, **ACTIVE)
    assert with_reports(more.queue, more) is more.queue


def test_reports_of_workers_that_ended_or_fell_silent_tell_nothing():
    reports = {
        name_of(0): report(0, busy=2),
        name_of(1): report(1, busy=2, minutes_ago=10),
    }
    here = jobs(job(0, "Completed", started=50, ended=1), *running(1, first=1))
    world = with_tasks(observed(one=here, reports=reports), 2, **ACTIVE)
    assert with_reports(world.queue, world) is world.queue


def test_reports_do_not_overrule_a_service_that_tells_what_waits():
    reports = {name_of(0): report(0, busy=9)}
    world = with_tasks(observed(one=jobs(*running(1)), reports=reports), 4)
    assert with_reports(world.queue, world) is world.queue


def test_a_long_task_at_the_tail_of_a_service_bus_queue_replaces_nobody():
    done = job(1, "Completed", started=50, ended=30)
    known = ledger(one=entry(2, filled=2))
    wanted = desired(replicas=2)
    silent = with_tasks(observed(one=jobs(*running(1), done)), 1, **ACTIVE)
    assert hires(plan(wanted, silent, known)) == [2]
    told = with_tasks(observed(one=jobs(*running(1), done), reports={name_of(0): report(0, busy=1)}), 1, **ACTIVE)
    assert hires(plan(wanted, told, known)) == []


# At the tail of a queue nothing churns.


def test_a_long_task_at_the_tail_costs_nothing():
    """Nine workers have found the queue empty and left; one still runs the last task."""
    ended = [job(number, "Completed", started=50, ended=1) for number in range(1, 10)]
    known = replace(ledger(one=entry(10, filled=10)), decision=wanted_before(10))
    world = with_tasks(observed(one=jobs(*running(1), *ended)), 1, has_visible=False)
    answer = plan(autoscaled("TasksPerReplica"), world, known)
    assert answer.actions == ()
    assert answer.desired == 10
    assert answer.regions["one"].idle
    later = replace(world, now=NOW + timedelta(seconds=300), history=answer.history)
    after = plan(autoscaled("TasksPerReplica"), with_tasks(later, 1, has_visible=False), answer.ledger)
    assert (after.desired, after.actions) == (1, ())


def test_an_empty_queue_hires_nobody_and_lets_the_fleet_go_by_a_drain():
    known = replace(ledger(one=entry(3, filled=3)), decision=wanted_before(3))
    world = with_tasks(observed(one=jobs(*running(3))), 0)
    first = plan(autoscaled(), world, known)
    assert (first.desired, first.actions) == (3, ())
    later = with_tasks(replace(world, now=NOW + timedelta(seconds=300), history=first.history), 0)
    second = plan(autoscaled(), later, first.ledger)
    assert second.desired == 0
    assert second.regions["one"].draining == 3


def test_tasks_that_come_after_idleness_are_growth_and_are_hired_for_at_once():
    ended = [job(number, "Completed", started=50, ended=1) for number in range(3)]
    known = replace(ledger(one=entry(3)), decision=wanted_before(0))
    answer = plan(autoscaled(), with_tasks(observed(one=jobs(*ended)), 44), known)
    assert (answer.desired, len(hires(answer))) == (5, 5)


def test_where_nothing_was_ever_decided_all_who_come_to_be_seen_are_held():
    """The status is lost, and neither the queue nor one of the regions can be read."""
    scaling = {"policy": "JobQ", "maxReplicas": 20}
    wanted = desired(autoscaling=scaling, replicas=None, regions=regions(one=10, two=10))
    here, there = jobs(*running(3)), jobs(*(job(number, region="two", started=50) for number in range(3)))
    first = plan(wanted, observed(visible=None, one=here, two=None), ledger())
    assert (first.desired, first.actions, first.ledger.decision) == (3, (), None)
    later = plan(wanted, observed(visible=None, one=here, two=there, now=NOW + MINUTE), first.ledger)
    assert (later.desired, later.actions) == (6, ())
