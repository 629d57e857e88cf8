"""Deletion: by policy, by deadline, and always to an end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support import workforces
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
    running,
    wave,
)
from tests.support.tables import table
from workforce_operator.api.status import DrainState
from workforce_operator.domain.actions import Note
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import Known, Unknown
from workforce_operator.domain.plan import plan


def deleted(minutes_ago: float = 1, **spec):
    return desired(deletion_time=NOW - timedelta(minutes=minutes_ago), **({"replicas": 3} | spec))


KNOWN = ledger(one=entry(3, filled=3))
PREFIX = name_of(0).removesuffix("0")
"""Which jobs to look for by hand."""
MIXED = jobs(*running(2), job(2, "Queued"))


def test_a_workforce_without_jobs_goes_at_once():
    for known in (Ledger(), ledger(one=entry(0)), ledger(one=entry(5))):
        decided = plan(deleted(), observed(one=jobs()), known)
        assert decided.finished
        assert decided.left_behind == ()
        assert decided.actions == ()


def test_deletion_drains_by_default_where_there_is_a_control_channel():
    decided = plan(deleted(), observed(one=MIXED), KNOWN)
    assert not decided.finished
    assert set(orders(decided)) == {name_of(0), name_of(1)}
    assert pending_cancels(decided) == [name_of(2)]
    assert decided.ledger.regions["one"].waves[0].reason == "Deletion"
    assert decided.desired == 0


def test_deletion_ends_only_on_observed_emptiness():
    ended = [job(number, "Completed", started=9, ended=1) for number in range(2)]
    assert not plan(deleted(), observed(one=jobs(*ended, job(2, "CancelRequested"))), KNOWN).finished
    assert not plan(deleted(), observed(one=jobs(*ended, unread=[2])), KNOWN).finished
    assert not plan(deleted(), observed(one=None), KNOWN).finished
    assert plan(deleted(), observed(one=jobs(*ended, absent=[2])), KNOWN).finished


def test_deletion_waits_for_hires_that_are_perhaps_on_their_way_until_its_deadline():
    ended = [job(number, "Completed", started=9, ended=1) for number in range(2)]
    reading = observed(one=jobs(*ended, late=[2]))
    waiting = plan(deleted(), reading, KNOWN)
    assert not waiting.finished
    assert waiting.regions["one"].waiting == (
        "no job is left, and hires under 1 of the names may still be on their way"
    )
    assert plan(deleted(minutes_ago=10, deletionDeadlineSeconds=60), reading, KNOWN).finished


def test_a_removed_region_is_watched_while_hires_are_perhaps_on_their_way_to_it():
    known = ledger(one=entry(1), former=entry(3))
    wanted = desired(replicas=1)
    for late, kept in (([2], {"one", "former"}), ([], {"one"})):
        reading = observed(one=jobs(*running(1)), former=jobs(job(0, "Completed", ended=1), absent=[1], late=late))
        assert set(plan(wanted, reading, known).ledger.regions) == kept


def test_names_without_a_job_are_not_hired_under_any_more():
    known = ledger(one=entry(3, filled=3, hiring=(1, 2)))
    assert hires(plan(deleted(), observed(one=jobs(*running(1), absent=(1, 2))), known)) == []


def test_without_control_pending_jobs_are_cancelled_and_running_ones_reported():
    first = plan(deleted(control=None), observed(control=False, one=MIXED), KNOWN)
    assert pending_cancels(first) == [name_of(2)]
    assert not first.finished
    rest = jobs(*running(2), job(2, "Canceled", ended=0))
    second = plan(deleted(control=None), observed(control=False, one=rest), first.ledger)
    assert second.finished
    assert second.left_behind == (name_of(0), name_of(1))
    assert second.notes[-1].warning
    assert name_of(0) in second.notes[-1].message


def test_policy_orphan_leaves_everything_at_once():
    decided = plan(deleted(deletionPolicy="Orphan"), observed(one=MIXED), KNOWN)
    assert decided.finished
    assert decided.actions == ()
    assert decided.left_behind == (name_of(0), name_of(1), name_of(2))
    assert decided.ledger == KNOWN


def test_a_definition_that_is_deleted_orphans_whatever_the_policy():
    decided = plan(desired(going=True, deletionPolicy="Cancel"), observed(one=MIXED), KNOWN)
    assert decided.finished
    assert decided.actions == ()


def test_orphaning_does_not_wait_for_unreadable_regions_and_says_so():
    decided = plan(deleted(deletionPolicy="Orphan"), observed(one=None), KNOWN)
    assert decided.finished
    assert f"one (jobs {PREFIX}*, none told to leave): no answer" in decided.notes[-1].message


def test_policy_cancel_cancels_everything_that_lives():
    here = jobs(*running(1), job(1, "Queued"), job(2, "Paused"), job(3, "CancelRequested"), job(4, "Failed", ended=1))
    known = ledger(one=entry(6, filled=5, waves=(wave(5),)))
    decided = plan(deleted(deletionPolicy="Cancel"), observed(one=replace(here, jobs=(*here.jobs, job(5)))), known)
    assert len(decided.actions) == len(cancels(decided)) == 4
    assert set(cancels(decided)) == {name_of(number) for number in (0, 1, 2, 5)}
    assert not decided.finished
    assert [note.reason for note in decided.notes] == ["Cancelling"]


def test_at_the_deadline_running_workers_are_left_and_named():
    late = deleted(60, deletionDeadlineSeconds=3600)
    decided = plan(late, observed(one=jobs(*running(2))), ledger(one=entry(2, waves=(wave(0, 1),))))
    assert decided.finished
    assert decided.actions == ()
    assert decided.left_behind == (name_of(0), name_of(1))


def test_at_the_deadline_pending_jobs_are_cancelled_before_it_ends():
    late = deleted(60, deletionDeadlineSeconds=3600)
    decided = plan(late, observed(control=None, one=MIXED), KNOWN)
    assert pending_cancels(decided) == [name_of(2)]
    assert not decided.finished
    assert decided.retry_at == NOW + MINUTE
    gone = plan(late, observed(control=None, one=jobs(*running(2), job(2, "Canceled", ended=0))), decided.ledger)
    assert gone.finished


def test_at_the_deadline_who_never_ran_is_told_to_leave_first_and_cancelled_all_the_same():
    late = deleted(60, deletionDeadlineSeconds=3600)
    decided = plan(late, observed(one=MIXED), KNOWN)
    assert pending_cancels(decided) == [name_of(2), name_of(2)]
    told, unordered = decided.actions
    assert (told.order.job, unordered.order) == (name_of(2), None)


def test_at_the_deadline_running_workers_are_cancelled_if_the_spec_says_so():
    late = deleted(60, deletionDeadlineSeconds=3600, drain={"onDeadline": "Cancel"})
    decided = plan(late, observed(one=jobs(*running(2))), KNOWN)
    assert cancels(decided) == [name_of(0), name_of(1)]
    told = Note("Cancelling", "one: cancelling 2 (the deletion deadline has passed)", warning=True)
    assert told in decided.notes
    assert not decided.finished


def test_at_the_deadline_a_paused_job_is_cancelled_like_one_that_never_ran():
    late = deleted(60, deletionDeadlineSeconds=3600)
    decided = plan(late, observed(control=None, one=jobs(job(0, "Paused", started=50))), KNOWN)
    assert pending_cancels(decided) == [name_of(0)]


def test_without_a_control_channel_no_running_worker_is_cancelled_at_the_deadline():
    late = deleted(60, deletionDeadlineSeconds=3600, control=None, drain={"onDeadline": "Cancel"})
    decided = plan(late, observed(control=False, one=jobs(*running(2))), KNOWN)
    assert (decided.actions, decided.finished, decided.left_behind) == ((), True, (name_of(0), name_of(1)))


@pytest.mark.parametrize("policy", [None, "Drain", "Cancel"])
@pytest.mark.parametrize("reading", [None, MIXED, jobs(unread=[0])])
def test_a_minute_after_the_deadline_it_is_over_whatever_is_left(policy, reading):
    late = deleted(61, deletionDeadlineSeconds=3600, deletionPolicy=policy, drain={"onDeadline": "Cancel"})
    decided = plan(late, observed(control=None, one=reading), KNOWN)
    assert decided.finished


def test_the_last_event_says_how_many_may_be_left_how_many_were_told_to_leave_and_what_to_do():
    """Nobody else remembers once the object is gone."""
    recalled = wave(2, id="w2", state=DrainState.RECALLED)
    known = ledger(one=replace(entry(3, waves=(wave(0, 1), recalled)), reserved=3))
    decided = plan(deleted(61, deletionDeadlineSeconds=3600), observed(one=None), known)
    assert decided.notes[-1].message == (
        f"jobs may be left, because regions could not be read: one (at most 3 jobs, {PREFIX}*, 2 told to leave): "
        "no answer; cancel them in the studio, or make the Workforce again: it takes them back"
    )


def test_what_could_not_be_read_is_named_at_the_end():
    decided = plan(deleted(61, deletionDeadlineSeconds=3600), observed(one=None), KNOWN)
    assert decided.notes[-1].reason == "RegionsUnreadable"
    assert f"one (jobs {PREFIX}*, none told to leave): no answer" in decided.notes[-1].message


NO_WORKSPACE = replace(observed(), regions={"one": Unknown("NotFound", "HTTP 404 workspace nowhere was not found")})


@pytest.mark.parametrize("policy", [None, "Drain", "Cancel", "Orphan"])
@pytest.mark.parametrize("known", [Ledger(), ledger(one=entry(0)), KNOWN, ledger(one=entry(3, waves=(wave(0),)))])
def test_a_region_whose_workspace_does_not_exist_is_empty_and_an_event_says_so(policy, known):
    decided = plan(deleted(deletionPolicy=policy), NO_WORKSPACE, known)
    assert decided.finished
    assert decided.left_behind == ()
    assert [(note.reason, note.warning) for note in decided.notes] == [("RegionNotFound", True)]
    assert "one: counts as empty, because it does not exist: HTTP 404 workspace nowhere" in decided.notes[0].message


def test_a_missing_workspace_of_one_region_does_not_hurry_the_others():
    both = deleted(regions=[workforces.region("one"), workforces.region("two")])
    seen = replace(NO_WORKSPACE, regions={**NO_WORKSPACE.regions, "two": Known(jobs(job(0, region="two")), NOW)})
    assert not plan(both, seen, ledger(one=entry(0), two=entry(1, "two"))).finished


def test_a_removed_region_whose_workspace_does_not_exist_leaves_the_ledger():
    """How a mistyped workspace is corrected: a region's coordinates do not change, so it comes back by another name."""
    wanted = desired(regions=[workforces.region("two")])
    seen = replace(NO_WORKSPACE, regions={**NO_WORKSPACE.regions, "two": Known(jobs(), NOW)})
    decided = plan(wanted, seen, ledger(one=entry(None), two=entry(0, "two")))
    assert list(decided.ledger.regions) == ["two"]
    assert "RegionNotFound" in [note.reason for note in decided.notes]


