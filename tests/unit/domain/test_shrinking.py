"""Plans that lay off and take back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.planning import (
    MINUTE,
    NOW,
    cancels,
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
    report,
    running,
    wave,
)
from tests.support.tables import table
from tests.support.workforces import region
from workforce_operator.api.spec import DrainMode
from workforce_operator.api.status import DrainState
from workforce_operator.domain.actions import CancelPending, Note, SendOrder
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.plan import plan
from workforce_operator.domain.waves import add, jobs_in, next_revision

RECALLED = DrainState.RECALLED


def chosen(decided, region="one"):
    return sorted(jobs_in(decided.ledger.regions[region].waves, DrainState.SENT))


def test_running_workers_are_told_to_leave_and_the_ledger_knows_first():
    decided = plan(desired(replicas=1), observed(one=jobs(*running(3))), ledger(one=entry(3, filled=3)))
    (sent,) = decided.ledger.regions["one"].waves
    assert sent.jobs == {1, 2}
    assert sent.deadline == NOW + timedelta(seconds=86_400)
    assert sent.reason == "ScaleDown"
    assert orders(decided) == {name_of(1): "graceful-downscale", name_of(2): "graceful-downscale"}
    assert decided.regions["one"].supply == 1
    assert decided.regions["one"].draining == 2
    assert decided.regions["one"].lay_offs == 2


def test_an_order_says_all_that_the_node_needs():
    wanted = desired(replicas=0, drain={"deadlineSeconds": 120, "onDeadline": "Checkpoint"})
    (action,) = plan(wanted, observed(one=jobs(*running(1))), ledger(one=entry(1))).actions
    assert isinstance(action, SendOrder)
    order = action.order
    assert order.node == action.job == name_of(0)
    assert (order.mode, order.on_deadline, order.deadline) == ("finish", "checkpoint", NOW + timedelta(seconds=120))
    assert order.revision == next_revision(Ledger(), NOW)
    assert order.workforce == "inst1234/ns/wf"
    assert action.message_id == f"{order.id}-0"


def test_mode_checkpoint_is_in_the_order_and_in_the_ledger():
    wanted = desired(replicas=0, drain={"mode": "Checkpoint"})
    decided = plan(wanted, observed(one=jobs(*running(1))), ledger(one=entry(1)))
    (action,) = decided.actions
    assert isinstance(action, SendOrder)
    assert action.order.mode == "checkpoint"
    assert decided.ledger.regions["one"].waves[0].mode is DrainMode.CHECKPOINT


def test_an_edited_mode_is_for_later_drains_only():
    known = ledger(one=entry(3, waves=(wave(2, mode=DrainMode.CHECKPOINT),)))
    decided = plan(desired(replicas=1), observed(one=jobs(*running(3))), known)
    modes = {action.job: action.order.mode.value for action in decided.actions if isinstance(action, SendOrder)}
    assert modes == {name_of(2): "checkpoint", name_of(1): "finish"}


def test_a_checkpoint_drain_is_not_taken_back_and_its_place_is_hired():
    known = ledger(one=entry(2, filled=2, waves=(wave(1, mode=DrainMode.CHECKPOINT),)))
    decided = plan(desired(replicas=2), observed(one=jobs(*running(2))), known)
    assert jobs_in(decided.ledger.regions["one"].waves, RECALLED) == frozenset()
    assert jobs_in(decided.ledger.regions["one"].waves, DrainState.SENT) == {1}
    assert hires(decided) == [2]


def test_waves_of_different_modes_are_never_merged():
    waves = [wave(number, revision=number + 1, mode=DrainMode.CHECKPOINT) for number in range(12)]
    for number in range(12, 24):
        waves = list(add(waves, wave(number, revision=number + 1)))
    assert len(waves) == 16
    assert {job for each in waves if each.mode is DrainMode.CHECKPOINT for job in each.jobs} == set(range(12))


def test_the_same_order_is_said_again_with_the_same_id_until_half_a_time_to_live_has_passed():
    first = plan(desired(replicas=0), observed(one=jobs(*running(1))), ledger(one=entry(1)))
    soon = plan(desired(replicas=0), observed(now=NOW + 7 * MINUTE, one=jobs(*running(1))), first.ledger)
    later = plan(desired(replicas=0), observed(now=NOW + 8 * MINUTE, one=jobs(*running(1))), first.ledger)
    assert soon.actions == first.actions
    assert soon.ledger == first.ledger
    assert later.actions[0].message_id == first.actions[0].order.id + "-1"
    assert later.actions[0].order == first.actions[0].order


def test_jobs_that_never_ran_leave_first_the_youngest_before_others():
    here = jobs(job(0, "Queued", created=9), *running(2, 1), job(3, "Queued", created=1), job(4, "Queued", created=5))
    known = ledger(one=entry(5, filled=5))
    assert chosen(plan(desired(replicas=4), observed(one=here), known)) == [3]
    assert chosen(plan(desired(replicas=3), observed(one=here), known)) == [3, 4]
    assert chosen(plan(desired(replicas=2), observed(one=here), known)) == [0, 3, 4]
    assert chosen(plan(desired(replicas=1), observed(one=here), known)) == [0, 2, 3, 4]


def test_a_pending_job_is_cancelled_only_after_an_order_of_its_own():
    decided = plan(desired(replicas=0), observed(one=jobs(job(0, "Queued"))), ledger(one=entry(1)))
    (action,) = decided.actions
    assert isinstance(action, CancelPending)
    assert action.order is not None
    assert action.order.message_id == f"{action.order.order.id}-0p"
    assert orders(decided) == {}


def test_a_drained_worker_that_was_preempted_gets_a_message_it_has_not_had():
    known = ledger(one=entry(1, waves=(wave(0),)))
    ran = plan(desired(replicas=0), observed(one=jobs(*running(1))), known)
    preempted = plan(desired(replicas=0), observed(one=jobs(job(0, "Queued"))), known)
    assert preempted.actions[0].order.message_id != ran.actions[0].message_id


@pytest.mark.parametrize("state", ["Queued", "Paused"])
def test_a_draining_job_without_a_process_is_cancelled(state):
    decided = plan(desired(replicas=0), observed(one=jobs(job(0, state))), ledger(one=entry(1, waves=(wave(0),))))
    assert pending_cancels(decided) == [name_of(0)]


def test_running_workers_are_ranked_by_what_their_leaving_loses():
    reports = {
        name_of(0): report(0, task_minutes=50),
        name_of(1): report(1, task_minutes=5),
        name_of(3): report(3, busy=0),
        name_of(4): report(4, accepting=False),
    }
    here = observed(one=jobs(*running(5)), reports=reports)
    order = [chosen(plan(desired(replicas=4 - n), here, ledger(one=entry(5, filled=5)))) for n in range(5)]
    assert order == [[4], [3, 4], [2, 3, 4], [1, 2, 3, 4], [0, 1, 2, 3, 4]]


def test_without_reports_the_youngest_leave():
    decided = plan(desired(replicas=1), observed(one=jobs(*running(4))), ledger(one=entry(4)))
    assert chosen(decided) == [1, 2, 3]


def test_lost_reports_choose_nobody_else_once_somebody_was_chosen():
    reports = {name_of(0): report(0, busy=0)}
    first = plan(desired(replicas=2), observed(one=jobs(*running(3)), reports=reports), ledger(one=entry(3)))
    again = plan(desired(replicas=2), observed(one=jobs(*running(3))), first.ledger)
    assert chosen(again) == chosen(first) == [0]


def test_names_that_could_not_be_read_lay_nobody_off():
    decided = plan(desired(replicas=2), observed(one=jobs(*running(2), unread=(2, 3))), ledger(one=entry(4)))
    assert decided.actions == ()


def test_a_job_whose_cancel_was_accepted_is_left_alone():
    known = ledger(one=entry(2, waves=(wave(0),)))
    decided = plan(desired(replicas=0), observed(one=jobs(job(0, "CancelRequested"), job(1, "CancelRequested"))), known)
    assert decided.actions == ()
    assert decided.regions["one"].draining == 2


def test_a_waves_job_that_could_not_be_read_is_told_again():
    decided = plan(desired(replicas=0), observed(one=jobs(unread=[0])), ledger(one=entry(1, waves=(wave(0),))))
    assert orders(decided) == {name_of(0): "graceful-downscale"}


def test_a_wave_goes_when_its_jobs_have_ended():
    ended = job(0, "Completed", started=50, ended=0)
    decided = plan(desired(replicas=0), observed(one=jobs(ended)), ledger(one=entry(1, waves=(wave(0),))))
    assert decided.ledger.regions["one"].waves == ()
    assert decided.actions == ()


@pytest.mark.parametrize("on_deadline", ["Wait", "Checkpoint"])
def test_a_running_worker_is_not_cancelled_at_its_deadline_unless_the_spec_says_so(on_deadline):
    late = ledger(one=entry(1, waves=(wave(0, deadline=NOW),)))
    wanted = desired(replicas=0, drain={"onDeadline": on_deadline})
    decided = plan(wanted, observed(one=jobs(*running(1))), late)
    assert cancels(decided) == []
    assert orders(decided)
    assert decided.regions["one"].overdue == 1


def test_a_running_worker_is_cancelled_at_its_deadline_if_the_spec_says_so():
    wanted = desired(replicas=0, drain={"onDeadline": "Cancel"})
    here = observed(one=jobs(*running(1)))
    early = ledger(one=entry(1, waves=(wave(0, deadline=NOW + MINUTE),)))
    before = plan(wanted, here, early)
    assert cancels(before) == []
    assert before.retry_at == NOW + MINUTE
    assert before.actions[0].order.on_deadline == "wait"
    assert not {"Cancelling"} & {note.reason for note in before.notes}
    after = plan(wanted, here, ledger(one=entry(1, waves=(wave(0, deadline=NOW),))))
    assert cancels(after) == [name_of(0)]
    assert after.notes == (Note("Cancelling", "one: cancelling 1 (the drain deadline has passed)", warning=True),)


def test_without_control_only_pending_jobs_are_laid_off():
    here = jobs(*running(2), job(2, "Queued"))
    decided = plan(desired(replicas=0, control=None), observed(control=False, one=here), ledger(one=entry(3)))
    (action,) = decided.actions
    assert isinstance(action, CancelPending)
    assert (action.job, action.order) == (name_of(2), None)
    assert decided.ledger.regions["one"].waves == ()
    assert "2 workers running too many" in decided.regions["one"].waiting


def test_without_control_the_same_jobs_are_chosen_until_they_are_gone():
    wanted = desired(replicas=2, control=None)
    here = [job(number, "Queued", created=9 - number) for number in range(4)]
    first = plan(wanted, observed(one=jobs(*here)), ledger(one=entry(4)))
    assert pending_cancels(first) == [name_of(3), name_of(2)]
    assert plan(wanted, observed(one=jobs(*here)), first.ledger).actions == first.actions
    half = plan(wanted, observed(one=jobs(*here[:3], job(3, "Canceled", ended=0))), first.ledger)
    assert pending_cancels(half) == [name_of(2)]


def test_nobody_is_chosen_while_the_control_channel_does_not_work():
    here = jobs(*running(2), job(2, "Queued"))
    decided = plan(desired(replicas=1), observed(control=None, one=here), ledger(one=entry(3)))
    assert decided.actions == ()
    assert decided.ledger.regions["one"].waves == ()
    assert decided.regions["one"].waiting == "2 workers cannot be told to leave: the control channel is not ready"


def test_who_was_chosen_is_told_as_soon_as_the_channel_works_again():
    known = ledger(one=entry(2, waves=(wave(0),)))
    assert orders(plan(desired(replicas=1), observed(control=None, one=jobs(*running(2))), known))


def test_a_region_that_shrinks_while_another_grows():
    known = ledger(one=entry(4, filled=4), two=entry(0, "two"))
    both = desired(replicas=4, regions=regions(one=2, two=9))
    decided = plan(both, observed(one=jobs(*running(4)), two=jobs()), known)
    assert chosen(decided) == [2, 3]
    assert len(hires(decided)) == 2


def test_waves_of_one_pass_have_different_revisions():
    known = ledger(one=entry(4), two=entry(4, "two"))
    both = desired(replicas=0, regions=regions(one=9, two=9))
    here = [job(number, region="two") for number in range(4)]
    decided = plan(both, observed(one=jobs(*running(4)), two=jobs(*here)), known)
    revisions = [each.waves[0].revision for each in decided.ledger.regions.values()]
    assert len(set(revisions)) == 2


def test_suspend_drain_brings_the_number_to_zero():
    decided = plan(desired(replicas=3, suspend="Drain"), observed(one=jobs(*running(3))), ledger(one=entry(3)))
    assert chosen(decided) == [0, 1, 2]
    assert decided.desired == 0
    assert decided.ledger.regions["one"].waves[0].reason == "Suspended"


def test_suspend_scale_up_only_lets_shrinking_go_on():
    decided = plan(desired(replicas=1, suspend="ScaleUpOnly"), observed(one=jobs(*running(3))), ledger(one=entry(3)))
    assert chosen(decided) == [1, 2]


def test_draining_workers_are_taken_back_before_anybody_is_hired():
    known = ledger(one=entry(4, filled=1, waves=(wave(1, 2, 3),)))
    decided = plan(desired(replicas=3), observed(one=jobs(*running(4))), known)
    after = decided.ledger.regions["one"].waves
    assert hires(decided) == []
    assert jobs_in(after, RECALLED) == {1, 2}
    assert jobs_in(after, DrainState.SENT) == {3}
    assert orders(decided) == {
        name_of(1): "accept-new-tasks",
        name_of(2): "accept-new-tasks",
        name_of(3): "graceful-downscale",
    }
    assert decided.regions["one"].supply == 3


def test_only_the_remainder_is_hired():
    known = ledger(one=entry(2, filled=1, waves=(wave(1),)))
    decided = plan(desired(replicas=5), observed(one=jobs(*running(2))), known)
    assert len(hires(decided)) == 3
    assert jobs_in(decided.ledger.regions["one"].waves, RECALLED) == {1}


def test_the_youngest_wave_and_the_longest_work_are_taken_back_first():
    waves = (wave(0, revision=5), wave(1, 2, 3, revision=9))
    reports = {name_of(1): report(1, accepting=False), name_of(2): report(2, task_minutes=30)}
    here = observed(one=jobs(*running(4)), reports=reports)
    order = []
    for replicas in (1, 2, 3, 4):
        decided = plan(desired(replicas=replicas), here, ledger(one=entry(4, waves=waves)))
        order.append(sorted(jobs_in(decided.ledger.regions["one"].waves, RECALLED)))
    assert order == [[2], [2, 3], [1, 2, 3], [0, 1, 2, 3]]


def test_workers_of_several_waves_are_taken_back_in_one_with_the_latest_deadline():
    soon, late = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    waves = (wave(0, revision=5, deadline=late), wave(1, revision=6, deadline=soon))
    decided = plan(desired(replicas=2), observed(one=jobs(*running(2))), ledger(one=entry(2, filled=2, waves=waves)))
    assert [(each.jobs, each.state, each.deadline) for each in decided.ledger.regions["one"].waves] == [
        (frozenset({0, 1}), RECALLED, late)
    ]


def test_running_workers_are_taken_back_before_pending_ones():
    known = ledger(one=entry(2, waves=(wave(0, revision=1), wave(1, revision=9))))
    decided = plan(desired(replicas=1), observed(one=jobs(*running(1), job(1, "Queued"))), known)
    assert jobs_in(decided.ledger.regions["one"].waves, RECALLED) == {0}


def test_taking_back_needs_a_higher_revision():
    known = ledger(one=entry(1, waves=(wave(0, revision=next_revision(Ledger(), NOW) + 5),)))
    decided = plan(desired(replicas=1), observed(one=jobs(*running(1))), known)
    assert decided.ledger.regions["one"].waves[0].revision == next_revision(Ledger(), NOW) + 6


@pytest.mark.parametrize("replicas", [0, 2])
def test_what_a_worker_has_seen_is_not_undercut_when_the_clock_was_put_back(replicas):
    """The waves of before the clock was put back have gone: only the worker still knows their revision."""
    seen = next_revision(Ledger(), NOW) + 1000
    waves = () if replicas == 0 else (wave(0, 1, revision=5),)
    here = observed(one=jobs(*running(2)), reports={name_of(1): report(1, revision=seen, accepting=replicas == 0)})
    decided = plan(desired(replicas=replicas), here, ledger(one=entry(2, share=2, filled=2, waves=waves)))
    assert decided.ledger.regions["one"].waves[0].revision == seen + 1
    assert decided.ledger.regions["one"].waves[0].jobs == {0, 1}


def test_a_revision_that_nobody_can_have_given_out_is_not_followed():
    here = observed(one=jobs(*running(1)), reports={name_of(0): report(0, revision=10**30)})
    decided = plan(desired(replicas=0), here, ledger(one=entry(1, share=1, filled=1)))
    assert decided.ledger.regions["one"].waves[0].revision == next_revision(Ledger(), NOW)


def test_a_recall_is_repeated_until_it_is_confirmed():
    known = ledger(one=entry(1, share=1, filled=1, waves=(wave(0, state=RECALLED, revision=9),)))
    here = jobs(*running(1))
    silent = plan(desired(replicas=1), observed(one=here), known)
    assert orders(silent) == {name_of(0): "accept-new-tasks"}
    assert silent.ledger == known
    old = plan(desired(replicas=1), observed(one=here, reports={name_of(0): report(0, revision=8)}), known)
    assert orders(old)
    confirmed = plan(desired(replicas=1), observed(one=here, reports={name_of(0): report(0, revision=9)}), known)
    assert confirmed.actions == ()
    assert confirmed.ledger.regions["one"].waves == ()


def test_a_recall_that_nobody_confirms_is_given_up():
    known = ledger(one=entry(1, filled=1, waves=(wave(0, state=RECALLED),)))
    here = jobs(*running(1))
    assert plan(desired(replicas=1), observed(one=here), known).retry_at == NOW + 29 * MINUTE
    decided = plan(desired(replicas=1), observed(now=NOW + 29 * MINUTE, one=here), known)
    assert decided.ledger.regions["one"].waves == ()
    assert decided.actions == ()


def test_a_recalled_worker_is_drained_again_under_a_higher_revision():
    known = ledger(one=entry(1, filled=1, waves=(wave(0, state=RECALLED, revision=50),)))
    decided = plan(desired(replicas=0), observed(one=jobs(*running(1))), known)
    (sent,) = decided.ledger.regions["one"].waves
    assert (sent.state, sent.jobs) == (DrainState.SENT, {0})
    assert sent.revision > 50


@table(("on_deadline", "taken"), [("Wait", True), ("Checkpoint", False), ("Cancel", False)])
def test_a_drain_past_a_deadline_that_ends_tasks_is_not_taken_back(on_deadline, taken):
    known = ledger(one=entry(1, waves=(wave(0, deadline=NOW),)))
    wanted = desired(replicas=1, drain={"onDeadline": on_deadline})
    decided = plan(wanted, observed(one=jobs(*running(1))), known)
    assert bool(jobs_in(decided.ledger.regions["one"].waves, RECALLED)) == taken
    earlier = ledger(one=entry(1, waves=(wave(0, deadline=NOW + timedelta(seconds=1)),)))
    decided = plan(wanted, observed(one=jobs(*running(1))), earlier)
    assert jobs_in(decided.ledger.regions["one"].waves, RECALLED) == {0}


def test_nobody_is_taken_back_while_scaling_up_is_suspended():
    known = ledger(one=entry(1, waves=(wave(0),)))
    decided = plan(desired(replicas=1, suspend="ScaleUpOnly"), observed(one=jobs(*running(1))), known)
    assert jobs_in(decided.ledger.regions["one"].waves, RECALLED) == frozenset()


def test_people_hear_of_layoffs_and_recalls_once():
    first = plan(desired(replicas=1), observed(one=jobs(*running(3))), ledger(one=entry(3)))
    (note,) = first.notes
    assert (note.reason, note.message) == ("LayingOff", "one: laying off 2 (ScaleDown): 2 not heard of")
    assert plan(desired(replicas=1), observed(one=jobs(*running(3))), first.ledger).notes == ()
    back = plan(desired(replicas=3), observed(one=jobs(*running(3))), first.ledger)
    assert [note.reason for note in back.notes] == ["TakingBack"]


def test_a_region_that_left_the_spec_is_drained_where_it_was():
    known = ledger(one=entry(0), gone=entry(2, "gone", filled=2))
    decided = plan(desired(replicas=0), observed(one=jobs(), gone=jobs(*running(2))), known)
    assert chosen(decided, "gone") == [0, 1]
    assert decided.ledger.regions["gone"].waves[0].reason == "RegionRemoved"
    assert decided.ledger.regions["gone"].coordinates == known.regions["gone"].coordinates


def test_a_region_that_left_the_spec_is_forgotten_when_it_is_empty():
    known = ledger(one=entry(0), gone=entry(2, "gone"))
    ended = jobs(job(0, "Completed", ended=1), absent=[1])
    decided = plan(desired(replicas=0), observed(one=jobs(), gone=ended), known)
    assert set(decided.ledger.regions) == {"one"}
    assert [note.reason for note in decided.notes] == ["RegionEmptied"]
    assert decided.retry_at == NOW


@table("left", [None, jobs(unread=[1]), jobs(job(0, "CancelRequested"))])
def test_a_region_that_left_the_spec_is_kept_until_it_is_surely_empty(left):
    known = ledger(one=entry(0), gone=entry(2, "gone"))
    decided = plan(desired(replicas=0), observed(one=jobs(), gone=left), known)
    assert "gone" in decided.ledger.regions


def test_nobody_is_hired_into_a_region_that_left_the_spec():
    known = ledger(one=entry(0), gone=entry(4, "gone", filled=4, hiring=(1, 2, 3)))
    decided = plan(desired(replicas=0), observed(one=jobs(), gone=jobs(*running(1), absent=(1, 2, 3))), known)
    assert hires(decided) == []


def test_a_region_that_stands_elsewhere_now_is_emptied_first():
    elsewhere = desired(replicas=2, regions=[region("one", workspace="other")])
    known = ledger(one=entry(2, filled=2))
    full = plan(elsewhere, observed(one=jobs(*running(2))), known)
    assert chosen(full) == [0, 1]
    assert full.ledger.regions["one"].coordinates.workspace == "ws"
    empty = plan(elsewhere, observed(one=jobs()), full.ledger)
    assert empty.ledger == Ledger(next_sequence=2)
    fresh = plan(elsewhere, observed(one=jobs()), empty.ledger)
    assert fresh.ledger.regions["one"].coordinates.workspace == "other"


def test_who_was_taken_back_and_is_being_cancelled_by_others_is_not_past_a_deadline():
    taken_back = wave(0, state=DrainState.RECALLED, deadline=NOW - MINUTE)
    answer = plan(
        desired(replicas=1), observed(one=jobs(job(0, "CancelRequested"))), ledger(one=entry(1, waves=(taken_back,)))
    )
    assert answer.regions["one"].overdue == 0
