"""Conditions: what holds, and since when."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jobq.control import Exit
from tests.support.planning import (
    MINUTE,
    NOW,
    coordinates,
    desired,
    entry,
    job,
    jobs,
    ledger,
    observed,
    regions,
    running,
    wave,
    with_tasks,
)
from tests.support.tables import table
from tests.support.workforces import region
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.conditions import TYPES
from workforce_operator.domain.errors import Denied, SpecError, Unavailable
from workforce_operator.domain.observed import Known
from workforce_operator.domain.outcomes import Failure, Outcomes
from workforce_operator.domain.plan import plan
from workforce_operator.domain.status import build_status, refused_status


def status_of(wanted, world, known, *, outcomes=None, previous=None):
    decided = plan(wanted, world, known)
    return build_status(wanted, world, decided, outcomes or Outcomes(), previous or WorkforceStatus())


def said(status, kind):
    (condition,) = (each for each in status.conditions if each.type == kind)
    return condition


def verdict(status, kind):
    condition = said(status, kind)
    return condition.status, condition.reason


FULL = ledger(one=entry(2, filled=2))


def test_all_conditions_are_there_from_the_first_pass_in_the_documented_order():
    status = status_of(desired(), observed(one=jobs()), ledger())
    assert tuple(condition.type for condition in status.conditions) == TYPES
    assert all(condition.observed_generation == 1 for condition in status.conditions)


def test_a_workforce_that_has_what_it_asked_for_is_ready():
    status = status_of(desired(), observed(one=jobs(*running(2))), FULL)
    assert verdict(status, "Ready") == ("True", "AsDesired")
    assert verdict(status, "Progressing") == ("False", "Complete")
    assert said(status, "Ready").message == "2 of 2 run"


def test_workers_that_wait_for_a_node_are_not_ready_yet():
    status = status_of(desired(), observed(one=jobs(*running(1), job(1, "Queued"))), FULL)
    assert verdict(status, "Ready") == ("False", "Scaling")
    assert verdict(status, "Progressing") == ("True", "Hiring")


def test_a_clamped_number_is_told():
    status = status_of(desired(replicas=9, regions=regions(one=2)), observed(one=jobs(*running(2))), FULL)
    assert said(status, "Ready").message == "2 of 2 run; 9 asked for, but the regions allow 2"


def test_idle_is_ready():
    ended = job(1, "Completed", started=50, ended=1)
    status = status_of(desired(), observed(visible=False, one=jobs(*running(1), ended)), FULL)
    assert verdict(status, "Ready") == ("True", "Idle")
    assert verdict(status, "Progressing") == ("False", "Complete")
    assert said(status, "Ready").message == "1 of 2 runs, 1 completed: no work waits"


def test_workers_that_are_replaced_after_a_while_are_not_said_to_have_no_work():
    ended = job(1, "Completed", started=2, ended=0.25)
    status = status_of(desired(), observed(visible=True, one=jobs(*running(1), ended)), FULL)
    assert verdict(status, "Ready") == ("True", "Idle")
    assert said(status, "Ready").message == (
        "1 of 2 runs, 1 completed (one: workers complete within 10 minutes: replaced at 12:00:15Z)"
    )


def ready_before(**changes):
    return status_of(desired(**changes), observed(now=NOW - 30 * MINUTE, one=jobs(*running(2))), FULL)


def test_replacing_a_lost_worker_does_not_clear_ready_for_ten_minutes():
    preempted = jobs(*running(1), job(1, "Queued"))
    first = status_of(desired(), observed(one=preempted), FULL, previous=ready_before())
    assert verdict(first, "Ready") == ("True", "AsDesired")
    assert said(first, "Ready").message == "1 of 2 runs; not ready if this lasts 10 minutes"
    assert verdict(first, "Progressing") == ("True", "Hiring")
    second = status_of(desired(), observed(now=NOW + 9 * MINUTE, one=preempted), FULL, previous=first)
    assert verdict(second, "Ready") == ("True", "AsDesired")
    third = status_of(desired(), observed(now=NOW + 10 * MINUTE, one=preempted), FULL, previous=second)
    assert verdict(third, "Ready") == ("False", "Scaling")


@table(
    ("suspend", "control", "living", "ready"),
    [
        ("ScaleUpOnly", True, 1, "Suspended"),
        ("Hold", True, 1, "Suspended"),
        ("Hold", True, 3, "Suspended"),
        ("None", False, 3, "Draining"),
    ],
)
def test_what_nobody_works_on_clears_ready_at_once(suspend, control, living, ready):
    wanted = {"suspend": suspend} | ({} if control else {"control": None})
    here = observed(one=jobs(*running(living)))
    status = status_of(desired(**wanted), here, ledger(one=entry(3, filled=2)), previous=ready_before(**wanted))
    assert verdict(status, "Ready") == ("False", ready)


def test_hold_does_not_clear_ready_while_a_preempted_worker_waits_for_a_node():
    """AzureML queues the job again by itself."""
    held = desired(suspend="Hold")
    preempted = jobs(*running(1), job(1, "Queued"))
    status = status_of(held, observed(one=preempted), FULL, previous=ready_before(suspend="Hold"))
    assert verdict(status, "Ready") == ("True", "AsDesired")
    assert verdict(status, "Progressing") == ("True", "Hiring")
    assert said(status, "Progressing").message == "1 waits for a node; suspend is Hold: nothing else happens"
    later = status_of(held, observed(now=NOW + 10 * MINUTE, one=preempted), FULL, previous=status)
    assert verdict(later, "Ready") == ("False", "Scaling")


def test_an_edit_clears_ready_until_it_is_fulfilled():
    status = status_of(
        desired(generation=2, replicas=3), observed(one=jobs(*running(2))), FULL, previous=ready_before()
    )
    assert verdict(status, "Ready") == ("False", "Scaling")
    assert said(status, "Ready").observed_generation == 2


def test_an_edit_without_effect_leaves_ready():
    status = status_of(desired(generation=2), observed(one=jobs(*running(2))), FULL, previous=ready_before())
    assert verdict(status, "Ready") == ("True", "AsDesired")
    assert said(status, "Ready").observed_generation == 2
    assert said(status, "Ready").last_transition_time == NOW - 30 * MINUTE


def test_leaving_workers_are_not_what_was_asked_for():
    status = status_of(desired(replicas=1), observed(one=jobs(*running(2))), FULL)
    assert verdict(status, "Ready") == ("False", "Draining")
    assert verdict(status, "Progressing") == ("True", "LayingOff")
    assert verdict(status, "Draining") == ("True", "ScaleDown")
    assert said(status, "Draining").message == "leaving: one 1"
    assert said(status, "Ready").message == "1 of 1 runs, 1 is leaving"


def test_workers_who_cannot_be_told_to_leave_are_too_many_and_not_said_to_leave():
    status = status_of(desired(replicas=1, control=None), observed(one=jobs(*running(3))), FULL)
    assert said(status, "Ready").message.startswith("3 of 1 run, 2 too many (")


def test_jobs_that_get_no_node_because_of_a_quota_are_told_although_no_hire_is_held_back():
    waiting = observed(one=jobs(*running(1), job(1, "Queued")))
    short, enough = ClusterCapacity(9, 2, 1, 0, quota=True), ClusterCapacity(9, 2, 1, 0)
    status = status_of(desired(), replace(waiting, capacity={"one": Known(short, NOW)}), FULL)
    assert verdict(status, "CapacityAvailable") == ("True", "Enough")
    told = "no hire waits for room; 1 job waits for a node, because the quota is used up in one"
    assert said(status, "CapacityAvailable").message == told
    status = status_of(desired(), replace(waiting, capacity={"one": Known(enough, NOW)}), FULL)
    assert said(status, "CapacityAvailable").message == "no hire waits for room"


def test_workers_past_their_deadline_are_told():
    known = ledger(one=entry(2, waves=(wave(0, 1, deadline=NOW),)))
    status = status_of(desired(replicas=0), observed(one=jobs(*running(2))), known)
    assert verdict(status, "Draining") == ("True", "DeadlineExceeded")


def test_nobody_leaving_is_told_too():
    assert verdict(status_of(desired(), observed(one=jobs()), FULL), "Draining") == ("False", "NoneDraining")


def test_too_many_running_without_control_is_not_progress():
    status = status_of(desired(replicas=1, control=None), observed(control=False, one=jobs(*running(2))), FULL)
    assert verdict(status, "Progressing") == ("False", "ControlNotConfigured")
    assert verdict(status, "Ready") == ("False", "Draining")
    assert verdict(status, "ControlChannelReady") == ("False", "NotConfigured")


@table(
    ("suspend", "ready", "progressing"),
    [
        ("Hold", ("False", "Suspended"), ("False", "Suspended")),
        ("ScaleUpOnly", ("False", "Suspended"), ("False", "Suspended")),
        ("Drain", ("True", "Suspended"), ("False", "Complete")),
    ],
)
def test_suspension_is_told(suspend, ready, progressing):
    status = status_of(desired(suspend=suspend), observed(one=jobs()), ledger(one=entry(0)))
    assert verdict(status, "Ready") == ready
    assert verdict(status, "Progressing") == progressing


@table(
    ("replicas", "text"),
    [(1, "2 of 1 run, 1 too many"), (5, "2 of 5 run")],
)
def test_what_is_asked_for_under_hold_and_not_done_is_told(replicas, text):
    """Shares stay as they were, so that no region by itself has too few or too many."""
    known = ledger(one=entry(2, share=2, filled=2))
    status = status_of(desired(replicas=replicas, suspend="Hold"), observed(one=jobs(*running(2))), known)
    assert verdict(status, "Ready") == ("False", "Suspended")
    assert said(status, "Ready").message == text


@table(("suspend", "reason"), [("Hold", "Suspended"), ("ScaleUpOnly", "Scaling"), ("None", "Scaling")])
def test_a_paused_job_is_told_and_that_only_hold_keeps_it_from_being_resumed(suspend, reason):
    here = observed(one=jobs(*running(1), job(1, "Paused")))
    status = status_of(desired(replicas=2, suspend=suspend), here, FULL)
    assert verdict(status, "Ready") == ("False", reason)
    assert said(status, "Ready").message == "1 of 2 runs, 1 is paused"


def test_hold_with_the_right_numbers_is_ready():
    status = status_of(desired(suspend="Hold"), observed(one=jobs(*running(2))), FULL)
    assert verdict(status, "Ready") == ("True", "AsDesired")


def test_deletion_is_told():
    status = status_of(desired(deletion_time=NOW - MINUTE), observed(one=jobs(*running(2))), FULL)
    assert verdict(status, "Ready") == ("False", "Draining")
    assert verdict(status, "Progressing") == ("True", "LayingOff")
    assert verdict(status, "Draining") == ("True", "Deletion")


def test_a_deletion_tells_when_it_ends_and_how_to_end_it_sooner():
    wanted = desired(deletion_time=NOW - MINUTE, deletionDeadlineSeconds=86400)
    status = status_of(wanted, observed(one=jobs(*running(2))), FULL)
    told = "being deleted; 2 jobs are left; ends by {}, sooner with a smaller spec.deletionDeadlineSeconds"
    assert said(status, "Progressing").message == told.format("2026-03-02 11:59:00Z")
    assert said(status, "Ready").message == said(status, "Progressing").message


def test_a_deletion_that_cannot_look_says_that_it_ends_after_the_deadline_all_the_same():
    wanted = desired(deletion_time=NOW - MINUTE, deletionDeadlineSeconds=30)
    status = status_of(wanted, observed(one=None), FULL, previous=ready_before())
    assert said(status, "Progressing").message == (
        "being deleted; 2 jobs are left, as last known; one cannot be read; "
        "the deadline has passed: the object goes within a minute"
    )


def test_a_crash_loop_degrades_with_the_last_error():
    failed = [job(number, "Failed", started=1, ended=0, error="exit code 3") for number in range(3)]
    status = status_of(desired(), observed(one=jobs(*failed)), ledger(one=entry(3, filled=2)))
    assert verdict(status, "RegionsHealthy") == ("False", "CrashLoop")
    text = "one: workers fail soon after their start (last error: unknown failure: exit code 3)"
    assert said(status, "RegionsHealthy").message == text
    assert verdict(status, "Ready") == ("False", "Degraded")


def test_a_template_that_fails_everywhere_degrades_with_the_last_lines_and_the_next_trial():
    failed = [job(number, "Failed", created=2, started=1, ended=0) for number in range(5)]
    words = Exit(job=failed[4].name, time=NOW, why="crashed", exit_code=1, error=["no module named sim"])
    reading = observed(one=jobs(*failed), last_words={failed[4].name: words})
    status = status_of(desired(), reading, ledger(one=entry(5, filled=2)))
    assert verdict(status, "RegionsHealthy") == ("False", "CrashLoop")
    assert said(status, "RegionsHealthy").message == (
        "the template: 5 workers in a row failed soon after their start; the next one is tried at 12:00:10Z "
        "(last error: user error: no module named sim (exit code 1))"
    )
    assert verdict(status, "Ready") == ("False", "Degraded")


@table(
    ("trial", "says"),
    [
        (job(9, created=-0.5, started=-1), "a trial runs since 12:01:00Z (last"),
        (job(9, "Queued", created=-0.5), "a trial waits for a node; another one is tried at 12:10:30Z (last"),
    ],
)
def test_a_template_in_back_off_tells_of_the_trial_that_is_under_way(trial, says):
    failed = [job(number, "Failed", created=2, started=1, ended=0) for number in range(5)]
    reading = observed(now=NOW + 2 * MINUTE, one=jobs(*failed, trial))
    status = status_of(desired(), reading, ledger(one=entry(10, filled=2)))
    assert says in said(status, "RegionsHealthy").message


def test_one_fast_failure_leaves_a_fleet_ready():
    failed = job(1, "Failed", started=1, ended=0, error="exit code 3")
    status = status_of(desired(), observed(one=jobs(*running(1), failed)), FULL, previous=ready_before())
    assert verdict(status, "RegionsHealthy") == ("True", "AllHealthy")
    assert verdict(status, "Ready") == ("True", "AsDesired")
    assert verdict(status, "Progressing") == ("True", "Hiring")
    assert "exit code 3" in said(status, "Progressing").message


def test_an_unreadable_region_keeps_its_last_counts_and_clears_ready_after_ten_minutes():
    first = status_of(desired(), observed(one=None), FULL, previous=ready_before())
    assert first.running_replicas == 2
    assert first.regions[0].stale_since_time == NOW
    assert verdict(first, "RegionsHealthy") == ("False", "RegionUnreadable")
    assert verdict(first, "Ready") == ("True", "AsDesired")
    text = "2 of 2 run, as last known; cannot be read: one: no answer; not ready if this lasts 10 minutes"
    assert said(first, "Ready").message == text
    second = status_of(desired(), observed(now=NOW + 10 * MINUTE, one=None), FULL, previous=first)
    assert verdict(second, "Ready") == ("False", "Degraded")
    assert "one: no answer" in said(second, "Ready").message


def test_an_unreadable_region_is_never_reported_as_ready_at_first():
    assert verdict(status_of(desired(), observed(one=None), FULL), "Ready") == ("False", "Degraded")


def test_a_region_that_was_never_read_is_not_said_to_miss_workers_whom_the_others_have():
    wanted = desired(replicas=3, regions=[region("one"), region("two", compute="gpu")])
    world = observed(one=jobs(*running(3)), two=None)
    status = status_of(
        wanted,
        world,
        ledger(one=entry(3, share=3, filled=3), two=entry(None, "two", coordinates=coordinates("two", compute="gpu"))),
    )
    assert verdict(status, "Progressing") == ("False", "Complete")
    assert verdict(status, "Ready") == ("False", "Degraded")
    assert said(status, "Ready").message == "3 of 3 run, as last known; cannot be read: two: no answer"


def test_a_refused_write_makes_a_region_unhealthy():
    denied = Outcomes(regions={"one": Failure.of(Denied("may not write jobs", scope="/ws"))})
    status = status_of(desired(), observed(one=jobs()), ledger(one=entry(0)), outcomes=denied)
    assert verdict(status, "RegionsHealthy") == ("False", "AccessDenied")
    assert status.regions[0].message == "may not write jobs"


def test_a_transient_failure_is_told_and_changes_no_condition():
    busy = Outcomes(regions={"one": Failure.of(Unavailable("busy"))})
    status = status_of(desired(), observed(one=jobs()), ledger(one=entry(0)), outcomes=busy)
    assert verdict(status, "RegionsHealthy") == ("True", "AllHealthy")
    assert status.regions[0].message == "busy"


def test_a_refused_template_is_not_accepted_until_it_was_tried_with_success():
    refused = Outcomes(spec=Failure.of(SpecError("no such environment", reason="InvalidTemplate")))
    first = status_of(desired(), observed(one=jobs()), ledger(one=entry(0)), outcomes=refused)
    assert verdict(first, "SpecAccepted") == ("False", "InvalidTemplate")
    assert verdict(first, "Ready") == ("False", "Degraded")
    waiting = jobs(unread=(0, 1))
    second = status_of(desired(), observed(one=waiting), ledger(one=entry(2, filled=2)), previous=first)
    assert verdict(second, "SpecAccepted") == ("False", "InvalidTemplate")
    third = status_of(desired(), observed(one=jobs()), ledger(one=entry(0)), previous=second)
    assert verdict(third, "SpecAccepted") == ("True", "Valid")
    edited = status_of(desired(generation=2), observed(one=waiting), FULL, previous=first)
    assert verdict(edited, "SpecAccepted") == ("True", "Valid")


def test_a_region_that_still_drains_elsewhere_is_told():
    moved = desired(regions=[region("one", workspace="new")])
    status = status_of(moved, observed(one=jobs(*running(2))), FULL)
    assert verdict(status, "SpecAccepted") == ("False", "RegionStillDraining")
    missing = "2 of 2 have no place until one is empty where it was before"
    for kind in ("Ready", "Progressing"):
        assert missing in said(status, kind).message


def test_a_workforce_is_not_ready_in_the_pass_that_finds_a_moved_region_empty():
    moved = desired(replicas=4, regions=[region("one", workspace="new"), region("two", maxReplicas=2)])
    known = ledger(one=entry(2, filled=2), two=entry(2, "two", filled=2))
    full = jobs(*(job(number, region="two", started=50) for number in range(2)))
    status = status_of(moved, observed(one=jobs(job(1, "Completed", ended=1)), two=full), known)
    assert [each.name for each in status.regions] == ["two"]
    assert verdict(status, "Ready") == ("False", "Scaling")
    assert verdict(status, "Progressing") == ("True", "Hiring")
    assert said(status, "Ready").message == "2 of 4 run; 2 of 4 have no place yet"


def test_an_unknown_queue_is_told_with_its_reason():
    status = status_of(desired(), observed(visible=None, one=jobs(*running(2))), FULL)
    assert verdict(status, "QueueReachable") == ("False", "Unavailable")
    assert status.queue_length is None
    assert verdict(status, "Ready") == ("True", "AsDesired")


def test_a_control_channel_that_was_never_ready_degrades_and_is_named():
    status = status_of(desired(), observed(control=None, one=jobs()), ledger(one=entry(0)))
    assert verdict(status, "ControlChannelReady") == ("False", "AccessDenied")
    assert verdict(status, "Ready") == ("False", "Degraded")
    assert (
        said(status, "Ready").message == "one: nobody is hired before ControlChannelReady is True: bus (one): no role"
    )
    assert verdict(status, "Progressing") == ("False", "ControlChannelNotReady")


def test_a_workforce_that_wants_nobody_is_ready_without_a_control_channel():
    status = status_of(desired(replicas=0), observed(control=None, one=jobs()), ledger(one=entry(0)))
    assert verdict(status, "Ready") == ("True", "AsDesired")


def test_workers_that_completed_are_not_hired_for_ever_while_the_queue_cannot_be_read():
    ended = [job(number, "Completed", started=50, ended=1) for number in range(2)]
    status = status_of(desired(), observed(visible=None, one=jobs(*ended)), FULL)
    assert verdict(status, "Progressing") == ("False", "QueueUnreadable")
    assert verdict(status, "Ready") == ("False", "Degraded")
    assert "not replaced until the queue can be read" in said(status, "Ready").message


def test_a_short_outage_of_the_queue_leaves_ready():
    here = jobs(*running(1), job(1, "Completed", started=50, ended=1))
    first = status_of(desired(), observed(visible=None, one=here), FULL, previous=ready_before())
    assert verdict(first, "Ready") == ("True", "AsDesired")
    later = observed(now=NOW + 10 * MINUTE, visible=None, one=here)
    assert verdict(status_of(desired(), later, FULL, previous=first), "Ready") == ("False", "Degraded")


def test_the_control_channels_state_is_told():
    here = jobs(*running(2))
    assert verdict(status_of(desired(), observed(one=here), FULL), "ControlChannelReady") == ("True", "Ready")
    denied = status_of(desired(), observed(control=None, one=here), FULL)
    assert verdict(denied, "ControlChannelReady") == ("False", "AccessDenied")
    failed = Outcomes(control={"one": Failure.of(Unavailable("no link"))})
    broken = status_of(desired(), observed(one=here), FULL, outcomes=failed)
    assert verdict(broken, "ControlChannelReady") == ("False", "Unavailable")


def test_a_transition_time_moves_only_with_the_status():
    first = status_of(desired(), observed(one=jobs()), ledger(one=entry(0)))
    later = NOW + timedelta(minutes=3)
    second = status_of(desired(), observed(now=later, one=jobs(*running(1))), FULL, previous=first)
    assert said(second, "Ready").last_transition_time == NOW
    third = status_of(desired(), observed(now=later, one=jobs(*running(2))), FULL, previous=second)
    assert said(third, "Ready").last_transition_time == later
    assert said(third, "SpecAccepted").last_transition_time == NOW


def test_a_refused_spec_says_so_and_keeps_what_is_known():
    before = ready_before()
    status = refused_status(7, Failure("DuplicateTopic", "spec.regions: topic t"), before, NOW)
    assert verdict(status, "SpecAccepted") == ("False", "DuplicateTopic")
    assert verdict(status, "Ready") == ("False", "Degraded")
    assert said(status, "QueueReachable") == said(before, "QueueReachable")
    assert status.regions == before.regions
    assert status.observed_generation == 7


def test_a_refused_spec_of_a_new_object_has_all_conditions():
    status = refused_status(1, Failure("Invalid", "spec.queue: wrong"), WorkforceStatus(), NOW)
    assert tuple(condition.type for condition in status.conditions) == TYPES
    assert verdict(status, "QueueReachable") == ("Unknown", "NotObserved")


def test_an_endless_message_is_cut():
    long = Outcomes(spec=Failure("InvalidTemplate", "x" * 100_000))
    status = status_of(desired(), observed(one=jobs()), ledger(one=entry(0)), outcomes=long)
    assert len(said(status, "SpecAccepted").message) == 4096


def test_an_autoscaled_workforce_without_work_is_ready_and_idle():
    wanted = desired(autoscaling={"policy": "JobQ", "maxReplicas": 9}, replicas=None)
    status = status_of(wanted, with_tasks(observed(one=jobs()), 0), ledger(one=entry(0)))
    assert verdict(status, "Ready") == ("True", "Idle")
    assert said(status, "Ready").message == "no replica is wanted: no tasks"


@table(
    ("suspend", "ready"), [("None", "Degraded"), ("ScaleUpOnly", "Degraded"), ("Hold", "Idle"), ("Drain", "Suspended")]
)
def test_an_autoscaled_workforce_that_never_knew_its_queue_is_not_ready_unless_nobody_asks(suspend, ready):
    wanted = desired(autoscaling={"policy": "JobQ", "maxReplicas": 9}, replicas=None, suspend=suspend)
    status = status_of(wanted, observed(visible=None, one=jobs()), ledger(one=entry(0)))
    assert verdict(status, "Ready") == ("False" if ready == "Degraded" else "True", ready)
    if ready == "Degraded":
        assert said(status, "Ready").message == "0 of 0 run; how many are needed is not known: no answer"


@table(("later", "ready"), [(timedelta(minutes=9), "True"), (timedelta(minutes=11), "False")])
def test_an_autoscaled_workforce_stays_ready_through_a_short_outage_of_its_queue_only(later, ready):
    wanted = desired(autoscaling={"policy": "JobQ", "maxReplicas": 9}, replicas=None)
    known = ledger(one=entry(0))
    good = status_of(wanted, with_tasks(observed(one=jobs()), 0), known)
    away = status_of(wanted, observed(visible=None, one=jobs()), known, previous=good)
    assert said(away, "Ready").status == "True"
    still = observed(now=NOW + later, visible=None, one=jobs())
    assert said(status_of(wanted, still, known, previous=away), "Ready").status == ready


def test_an_autoscaled_workforce_that_waits_for_more_tasks_says_so_and_not_only_what_they_would_call_for():
    scaling = {"policy": "TasksPerReplica", "tasksPerReplica": 2, "maxReplicas": 9, "activationTasks": 3}
    wanted = desired(autoscaling=scaling, replicas=None)
    status = status_of(wanted, with_tasks(observed(one=jobs()), 3), ledger(one=entry(0)))
    assert verdict(status, "Ready") == ("True", "Idle")
    assert said(status, "Ready").message == (
        "no replica is wanted: 3 tasks / 2 per replica = 2, autoscaling.activationTasks: 2 → 0"
    )


def test_what_autoscaling_was_clamped_by_is_told_in_its_decision_and_not_in_ready():
    wanted = desired(autoscaling={"policy": "JobQ", "maxReplicas": 2}, replicas=None)
    status = status_of(wanted, with_tasks(observed(one=jobs(*running(2))), 99), FULL)
    assert said(status, "Ready").message == "2 of 2 run"
    assert status.last_scale_decision is not None
    assert [clamp.name for clamp in status.last_scale_decision.clamps] == ["autoscaling.maxReplicas"]