def test_a_region_of_the_spec_whose_workspace_does_not_exist_is_unreadable_and_stays():
    decided = plan(desired(), NO_WORKSPACE, KNOWN)
    assert decided.ledger == KNOWN
    assert decided.notes == ()
    assert not decided.regions["one"].readable


@table("suspend", ["Hold", "ScaleUpOnly", "Drain"])
def test_deletion_overrides_suspension(suspend):
    assert orders(plan(deleted(suspend=suspend), observed(one=jobs(*running(1))), KNOWN))


def test_no_order_promises_more_time_than_deletion_has():
    decided = plan(deleted(30, deletionDeadlineSeconds=3600), observed(one=jobs(*running(1))), KNOWN)
    assert decided.ledger.regions["one"].waves[0].deadline == NOW + timedelta(minutes=30)


def test_the_deadline_is_not_slept_through():
    decided = plan(deleted(30, deletionDeadlineSeconds=3600), observed(one=jobs(*running(1))), KNOWN)
    assert decided.retry_at == NOW + timedelta(minutes=30)


def test_a_deletion_with_lost_names_ends_on_the_complete_list():
    ended = jobs(job(0, "Completed", ended=9))
    assert plan(deleted(), observed(one=ended), Ledger()).finished
    first = plan(deleted(), observed(one=jobs(*running(1))), Ledger())
    assert not first.finished
    assert orders(plan(deleted(), observed(one=jobs(*running(1))), first.ledger))


def test_many_names_left_behind_make_a_short_message():
    many = jobs(*running(100))
    decided = plan(deleted(deletionPolicy="Orphan"), observed(one=many), ledger(one=entry(100)))
    assert len(decided.left_behind) == 100
    assert "and 80 more; cancel them in the studio" in decided.notes[-1].message
