"""Placement within whole passes: what the resource's fields do, and what the ledger remembers of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.planning import (
    desired,
    entry,
    hires,
    job,
    jobs,
    ledger,
    observed,
    orders,
    pending_cancels,
    report,
    running,
    wave,
)
from tests.support.workforces import region
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.actions import Plan
from workforce_operator.domain.ledger import read_ledger, write_ledger
from workforce_operator.domain.observed import RegionJobs
from workforce_operator.domain.plan import plan
from workforce_operator.domain.ranking import Loss


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


@pytest.mark.parametrize("edit", [{"strategy": "Weighted"}, {"strategy": "Priority"}, {"strategy": "Cheapest"}])
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
    assert dict(answer.regions["one"].losses) == {3: Loss.NEVER_RAN, 2: Loss.REFUSES, 0: Loss.IDLE}
    assert [(shift.region, shift.change, shift.why.value) for shift in answer.shifts] == [("one", -3, "Shrink")]
    (note,) = (note for note in answer.notes if note.reason == "LayingOff")
    assert note.message == "one: laying off 3 (ScaleDown): 1 never ran, 1 taking no tasks, 1 idle"


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
