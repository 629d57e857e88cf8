"""Plans that hire."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.support.planning import (
    NOW,
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
    regions,
    running,
    wave,
)
from tests.support.tables import table
from tests.support.workforces import region
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.actions import Hire
from workforce_operator.domain.ledger import Ledger, read_ledger, write_ledger
from workforce_operator.domain.plan import plan


@table("known", [Ledger(), ledger(one=entry(None)), ledger(one=entry(0))])
def test_where_no_name_is_in_use_the_first_names_are_reserved_and_hired_under(known):
    first = plan(desired(replicas=3), observed(one=jobs()), known)
    assert first.actions == tuple(Hire("one", name_of(sequence), sequence) for sequence in range(3))
    after = first.ledger.regions["one"]
    assert (after.next_sequence, after.filled, after.hiring, after.open_cohorts) == (3, 3, {0, 1, 2}, {0})
    assert after.reserved == 3


def test_the_number_of_replicas_is_spread_over_regions():
    second = plan(
        desired(replicas=5, regions=regions(one=10, two=2)),
        observed(one=jobs(), two=jobs()),
        ledger(one=entry(0), two=entry(0, "two")),
    )
    assert {name: number.hires for name, number in second.regions.items()} == {"one": 3, "two": 2}


def test_more_than_the_regions_allow_is_not_hired():
    decided = plan(desired(replicas=99), observed(one=jobs()), ledger(one=entry(0)))
    assert len(hires(decided)) == 10
    assert decided.desired == 10


def test_reserved_names_without_a_job_are_used_before_new_ones():
    known = ledger(one=entry(4, filled=4, hiring=(2, 3)))
    decided = plan(desired(replicas=5), observed(one=jobs(*running(2), absent=(2, 3))), known)
    assert hires(decided) == [2, 3, 4]
    assert decided.ledger.regions["one"].next_sequence == 5


def test_a_hire_that_was_decided_goes_on_although_the_queue_is_empty():
    known = ledger(one=entry(4, filled=4, hiring=(2, 3)))
    ended = [job(0, "Completed", started=50, ended=1), job(1, "Completed", started=50, ended=1)]
    decided = plan(desired(replicas=4), observed(visible=False, one=jobs(*ended, absent=(2, 3))), known)
    assert hires(decided) == [2, 3]
    assert decided.regions["one"].held == 2
    assert not decided.notes


def test_a_name_left_over_from_a_shrink_is_no_excuse_to_replace_an_idle_worker():
    known = ledger(one=entry(4, filled=2))
    ended = job(0, "Completed", started=50, ended=1)
    decided = plan(desired(replicas=2), observed(visible=False, one=jobs(ended, *running(1, 1), absent=(2, 3))), known)
    assert hires(decided) == []


def test_growth_is_hired_whatever_the_queue_says():
    known = ledger(one=entry(2, filled=2))
    ended = [job(number, "Completed", started=50, ended=1) for number in range(2)]
    decided = plan(desired(replicas=5), observed(visible=False, one=jobs(*ended)), known)
    assert hires(decided) == [2, 3, 4]
    assert decided.ledger.regions["one"].filled == 5


def test_filled_follows_desired_down_so_that_growth_is_growth_again():
    known = ledger(one=entry(5, filled=5))
    down = plan(desired(replicas=1), observed(one=jobs(*running(1), *ended_jobs(4, first=1))), known)
    assert down.ledger.regions["one"].filled == 1
    up = plan(desired(replicas=2), observed(visible=False, one=jobs(*running(1))), down.ledger)
    assert len(hires(up)) == 1


def ended_jobs(count, first=0):
    return [job(sequence, "Completed", started=50, ended=1) for sequence in range(first, first + count)]


def test_a_failed_job_is_not_supply():
    known = ledger(one=entry(2, filled=2))
    decided = plan(desired(replicas=2), observed(one=jobs(*running(1), job(1, "Failed", started=50, ended=1))), known)
    assert decided.regions["one"].supply == 1
    assert hires(decided) == [2]


def test_a_preempted_job_is_supply():
    known = ledger(one=entry(2, filled=2))
    decided = plan(desired(replicas=2), observed(one=jobs(job(0, "Queued", started=50), *running(1, 1))), known)
    assert decided.actions == ()
    assert decided.regions["one"].pending == 1


def test_a_state_that_nobody_knows_is_supply():
    decided = plan(desired(replicas=1), observed(one=jobs(job(0, "Levitating"))), ledger(one=entry(1, filled=1)))
    assert decided.actions == ()


def test_a_name_that_could_not_be_read_counts_as_supply_when_hiring():
    known = ledger(one=entry(3, filled=3, hiring=(0, 1, 2)))
    decided = plan(desired(replicas=3), observed(one=jobs(absent=[0], unread=(1, 2))), known)
    assert hires(decided) == [0]
    assert decided.ledger.regions["one"].hiring == {0, 1, 2}
    assert decided.regions["one"].waiting == "2 reserved names have not been read yet"


def test_decided_hires_are_not_forgotten_while_their_names_cannot_be_read():
    known = ledger(one=entry(3, filled=3, hiring=(0, 1, 2)))
    decided = plan(desired(replicas=3), observed(visible=False, one=jobs(unread=(0, 1, 2))), known)
    assert hires(decided) == []
    assert decided.ledger.regions["one"].hiring == {0, 1, 2}


def test_the_cap_counts_every_name_that_may_have_a_job():
    known = ledger(one=entry(10, filled=4))
    here = jobs(*running(3), *[job(number, "CancelRequested") for number in (3, 4)], absent=(5, 6), unread=(7, 8, 9))
    decided = plan(desired(replicas=10), observed(one=here), known)
    assert hires(decided) == [5, 6]
    assert decided.ledger.regions["one"].next_sequence == 10
    assert decided.regions["one"].waiting == "maxReplicas 10 leaves no room until jobs that still live have ended"


def test_the_name_of_a_hire_that_may_still_arrive_is_used_before_all_others():
    """It is counted either way: under another name the late one would be one too many."""
    known = ledger(one=entry(8, filled=3, hiring=(3,)))
    here = observed(one=jobs(*running(2), absent=(3, 4), late=(5,)))
    assert hires(plan(desired(replicas=3), here, known)) == [5]


def test_a_lowered_cap_stops_hires_under_names_that_were_reserved_before():
    known = ledger(one=entry(6, filled=6, hiring=(3, 4, 5)))
    here = observed(one=jobs(*running(3), absent=(3, 4, 5)))
    assert hires(plan(desired(replicas=6, regions=regions(one=3)), here, known)) == []
    assert hires(plan(desired(replicas=6, regions=regions(one=4)), here, known)) == [3]


def test_leaving_jobs_leave_no_room_until_they_have_ended():
    known = ledger(one=entry(10, filled=0, waves=(wave(*range(10)),)))
    decided = plan(desired(replicas=4), observed(control=None, one=jobs(*running(10))), known)
    assert hires(decided) == []


def test_lost_names_are_restored_from_the_complete_list_before_anybody_is_hired():
    listed = jobs(*ended_jobs(3), *running(2, 300))
    decided = plan(desired(replicas=4), observed(one=listed), ledger(one=entry(None)))
    after = decided.ledger.regions["one"]
    assert decided.actions == ()
    assert (after.next_sequence, after.filled, after.hiring) == (302, 4, frozenset())
    assert 1 in after.open_cohorts


def test_workers_that_completed_before_the_names_were_lost_are_not_hired_again_without_work():
    listed = jobs(*ended_jobs(4))
    first = plan(desired(replicas=4), observed(visible=False, one=listed), ledger(one=entry(None)))
    second = plan(desired(replicas=4), observed(visible=False, one=listed), first.ledger)
    assert hires(second) == []
    assert second.regions["one"].idle


def made(minutes_ago, **spec):
    return replace(desired(**spec), created=NOW - timedelta(minutes=minutes_ago))


def test_a_workforce_that_is_made_again_has_all_its_workers_hired_although_its_former_ones_completed():
    """Who deletes a Workforce and applies it again wants as many workers as the first time, and at once."""
    listed = jobs(*ended_jobs(4))
    assert all(each.ended < NOW - timedelta(minutes=0.5) for each in listed.jobs)
    again = made(0.5, replicas=4)
    first = plan(again, observed(visible=False, one=listed), ledger(one=entry(None)))
    second = plan(again, observed(visible=False, one=listed), first.ledger)
    assert hires(second) == [4, 5, 6, 7]
    assert not second.regions["one"].idle


def test_living_workers_of_a_former_workforce_are_taken_back_and_only_the_rest_is_hired():
    listed = jobs(*ended_jobs(3), *running(2, 300))
    again = made(0.5, replicas=4)
    first = plan(again, observed(visible=False, one=listed), ledger(one=entry(None)))
    second = plan(again, observed(visible=False, one=listed), first.ledger)
    assert hires(second) == [302, 303]


def test_workers_that_completed_after_the_workforce_was_made_wait_for_work_also_when_the_names_were_lost():
    listed = jobs(*ended_jobs(4))
    old = made(600, replicas=4)
    first = plan(old, observed(visible=False, one=listed), ledger(one=entry(None)))
    second = plan(old, observed(visible=False, one=listed), first.ledger)
    assert hires(second) == []
    assert second.regions["one"].idle


def test_completions_of_a_former_workforce_do_not_make_a_replacement_wait():
    former = [job(number, "Completed", started=9, ended=8) for number in range(8)]
    own = job(8, "Completed", started=2, ended=1)
    known = ledger(one=entry(9, filled=1))
    waits = plan(made(600, replicas=1), observed(one=jobs(*former, own)), known)
    assert hires(waits) == []
    assert hires(plan(made(5, replicas=1), observed(one=jobs(*former, own)), known)) == [9]


def test_a_job_under_a_name_that_was_not_reserved_is_counted_and_its_name_is_not_used():
    decided = plan(desired(replicas=3), observed(one=jobs(job(7))), ledger(one=entry(2, filled=2)))
    assert min(hires(decided)) == 8


def test_scale_up_only_suspends_hires_and_remembers_them():
    known = ledger(one=entry(3, filled=3, hiring=(1, 2)))
    here = observed(visible=False, one=jobs(*running(1), absent=(1, 2)))
    held = plan(desired(replicas=3, suspend="ScaleUpOnly"), here, known)
    assert held.actions == ()
    assert held.regions["one"].waiting == "hiring is suspended"
    assert held.ledger.regions["one"].hiring == {1, 2}
    assert hires(plan(desired(replicas=3), here, held.ledger)) == [1, 2]


def test_hold_touches_nothing_and_remembers_nothing():
    known = ledger(one=entry(9, filled=5))
    for here in (jobs(), jobs(*running(9))):
        decided = plan(desired(replicas=3, suspend="Hold"), observed(one=here), known)
        assert decided.actions == ()
        assert decided.ledger == known
        assert decided.regions["one"].supply == len(here.jobs)


def test_hold_does_not_even_enter_a_new_region():
    decided = plan(desired(replicas=3, suspend="Hold"), observed(one=jobs()), Ledger())
    assert decided.ledger == Ledger()
    assert decided.regions["one"].desired == 3


def test_a_full_cohort_opens_the_next_one():
    known = ledger(one=entry(255, filled=0, open_cohorts=frozenset({0})))
    decided = plan(desired(replicas=3), observed(one=jobs(*ended_jobs(255))), known)
    assert hires(decided) == [255, 256, 257]
    assert decided.ledger.regions["one"].open_cohorts == {0, 1}


def test_a_cohort_closes_when_all_its_names_have_ended():
    known = ledger(one=entry(257, filled=1, open_cohorts=frozenset({0, 1})))
    decided = plan(desired(replicas=1), observed(one=jobs(*ended_jobs(256), *running(1, 256))), known)
    assert decided.ledger.regions["one"].open_cohorts == {1}


def test_names_of_an_earlier_region_keep_no_cohort_open():
    ended = [job(number, "Completed", started=50, ended=1) for number in (7, 8)]
    known = ledger(one=entry(9, filled=0, share=0, first_sequence=7))
    decided = plan(desired(replicas=0), observed(one=jobs(*ended)), known)
    assert decided.ledger.regions["one"].open_cohorts == frozenset()


def test_a_cohort_stays_open_while_its_ends_decide_about_replacements():
    known = ledger(one=entry(256, filled=2, open_cohorts=frozenset({0})))
    decided = plan(desired(replicas=2), observed(visible=False, one=jobs(*ended_jobs(256))), known)
    assert decided.ledger.regions["one"].open_cohorts == {0}
    idle = plan(desired(replicas=0), observed(visible=False, one=jobs(*ended_jobs(256))), known)
    assert idle.ledger.regions["one"].open_cohorts == set()


def test_a_closed_cohort_does_not_open_again_because_it_is_not_listed():
    known = ledger(one=entry(200, share=0, filled=0, open_cohorts=frozenset()))
    decided = plan(desired(replicas=0), observed(one=jobs()), known)
    assert decided.ledger == known


def test_a_crash_loop_waits_and_says_when_it_tries_again():
    known = ledger(one=entry(2, filled=1))
    failed = [job(number, "Failed", started=1, ended=0, error="exit 7") for number in range(2)]
    decided = plan(desired(replicas=1), observed(one=jobs(*failed)), known)
    numbers = decided.regions["one"]
    assert hires(decided) == []
    assert (numbers.crash_loop, numbers.error, numbers.held) == (True, "unknown failure: exit 7", 1)
    assert decided.retry_at == NOW + timedelta(seconds=20)


def test_planning_on_the_result_of_a_hire_does_nothing():
    known = plan(desired(replicas=3), observed(one=jobs()), ledger(one=entry(0))).ledger
    here = observed(one=jobs(*[job(number, "Queued") for number in range(3)]))
    again = plan(desired(replicas=3), here, known)
    assert again.actions == ()
    assert again.notes == ()
    assert replace(again.ledger.regions["one"], hiring=frozenset({0, 1, 2})) == known.regions["one"]
    assert plan(desired(replicas=3), here, again.ledger).ledger == again.ledger


def test_an_unreadable_region_is_left_as_it_is():
    known = ledger(one=entry(5, share=5, filled=5, hiring=(3, 4)), two=entry(5, "two", share=5, filled=5))
    both = desired(replicas=10, regions=regions(one=5, two=5))
    decided = plan(both, observed(one=None, two=jobs(*running(5))), known)
    assert decided.actions == ()
    assert decided.ledger == known
    assert decided.ledger.regions["one"].unreadable_since == NOW
    assert not decided.regions["one"].readable


def long_unreadable(**fields):
    return entry(5, unreadable_since=NOW - timedelta(minutes=5), **fields)


def test_a_short_outage_moves_nothing():
    known = ledger(one=entry(0, reserved=0, unreadable_since=NOW - timedelta(minutes=1)), two=entry(5, "two", filled=5))
    both = desired(replicas=10, regions=regions(one=9, two=9))
    assert hires(plan(both, observed(one=None, two=jobs(*running(5))), known)) == []


def test_after_a_while_only_the_share_that_an_unreadable_region_surely_does_not_hold_moves():
    known = ledger(one=long_unreadable(reserved=2), two=entry(5, "two", filled=5))
    both = desired(replicas=10, regions=regions(one=9, two=9))
    decided = plan(both, observed(one=None, two=jobs(*running(5))), known)
    assert len(hires(decided)) == 3


def test_a_region_that_was_never_read_counts_as_full():
    known = ledger(one=long_unreadable(), two=entry(5, "two", filled=5))
    both = desired(replicas=10, regions=regions(one=9, two=9))
    assert hires(plan(both, observed(one=None, two=jobs(*running(5))), known)) == []


def test_a_region_that_is_readable_again_is_no_longer_stale():
    decided = plan(desired(replicas=0), observed(one=jobs()), ledger(one=long_unreadable(reserved=3)))
    assert decided.ledger.regions["one"].unreadable_since is None
    assert decided.ledger.regions["one"].reserved == 0


def test_a_region_that_was_not_observed_is_unknown():
    decided = plan(desired(replicas=3), observed(), ledger(one=entry(0)))
    assert decided.actions == ()


def test_nobody_is_the_first_to_be_hired_before_the_control_channel_is_ready():
    first = plan(desired(replicas=3), observed(control=None, one=jobs()), Ledger())
    second = plan(desired(replicas=3), observed(control=None, one=jobs()), first.ledger)
    after = second.ledger.regions["one"]
    assert second.actions == ()
    assert second.channels_awaited == {"one"}
    assert (after.next_sequence, after.hiring, after.reserved) == (0, frozenset(), 0)
    assert second.regions["one"].waiting == "nobody is hired before ControlChannelReady is True"
    ready = plan(desired(replicas=3), observed(one=jobs()), second.ledger)
    assert hires(ready) == [0, 1, 2]
    assert not ready.channels_awaited


def test_names_left_over_do_not_keep_a_channel_that_does_not_exist():
    """``reserved`` is what the API server refuses a change of ``spec.control`` by."""
    known = ledger(one=entry(2, filled=2))
    decided = plan(desired(replicas=2), observed(control=None, one=jobs(absent=(0, 1))), known)
    assert hires(decided) == []
    assert decided.ledger.regions["one"].reserved == 0


def test_a_workforce_without_a_control_channel_waits_for_none():
    decided = plan(desired(replicas=2, control=None), observed(control=False, one=jobs()), ledger(one=entry(0)))
    assert hires(decided) == [0, 1]


def test_replacements_are_hired_through_an_outage_of_the_control_channel():
    known = ledger(one=entry(2, filled=2))
    cancelled = jobs(*running(1), job(1, "Canceled", ended=1))
    assert hires(plan(desired(replicas=2), observed(control=None, one=cancelled), known)) == [2]


def test_hires_that_were_decided_go_on_through_an_outage_of_the_control_channel():
    known = ledger(one=entry(2, filled=2, hiring=(0, 1)))
    assert hires(plan(desired(replicas=2), observed(control=None, one=jobs(absent=(0, 1))), known)) == [0, 1]


def test_workers_of_a_region_that_cannot_be_read_are_workers_too():
    known = ledger(one=entry(2, reserved=2, filled=2), two=entry(0, "two"))
    both = desired(replicas=4, regions=regions(one=2, two=2))
    assert len(hires(plan(both, observed(control=None, one=None, two=jobs()), known))) == 2


def test_workers_under_names_that_could_not_be_read_are_workers_too():
    here = observed(control=None, one=jobs(unread=(0,)))
    assert len(hires(plan(desired(replicas=3), here, ledger(one=entry(1, share=1, filled=1))))) == 2


def test_the_others_take_over_the_share_of_a_region_that_is_emptied_where_it_was_before():
    moved = desired(replicas=6, regions=[region("one", workspace="new"), region("two"), region("three", maxReplicas=1)])
    known = ledger(one=entry(2, filled=2), two=entry(2, "two", filled=2), three=entry(0, "three"))
    here = observed(one=jobs(*running(2)), two=jobs(*running(2)), three=jobs())
    decided = plan(moved, here, known)
    assert {name: numbers.desired for name, numbers in decided.regions.items()} == {"one": 0, "two": 5, "three": 1}
    assert {name: numbers.hires for name, numbers in decided.regions.items()} == {"one": 0, "two": 3, "three": 1}


def test_orders_come_before_hires():
    known = ledger(one=entry(3, filled=3), two=entry(0, "two"))
    known = ledger(one=replace(known.regions["one"], waves=(wave(0),)), two=known.regions["two"])
    both = desired(replicas=4, regions=regions(one=2, two=2))
    decided = plan(both, observed(one=jobs(*running(3)), two=jobs()), known)
    kinds = [isinstance(action, Hire) for action in decided.actions]
    assert kinds == sorted(kinds)
    assert any(kinds)
    assert orders(decided)
    assert not pending_cancels(decided)


def test_a_cancelled_workers_end_lets_no_idle_one_in():
    ended = [job(number, "Completed", started=50, ended=20) for number in range(5)]
    known = ledger(one=entry(6, filled=6))
    idle = plan(desired(replicas=6), observed(visible=False, one=jobs(*ended, *running(1, 5))), known)
    assert idle.ledger.regions["one"].idle == 5
    lost = job(5, "Canceled", started=50, ended=1)
    first = plan(desired(replicas=6), observed(visible=False, one=jobs(*ended, lost)), idle.ledger)
    assert hires(first) == [6]
    second = plan(desired(replicas=6), observed(visible=False, one=jobs(*ended, lost, *running(1, 6))), first.ledger)
    assert hires(second) == []
    assert (second.regions["one"].held, second.regions["one"].idle) == (5, True)
    third = plan(desired(replicas=6), observed(visible=True, one=jobs(*ended, lost, *running(1, 6))), second.ledger)
    assert len(hires(third)) == 5
    assert third.ledger.regions["one"].idle == 0


def test_a_back_off_is_remembered_by_its_number():
    failed = [job(number, "Failed", started=1, ended=0) for number in range(2)]
    known = ledger(one=entry(3, filled=3))
    waiting = plan(desired(replicas=3), observed(one=jobs(*failed, *running(1, 2))), known)
    assert waiting.ledger.regions["one"].failing == 2
    later = observed(now=NOW + timedelta(seconds=10), one=jobs(*failed, *running(1, 2)))
    tried = plan(desired(replicas=3), later, waiting.ledger)
    assert len(hires(tried)) == 2
    assert tried.ledger.regions["one"].failing == 0


def test_a_worker_that_was_drained_says_nothing_about_the_replacement_of_another():
    known = ledger(one=entry(3, filled=2, waves=(wave(2),)))
    ended = [job(2, "Completed", started=50, ended=0), job(1, "Canceled", started=50, ended=1)]
    decided = plan(desired(replicas=2), observed(visible=False, one=jobs(*running(1), *ended)), known)
    assert hires(decided) == [3]


def test_a_spare_name_does_not_stand_in_for_a_hire_that_has_been_made():
    known = ledger(one=entry(7, filled=6))
    done = job(4, "Completed", started=50, ended=1)
    queued = [job(number, "Queued") for number in range(4)]
    here = jobs(*queued, done, absent=(5, 6))
    first = plan(desired(replicas=6), observed(visible=False, one=here), known)
    assert hires(first) == [5]
    made = jobs(*queued, done, job(5, "Queued"), absent=[6])
    assert hires(plan(desired(replicas=6), observed(visible=False, one=made), first.ledger)) == []


def test_a_region_that_is_added_again_gives_no_name_out_twice():
    """An order that an earlier job has not taken waits in the queue for whoever has its name."""
    ended = jobs(*(job(number, "Completed", region="two", ended=1) for number in range(3)))
    known = ledger(one=entry(0), two=entry(3, "two", filled=3))
    without = plan(desired(replicas=0), observed(one=jobs(), two=ended), known)
    assert "two" not in without.ledger.regions
    stored = write_ledger(WorkforceStatus(), without.ledger).model_dump(mode="json", by_alias=True, exclude_none=True)
    kept = read_ledger(WorkforceStatus.model_validate(stored))
    elsewhere = plan(desired(replicas=3, regions=regions(one=0, two=3)), observed(one=jobs(), two=jobs()), kept)
    assert hires(elsewhere) == [3, 4, 5]
    two = read_ledger(write_ledger(WorkforceStatus(), elsewhere.ledger)).regions["two"]
    assert (two.first_sequence, two.next_sequence, two.open_cohorts) == (3, 6, {0})


def test_a_region_that_may_have_no_worker_any_more_waits_for_no_hire():
    here = jobs(absent=(0, 1), late=(0, 1))
    limited = plan(desired(replicas=0, regions=regions(one=0)), observed(one=here), ledger(one=entry(2, filled=0)))
    assert limited.regions["one"].waiting is None
    gone = plan(desired(replicas=0), observed(one=jobs(), two=here), ledger(one=entry(0), two=entry(2, "two")))
    assert "may still be on their way" in str(gone.regions["two"].waiting)
