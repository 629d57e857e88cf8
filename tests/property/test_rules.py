"""The rules of the resource that hold for one pass over any situation. The numbers are those of the design."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.property.strategies import LATER, NOW, Case, cases
from tests.property.world import World
from tests.support.planning import (
    cancels,
    desired,
    entry,
    hires,
    job,
    jobs,
    ledger,
    observed,
    regions,
    resumed,
    running,
)
from workforce_operator.api.status import DrainState, WorkforceStatus
from workforce_operator.domain.actions import CancelPending, Hire, Plan, Resume, SendOrder
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.counting import count_jobs
from workforce_operator.domain.ledger import read_ledger, to_ranges, write_ledger
from workforce_operator.domain.observed import Job, Known, Observed, Phase, RegionJobs
from workforce_operator.domain.plan import plan
from workforce_operator.domain.waves import jobs_in

limits = st.lists(st.integers(0, 12), min_size=1, max_size=6)


def decided(case: Case) -> Plan:
    return plan(case.desired, case.observed, case.ledger)


def listed(case: Case) -> RegionJobs:
    reading = case.observed.regions["one"]
    assert isinstance(reading, Known)
    return reading.value


def before(case: Case) -> Any:
    return count_jobs(listed(case), case.ledger.regions["one"].waves)


def draining_after(answer: Plan) -> frozenset[int]:
    return jobs_in(answer.ledger.regions["one"].waves, DrainState.SENT)


@given(cases())
def test_rule_1_an_unknown_region_is_not_touched(case: Case):
    blind = observed(one=None)
    answer = plan(case.desired, blind, case.ledger)
    assert answer.actions == ()
    assert answer.ledger == case.ledger


@given(cases())
def test_rule_2_no_action_takes_live_jobs_over_the_cap(case: Case):
    answer, count = decided(case), before(case)
    if hires(answer):
        assert count.possibly_live + len(hires(answer)) <= case.desired.spec.regions[0].max_replicas
    new = [sequence for sequence in hires(answer) if sequence not in count.absent]
    if new:
        reserved = count.possibly_live + len(count.absent) + len(new)
        assert reserved <= case.desired.spec.regions[0].max_replicas


@given(cases())
def test_a_hire_is_always_under_a_name_that_the_ledger_has_reserved_and_that_has_no_job(case: Case):
    answer = decided(case)
    taken = {each.sequence for each in listed(case).jobs} | listed(case).unread
    for sequence in hires(answer):
        assert sequence < (answer.ledger.regions["one"].next_sequence or 0)
        assert sequence not in taken
        assert sequence // 256 in answer.ledger.regions["one"].open_cohorts


@given(cases())
def test_rule_3_a_running_worker_is_told_to_leave_only_after_all_that_never_ran(case: Case):
    answer, count = decided(case), before(case)
    chosen = draining_after(answer) - jobs_in(case.ledger.regions["one"].waves, DrainState.SENT)
    if chosen & {each.sequence for each in count.running}:
        assert {each.sequence for each in count.pending} <= chosen
    assert cancels(answer) == []


@given(cases())
def test_rule_3_nobody_is_laid_off_below_the_number_wanted(case: Case):
    answer, count = decided(case), before(case)
    after = answer.regions["one"]
    assert after.supply >= min(after.desired, count.supply)


@given(cases(control=None))
def test_rule_3_without_control_only_pending_jobs_are_touched(case: Case):
    answer = decided(case)
    pending = {each.name for each in listed(case).jobs if each.phase in (Phase.PENDING, Phase.PAUSED)}
    assert {action.job for action in answer.actions if not isinstance(action, Hire)} <= pending


@given(cases())
def test_rule_4_drains_are_taken_back_before_anybody_is_hired(case: Case):
    answer = decided(case)
    running_and_leaving = {each.sequence for each in before(case).draining} & draining_after(answer)
    if hires(answer) and isinstance(case.observed.control, Known):
        assert not running_and_leaving


def after_acting(case: Case, answer: Plan) -> Observed:
    """The world when everything that was planned has been done, as the next pass sees it."""
    new = [
        Job(action.job, action.sequence, "Queued", created=NOW) for action in answer.actions if isinstance(action, Hire)
    ]
    gone = {action.job for action in answer.actions if isinstance(action, CancelPending)}
    states = dict.fromkeys(gone, "CancelRequested") | dict.fromkeys(resumed(answer), "Queued")
    old = [replace(each, state=states.get(each.name, each.state)) for each in listed(case).jobs]
    absent = listed(case).absent - {each.sequence for each in new}
    here = jobs(*old, *new, absent=absent, unread=listed(case).unread)
    return observed_again(case, here)


def observed_again(case: Case, here: RegionJobs) -> Observed:
    return replace(case.observed, now=NOW + LATER, regions={"one": Known(here, NOW + LATER)})


@given(cases())
def test_rule_5_planning_on_the_result_of_a_plan_does_nothing_new(case: Case):
    first = decided(case)
    second = plan(case.desired, after_acting(case, first), first.ledger)
    said = {action.message_id for action in first.actions if isinstance(action, SendOrder)}
    for action in second.actions:
        assert isinstance(action, SendOrder), action
        assert action.message_id in said
    assert draining_after(second) <= draining_after(first)


@given(cases())
def test_rule_5_a_restart_decides_what_the_process_before_it_decided(case: Case):
    announced = write_ledger(WorkforceStatus(), case.ledger).model_dump(mode="json", by_alias=True, exclude_none=True)
    restarted = read_ledger(WorkforceStatus.model_validate(announced))
    assert plan(case.desired, case.observed, restarted) == decided(case)


@given(cases())
def test_rule_5_a_pass_that_died_after_its_announcement_is_repeated_without_choosing_again(case: Case):
    first = decided(case)
    # Nothing was done; the names that were reserved are read and do not exist.
    here = replace(listed(case), absent=listed(case).absent | frozenset(hires(first)))
    again = plan(case.desired, observed_again(case, here), first.ledger)
    assert draining_after(again) == draining_after(first)
    assert sorted(hires(again)) == sorted(hires(first))
    assert again.ledger.regions["one"].next_sequence == first.ledger.regions["one"].next_sequence


@given(st.integers(1, 6), st.integers(0, 6))
def test_rule_6_a_failed_job_is_not_supply(alive: int, failed: int):
    dead = [job(alive + number, "Failed", started=50, ended=20) for number in range(failed)]
    known = ledger(one=entry(alive + failed, filled=alive + failed))
    answer = plan(
        desired(replicas=alive + failed, regions=regions(one=20)), observed(one=jobs(*running(alive), *dead)), known
    )
    assert answer.regions["one"].supply == alive
    assert len(hires(answer)) == failed


@given(
    st.integers(1, 4), st.integers(60, 7200), st.integers(0, 8000), st.none() | st.integers(0, 8000), st.integers(0, 6)
)
def test_rule_7_a_job_moves_after_its_timeout_once_per_cool_down_and_only_to_a_free_node(
    queued: int, patience: int, age: int, moved: int | None, free: int
):
    wanted = desired(replicas=queued, regions=regions(one=9, two=9), placement={"queuedTimeoutSeconds": patience})
    waits = jobs(*(replace(job(number, "Queued"), created=NOW - timedelta(seconds=age)) for number in range(queued)))
    cooling = None if moved is None else NOW - timedelta(seconds=moved)
    known = ledger(one=entry(queued, filled=queued, share=queued, moved=cooling), two=entry(0, "two", share=0))
    nodes = {"two": Known(ClusterCapacity(most=free, target=0, running=0, idle=0), NOW)}
    answer = plan(wanted, replace(observed(one=waits, two=jobs()), capacity=nodes), known)
    moves = age >= patience and (moved is None or moved >= patience)
    gone = min(queued, free) if moves else 0
    assert {name: each.desired for name, each in answer.regions.items()} == {"one": queued - gone, "two": gone}
    assert answer.ledger.regions["one"].moved == (NOW if gone else cooling)


@given(st.integers(0, 30), limits)
def test_rule_8_the_number_wanted_is_what_was_asked_for_as_far_as_the_regions_allow(replicas: int, bounds: list[Any]):
    most = {f"r{number}": high for number, high in enumerate(bounds)}
    wanted = desired(replicas=replicas, regions=regions(**most))
    answer = plan(wanted, observed(**{name: jobs() for name in most}), ledger())
    assert answer.desired == min(replicas, sum(most.values()))
    assert sum(region.desired for region in answer.regions.values()) == answer.desired


@given(cases(), st.integers(1, 6))
def test_rule_11_what_waits_for_work_goes_on_waiting_for_it(case: Case, passes: int):
    """However often the operator looks: without visible work no completed worker is replaced by and by."""
    idle = replace(case, observed=replace(case.observed, queue=observed(visible=False).queue))
    first = decided(idle)
    seen, answer = idle, first
    for _ in range(passes):
        seen = replace(seen, observed=after_acting(seen, answer), ledger=answer.ledger)
        answer = decided(seen)
        # Only hires that the cap had no room for before may follow.
        assert not hires(answer) or first.regions["one"].waiting


@given(st.integers(1, 6), st.integers(1, 40), st.lists(st.booleans(), min_size=3, max_size=12))
def test_rule_11_an_empty_queue_churns_nothing(replicas: int, minutes: int, restarts: list[bool]):
    world = World(replicas, (8, 8))
    for _ in range(3):
        world.pass_()
    for each in list(world.all_jobs()):
        world.start(each)
    world.visible = False
    world.advance(minutes * 60)
    for each in list(world.all_jobs()):
        world.end(each, "Completed")
    hired = len(list(world.all_jobs()))
    for lost in restarts:
        if lost:
            world.status = {}
        world.pass_()
        world.advance(600)
    assert len(list(world.all_jobs())) == hired
    world.visible = True
    for _ in range(3):
        world.pass_()
        world.advance(3600)
    assert len(list(world.all_jobs())) == hired + replicas


@given(st.frozensets(st.integers(0, 2000)))
def test_ranges_hold_exactly_their_numbers(numbers: frozenset[int]):
    ranges = to_ranges(numbers)
    assert {number for first, last in ranges for number in range(first, last + 1)} == numbers
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(ranges))


@given(cases())
def test_rule_4_paused_jobs_are_resumed_before_anybody_is_hired_and_never_more_than_are_wanted(case: Case):
    answer = decided(case)
    after = count_jobs(listed(case), answer.ledger.regions["one"].waves)
    names = resumed(answer)
    stays = {each.name for each in after.paused} - {
        action.job for action in answer.actions if isinstance(action, CancelPending)
    }
    assert len(set(names)) == len(names)
    assert set(names) <= stays
    share = answer.regions["one"].desired
    assert len(names) <= max(0, share - len(after.running) - len(after.pending))
    if hires(answer):
        assert set(names) == {each.name for each in after.paused}
        kinds = [type(action) for action in answer.actions if isinstance(action, Hire | Resume)]
        assert kinds == sorted(kinds, key=lambda kind: kind is Hire)
