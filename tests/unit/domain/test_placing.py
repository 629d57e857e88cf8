"""Placement within whole passes: what the resource's fields do, and what the ledger remembers of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobq.control import Exit
from tests.support.planning import (
    MINUTE,
    NOW,
    coordinates,
    desired,
    entry,
    hires,
    job,
    jobs,
    ledger,
    name_of,
    observed,
    orders,
    pending_cancels,
    report,
    running,
    wave,
)
from tests.support.tables import table
from tests.support.workforces import region
from workforce_operator.api.status import RegionStatus, WorkforceStatus
from workforce_operator.domain.actions import Plan
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.circuit import Circuit
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.errors import Denied, Throttled
from workforce_operator.domain.ledger import Ledger, read_ledger, write_ledger
from workforce_operator.domain.observed import Known, Observed, RegionJobs, Unknown
from workforce_operator.domain.outcomes import Failure, Outcomes
from workforce_operator.domain.plan import plan
from workforce_operator.domain.ranking import Loss
from workforce_operator.domain.status import build_status


def shares(answer: Plan) -> dict[str, int]:
    return {name: numbers.desired for name, numbers in answer.regions.items()}


def first(strategy: str | None, replicas: int, *regions: dict[str, Any], **changes: Any) -> dict[str, int]:
    """Shares of a Workforce that is new."""
    placement = None if strategy is None else {"strategy": strategy}
    wanted = desired(replicas=replicas, regions=list(regions), placement=placement, **changes)
    return shares(plan(wanted, observed(**{each["name"]: jobs() for each in regions}), ledger()))


def crowd(name: str, count: int, **changes: Any) -> RegionJobs:
    return jobs(*(job(number, region=name, started=50, **changes) for number in range(count)))


def test_priority_fills_the_region_with_the_higher_number_first():
    sites = region("a", priority=-1), region("b", priority=5, maxReplicas=3), region("c")
    assert first("Priority", 5, *sites) == {"a": 0, "b": 3, "c": 2}


def test_weighted_keeps_the_regions_in_proportion():
    assert first("Weighted", 8, region("a"), region("b", weight=3)) == {"a": 2, "b": 6}


def test_cheapest_fills_the_cheaper_region_first():
    sites = region("a", hourlyCost="10"), region("b", hourlyCost="9.5", maxReplicas=3), region("c")
    assert first("Cheapest", 14, *sites) == {"a": 10, "b": 3, "c": 1}


def test_each_strategy_divides_growth_in_its_own_way():
    sites = (
        region("a", hourlyCost="3", weight=3),
        region("b", hourlyCost="2", priority=1, maxReplicas=5),
        region("c", hourlyCost="1"),
    )
    expected = {
        None: [3, 2, 2],
        "CapacityAware": [3, 2, 2],
        "Spread": [3, 2, 2],
        "Weighted": [5, 1, 1],
        "Priority": [1, 5, 1],
        "Cheapest": [0, 0, 7],
    }
    answers = {strategy: list(first(strategy, 7, *sites).values()) for strategy in expected}
    assert answers == expected


def test_a_share_is_remembered_and_a_restart_moves_nothing():
    wanted = desired(replicas=6, regions=[region("a"), region("b")])
    grown = plan(wanted, observed(a=jobs(), b=jobs()), ledger(a=entry(4, "a", share=4), b=entry(2, "b", share=2)))
    status = write_ledger(WorkforceStatus(), grown.ledger)
    assert [each.desired for each in status.regions] == [4, 2]
    kept = read_ledger(WorkforceStatus.model_validate(status.model_dump(mode="json", by_alias=True)))
    again = plan(wanted, observed(a=crowd("a", 4), b=crowd("b", 2)), kept)
    assert shares(again) == {"a": 4, "b": 2}
    assert again.actions == ()


@table("edit", [{"strategy": "Weighted"}, {"strategy": "Priority"}, {"strategy": "Cheapest"}])
def test_an_edit_of_the_strategy_touches_no_worker(edit: dict[str, Any]):
    known = ledger(a=entry(4, "a", share=4, filled=4), b=entry(2, "b", share=2, filled=2))
    wanted = desired(replicas=6, regions=[region("a"), region("b", weight=9, priority=9)], placement=edit)
    answer = plan(wanted, observed(a=crowd("a", 4), b=crowd("b", 2)), known)
    assert answer.actions == ()
    assert answer.ledger == known


def test_a_status_without_shares_begins_at_the_workers_that_are_there():
    known = ledger(a=entry(5, "a", filled=5), b=entry(1, "b", filled=1))
    answer = plan(
        desired(replicas=6, regions=[region("a"), region("b")]), observed(a=crowd("a", 5), b=crowd("b", 1)), known
    )
    assert shares(answer) == {"a": 5, "b": 1}
    assert answer.actions == ()


def test_after_a_lost_status_nobody_moves():
    """The first pass learns which names are in use, the second may act."""
    wanted = desired(replicas=6, regions=[region("a"), region("b")])
    here = observed(a=crowd("a", 5), b=crowd("b", 1))
    second = plan(wanted, here, plan(wanted, here, ledger()).ledger)
    assert shares(second) == {"a": 5, "b": 1}
    assert second.actions == ()


def test_shrinking_takes_pending_jobs_of_another_region_before_a_running_worker():
    known = ledger(one=entry(3, share=3, filled=3), two=entry(3, "two", share=3, filled=3))
    waiting = jobs(*(job(number, "Queued", region="two", created=number + 1) for number in range(3)))
    wanted = desired(replicas=4, regions=[region("one"), region("two")])
    answer = plan(wanted, observed(one=jobs(*running(3)), two=waiting), known)
    assert shares(answer) == {"one": 3, "two": 1}
    assert orders(answer) == {}
    assert pending_cancels(answer) == [job(number, region="two").name for number in (0, 1)]


def test_the_reason_of_each_choice_is_kept():
    known = ledger(one=entry(4, share=4, filled=4), two=entry(1, "two", share=1, filled=1))
    here = jobs(*running(3), job(3, "Queued"))
    said = {each.job: each for each in (report(0, busy=0), report(1), report(2, accepting=False))}
    wanted = desired(replicas=2, regions=[region("one"), region("two")])
    answer = plan(wanted, observed(one=here, two=crowd("two", 1), reports=said), known)
    assert dict(answer.regions["one"].losses) == {3: Loss.WAITS, 2: Loss.REFUSES, 0: Loss.IDLE}
    assert [(shift.region, shift.change, shift.why.value) for shift in answer.shifts] == [("one", -3, "Shrink")]
    (note,) = (note for note in answer.notes if note.reason == "LayingOff")
    assert note.message == "one: laying off 3 (ScaleDown): 1 waiting for a node, 1 taking no tasks, 1 idle"


def test_without_control_a_worker_that_ends_is_not_replaced_while_another_region_has_too_many():
    """Nobody can be told to leave; so the place of one that leaves by itself goes to one that is too many."""
    known = ledger(a=entry(3, "a", share=1, filled=1), b=entry(2, "b", share=1, filled=1))
    gone = jobs(job(0, "Completed", region="b", started=50, ended=1), job(1, "Completed", region="b", ended=1))
    wanted = desired(replicas=2, regions=[region("a"), region("b")], control=None)
    answer = plan(wanted, observed(control=False, a=crowd("a", 3), b=gone), known)
    assert shares(answer) == {"a": 2, "b": 0}
    assert hires(answer) == []


def test_workers_of_any_region_are_taken_back_before_anybody_is_hired():
    known = ledger(one=entry(3, share=1, filled=1, waves=(wave(1, 2),)), two=entry(1, "two", share=1, filled=1))
    wanted = desired(replicas=4, regions=[region("one"), region("two", priority=9)], placement={"strategy": "Priority"})
    answer = plan(wanted, observed(one=jobs(*running(3)), two=crowd("two", 1)), known)
    assert shares(answer) == {"one": 3, "two": 1}
    assert hires(answer) == []
    assert set(orders(answer).values()) == {"accept-new-tasks"}


def test_a_worker_that_was_taken_back_and_completes_is_not_replaced_without_work():
    """Whoever is here was hired once: its place is no growth that would be hired whatever the queue says."""
    known = ledger(one=entry(2, share=2, filled=1))
    both = plan(desired(replicas=2), observed(visible=False, one=jobs(*running(2))), known)
    assert both.ledger.regions["one"].filled == 2
    ended = jobs(*running(1), job(1, "Completed", started=50, ended=1))
    assert hires(plan(desired(replicas=2), observed(visible=False, one=ended), both.ledger)) == []


def test_workers_of_a_region_that_left_the_spec_are_replaced_in_the_others():
    known = ledger(one=entry(2, share=2, filled=2), two=entry(2, "two", share=2, filled=2))
    answer = plan(
        desired(replicas=4, regions=[region("two")]), observed(one=jobs(*running(2)), two=crowd("two", 2)), known
    )
    assert shares(answer) == {"two": 4, "one": 0}
    assert answer.regions["two"].hires == 2


def test_hold_leaves_the_shares_that_are_remembered():
    known = ledger(one=entry(2, share=2, filled=2))
    answer = plan(desired(replicas=5, suspend="Hold"), observed(one=jobs(*running(2))), known)
    assert answer.ledger == known
    assert shares(answer) == {"one": 2}


@pytest.mark.parametrize("share", [2, None])
def test_what_hold_shows_does_not_hang_on_who_has_reported(share):
    """An operator that has just started has heard nobody; it writes the same status as the one before it."""
    known = ledger(one=entry(2, share=share, filled=2), two=entry(2, "two", share=share, filled=2))
    wanted = desired(replicas=2, regions=[region("one"), region("two")], suspend="Hold")
    here = {"one": jobs(*running(2)), "two": crowd("two", 2)}
    idle = {name_of(number): report(number, busy=0) for number in range(2)}
    silent, heard = (plan(wanted, observed(**here, reports=reports), known) for reports in ({}, idle))
    assert shares(heard) == shares(silent)


TWO, OTHER = region("two", compute="gpu"), coordinates("two", compute="gpu")
"""A region with a cluster of its own."""


def at(**clusters: ClusterCapacity) -> dict[str, Known[ClusterCapacity]]:
    return {name: Known(cluster, NOW) for name, cluster in clusters.items()}


def two(*, queued: int = 0, age: float = 90, **changes: Any) -> tuple[Desired, Observed, Ledger]:
    """Two regions of two workers each; in ``one`` some have waited for a node for so many minutes."""
    here = [job(number, "Queued", created=age) for number in range(queued)] + [job(n) for n in range(queued, 2)]
    wanted = desired(replicas=4, regions=[region("one"), TWO], **changes)
    world = observed(one=jobs(*here), two=crowd("two", 2))
    return (
        wanted,
        world,
        ledger(one=entry(2, share=2, filled=2), two=entry(2, "two", share=2, filled=2, coordinates=OTHER)),
    )


def test_a_job_queued_past_its_timeout_moves_and_the_region_cools_down():
    wanted, world, known = two(queued=2)
    world = replace(world, capacity=at(two=ClusterCapacity(9, 2, 2, 0)))
    answer = plan(wanted, world, known)
    assert shares(answer) == {"one": 0, "two": 4}
    assert len(pending_cancels(answer)) == 2
    assert answer.regions["two"].hires == 2
    assert answer.ledger.regions["one"].moved == NOW
    assert [note.message for note in answer.notes if note.reason == "Moving"] == [
        "one: jobs that waited for a node for too long move to where nodes are free"
    ]
    assert [note.message for note in answer.notes if note.reason == "LayingOff"] == [
        "one: laying off 2 (Moving): 2 waiting for a node"
    ]


def test_the_timeout_is_the_one_of_the_spec():
    wanted, world, known = two(queued=2, age=90, placement={"queuedTimeoutSeconds": 6000})
    world = replace(world, capacity=at(two=ClusterCapacity(9, 2, 2, 0)))
    assert plan(wanted, world, known).actions == ()


def test_rule_7_jobs_move_at_most_once_per_cool_down():
    wanted, world, known = two(queued=2)
    world = replace(world, capacity=at(two=ClusterCapacity(9, 2, 2, 0)))
    lately = {"one": replace(known.regions["one"], moved=NOW - timedelta(minutes=59))}
    assert plan(wanted, world, Ledger({**known.regions, **lately})).actions == ()
    long_ago = {"one": replace(known.regions["one"], moved=NOW - timedelta(minutes=60))}
    assert plan(wanted, world, Ledger({**known.regions, **long_ago})).actions != ()


def preempted(**known: Any) -> Plan:
    """A job that was made ten hours ago waits in ``one``, nodes are free in ``two``, and what else is known of it."""
    started = {} if "started" not in known else {"started": known.pop("started")}
    wanted, world, before = two()
    here = jobs(job(0, "Queued", created=600, **started), job(1))
    nodes = at(two=ClusterCapacity(9, 2, 2, 0))
    return plan(
        wanted, replace(world, regions={**world.regions, "one": Known(here, NOW)}, capacity=nodes, **known), before
    )


def seen(minutes: float) -> dict[str, datetime]:
    return {name_of(0): NOW - timedelta(minutes=minutes)}


def last_words(minutes: float) -> dict[str, Exit]:
    said = Exit(job=name_of(0), time=NOW - timedelta(minutes=minutes), why="sigterm", exit_code=0)
    return {name_of(0): said}


def test_rule_7_a_job_that_ran_for_hours_and_may_have_lost_its_node_just_now_is_not_moved():
    assert preempted(started=120).actions == ()


def test_rule_7_a_job_that_lost_its_node_waits_since_it_was_seen_to_wait_again():
    assert preempted(started=120, waits=seen(59)).actions == ()
    assert len(pending_cancels(preempted(started=120, waits=seen(60)))) == 1


@pytest.mark.parametrize(
    "lately",
    [
        {"started": 30, "waits": seen(90)},
        {"started": 120, "waits": seen(90), "reports": {name_of(0): report(0, minutes_ago=59)}},
        {"started": 120, "waits": seen(90), "last_words": last_words(59)},
        {"reports": {name_of(0): report(0, minutes_ago=59)}},
    ],
)
def test_rule_7_a_job_that_is_known_to_have_run_lately_is_not_moved(lately: dict[str, Any]):
    """It was hired long ago; what counts is that it ran in between."""
    assert preempted(**lately).actions == ()


@pytest.mark.parametrize("changes", [{"suspend": "ScaleUpOnly"}, {"suspend": "Hold"}])
def test_nobody_moves_while_nobody_is_hired(changes: dict[str, Any]):
    wanted, world, known = two(queued=2, **changes)
    assert plan(wanted, replace(world, capacity=at(two=ClusterCapacity(9, 2, 2, 0))), known).actions == ()


def test_nobody_moves_while_the_control_channel_is_away():
    wanted, world, known = two(queued=2)
    blind = replace(world, control=Unknown("Unavailable"), capacity=at(two=ClusterCapacity(9, 2, 2, 0)))
    assert plan(wanted, blind, known).actions == ()


def test_rule_2_a_move_stays_within_the_maximum_of_its_destination():
    wanted, world, known = two(queued=2)
    wanted = replace(wanted, spec=desired(replicas=4, regions=[region("one"), TWO | {"maxReplicas": 3}]).spec)
    answer = plan(wanted, replace(world, capacity=at(two=ClusterCapacity(9, 2, 2, 0))), known)
    assert shares(answer) == {"one": 1, "two": 3}


OPEN = Circuit(5, NOW - MINUTE, NOW + MINUTE, "Unavailable", "no answer")
HALF_OPEN = replace(OPEN, retry_at=NOW)


def with_circuit(circuit: Circuit | None, *, alone: bool = False) -> Plan:
    """Three hires in ``one`` have failed; ``two`` has room for two more, or is not there."""
    regions = [region("one")] if alone else [region("one"), region("two", maxReplicas=4)]
    known = {"one": entry(3, share=3, filled=3, hiring=(0, 1, 2), circuit=circuit)}
    world = {"one": jobs(absent=(0, 1, 2))}
    if not alone:
        known["two"], world["two"] = entry(2, "two", share=2, filled=2), crowd("two", 2)
    return plan(desired(replicas=3 if alone else 5, regions=regions), observed(**world), Ledger(known))


def test_hires_of_an_open_circuit_move_as_far_as_there_is_room():
    answer = with_circuit(OPEN)
    assert shares(answer) == {"one": 1, "two": 4}
    assert answer.regions["one"].hires == 0
    assert answer.regions["two"].hires == 2


def test_an_open_circuit_hires_nobody_remembers_its_hires_and_says_when_it_tries_again():
    answer = with_circuit(OPEN, alone=True)
    assert hires(answer) == []
    assert answer.ledger.regions["one"].hiring == {0, 1, 2}
    assert answer.regions["one"].waiting == "no answer (one hire is tried at 12:01:00Z)"
    assert answer.retry_at == NOW + MINUTE


def test_a_half_open_circuit_tries_one_hire():
    answer = with_circuit(HALF_OPEN, alone=True)
    assert hires(answer) == [0]
    assert answer.ledger.regions["one"].hiring == {0, 1, 2}


def test_a_closed_circuit_hires_all():
    assert hires(with_circuit(None, alone=True)) == [0, 1, 2]
    assert hires(with_circuit(replace(OPEN, retry_at=None), alone=True)) == [0, 1, 2]


def told(answer: Plan, world: Observed, wanted: Desired, outcomes: Outcomes | None = None) -> WorkforceStatus:
    return build_status(wanted, world, answer, outcomes or Outcomes(), WorkforceStatus())


def condition(status: WorkforceStatus | RegionStatus, kind: str) -> tuple[str, str]:
    (found,) = (each for each in status.conditions if each.type == kind)
    return found.status, found.reason


def test_failed_hires_open_the_circuit_in_the_status_and_a_hire_that_works_closes_it():
    wanted, world, known = two()
    answer = plan(wanted, world, known)
    denied = Failure.of(Denied("no role", scope="/s"))
    opened = told(answer, world, wanted, Outcomes(regions={"one": denied}, refused={"one": denied}))
    one, other = opened.regions
    assert one.circuit is not None
    assert (one.circuit.failures, one.circuit.reason, one.circuit.message) == (1, "AccessDenied", "no role")
    assert (one.circuit.changed_time, one.circuit.retry_time) == (NOW, NOW + MINUTE / 2)
    assert condition(one, "Available") == ("False", "CircuitOpen")
    assert condition(other, "Available") == ("True", "CircuitClosed")
    assert condition(opened, "RegionsHealthy") == ("False", "CircuitOpen")
    away = replace(world, regions={**world.regions, "two": Unknown("Unavailable", "no answer")})
    both = told(plan(wanted, away, known), away, wanted, Outcomes(regions={"one": denied}, refused={"one": denied}))
    (healthy,) = (each for each in both.conditions if each.type == "RegionsHealthy")
    assert (healthy.reason, healthy.message[:38]) == ("RegionUnreadable", "two: no answer; one: no role (one hire")

    kept = read_ledger(WorkforceStatus.model_validate(opened.model_dump(mode="json", by_alias=True)))
    again = plan(wanted, world, kept)
    later = told(again, world, wanted)
    assert later.regions[0].circuit == one.circuit
    closed = told(again, world, wanted, Outcomes(hired=frozenset({"one"})))
    assert closed.regions[0].circuit is None
    assert condition(closed, "RegionsHealthy") == ("True", "AllHealthy")


def test_an_open_circuit_whose_replicas_run_elsewhere_leaves_the_workforce_ready():
    wanted, world, known = two()
    known = Ledger(known.regions | {"one": replace(known.regions["one"], circuit=OPEN)})
    assert condition(told(plan(wanted, world, known), world, wanted), "Ready") == ("True", "AsDesired")


def test_an_open_circuit_that_keeps_replicas_away_is_not_ready():
    answer = with_circuit(OPEN, alone=True)
    wanted = desired(replicas=3, regions=[region("one")])
    assert condition(told(answer, observed(one=jobs(absent=(0, 1, 2))), wanted), "Ready") == ("False", "Degraded")


def test_a_region_that_cannot_be_read_says_so_itself():
    wanted, world, known = two()
    blind = replace(world, regions={**world.regions, "two": Unknown("Unavailable", "no answer")})
    status = told(plan(wanted, blind, known), blind, wanted)
    assert condition(status.regions[1], "Available") == ("False", "RegionUnreadable")


def short(**clusters: ClusterCapacity) -> WorkforceStatus:
    """Two more are wanted than there are."""
    wanted, world, known = two()
    wanted = replace(wanted, spec=desired(replicas=6, regions=[region("one"), TWO]).spec)
    world = replace(world, capacity=at(**clusters))
    return told(plan(wanted, world, known), world, wanted)


FULL = ClusterCapacity(2, 2, 2, 0)
NO_QUOTA = ClusterCapacity(9, 5, 2, 0, quota=True)


def test_capacity_is_available_while_no_hire_is_held_back():
    status = short(one=FULL, two=ClusterCapacity(4, 2, 2, 0))
    assert condition(status, "CapacityAvailable") == ("True", "Enough")
    assert [each.desired for each in status.regions] == [2, 4]
    assert [each.capacity for each in status.regions] == [0, 2]


def test_what_is_not_known_holds_nobody_back():
    status = short(one=FULL)
    assert condition(status, "CapacityAvailable") == ("True", "Enough")
    assert [each.desired for each in status.regions] == [2, 4]
    assert [each.capacity for each in status.regions] == [0, None]


@table(
    ("clusters", "reason"),
    [((FULL, FULL), "ClusterFull"), ((FULL, NO_QUOTA), "ClusterFull"), ((NO_QUOTA, NO_QUOTA), "QuotaExceeded")],
)
def test_hires_that_full_clusters_and_quotas_hold_back_are_told(clusters: tuple[ClusterCapacity, ...], reason: str):
    status = short(one=clusters[0], two=clusters[1])
    assert condition(status, "CapacityAvailable") == ("False", reason)
    assert condition(status, "Ready") == ("False", "Scaling")
    (found,) = (each for each in status.conditions if each.type == "CapacityAvailable")
    assert found.message.endswith("; 2 of 6 have no place yet")


def test_hires_that_azure_asks_to_wait_with_are_told():
    wanted, world, known = two()
    slow = Failure.of(Throttled("slow", retry_after=9))
    status = told(plan(wanted, world, known), world, wanted, Outcomes(regions={"one": slow}, refused={"one": slow}))
    assert condition(status, "CapacityAvailable") == ("False", "Throttled")
    assert condition(status, "RegionsHealthy") == ("True", "AllHealthy")


def test_when_nodes_become_free_what_was_held_back_is_hired():
    wanted, world, known = two()
    wanted = replace(wanted, spec=desired(replicas=6, regions=[region("one"), TWO]).spec)
    first = plan(wanted, replace(world, capacity=at(one=FULL, two=FULL)), known)
    assert first.actions == ()
    second = plan(wanted, replace(world, capacity=at(one=FULL, two=ClusterCapacity(3, 2, 2, 0))), first.ledger)
    assert shares(second) == {"one": 2, "two": 3}
    assert second.regions["two"].hires == 1


def test_no_job_is_hired_for_the_node_of_one_that_has_just_started_there():
    """Node counts are shared by passes and may be older than the list of jobs; who leaves has a node, too."""
    checkpoint = {"mode": "Checkpoint"}  # such drains are not taken back: somebody else is to be hired
    wanted = desired(replicas=2, regions=[region("one")], drain=checkpoint)
    world = replace(observed(one=jobs(*running(1))), capacity=at(one=ClusterCapacity(1, 0, 0, 0)))
    staying, leaving = entry(1, filled=1, share=1), entry(1, share=0, waves=(wave(0, mode="Checkpoint"),))
    assert hires(plan(wanted, world, ledger(one=staying))) == []
    assert hires(plan(wanted, world, ledger(one=leaving))) == []
    roomy = replace(world, capacity=at(one=ClusterCapacity(2, 0, 0, 0)))
    assert hires(plan(wanted, roomy, ledger(one=staying))) == [1]
    assert hires(plan(wanted, roomy, ledger(one=leaving))) == [1]
