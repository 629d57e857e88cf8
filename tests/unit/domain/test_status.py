"""The status: numbers, stability, and when it is written."""

from __future__ import annotations

from datetime import timedelta

from tests.support.planning import (
    MINUTE,
    NOW,
    desired,
    entry,
    hires,
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
from workforce_operator.api.status import RegionStatus, WorkforceStatus
from workforce_operator.domain.ledger import Ledger, read_ledger
from workforce_operator.domain.outcomes import Outcomes
from workforce_operator.domain.plan import plan
from workforce_operator.domain.status import announce, build_status, transitions, worth_writing

FULL = ledger(one=entry(2, filled=2))


def status_of(wanted, world, known, previous=None):
    return build_status(wanted, world, plan(wanted, world, known), Outcomes(), previous or WorkforceStatus())


def stored(status):
    """As the API server gives it back."""
    return WorkforceStatus.model_validate(status.model_dump(mode="json", by_alias=True, exclude_none=True))


def test_numbers_are_those_of_supply_and_of_who_leaves():
    here = jobs(*running(2), job(2, "Queued"), job(3, "Paused"), job(4), job(5, "CancelRequested"))
    known = ledger(one=entry(6, filled=4, waves=(wave(4),)))
    status = status_of(desired(replicas=4), observed(one=here), known)
    assert status.desired_replicas == 4
    assert status.replicas == 4
    assert status.running_replicas == 2
    assert status.pending_replicas == 1
    assert status.paused_replicas == 1
    assert status.draining_replicas == 2
    assert status.queue_length == 1
    assert status.selector == "workforce.dev/name=wf"
    assert status.installation_id == "inst1234"
    assert status.observed_generation == 1
    assert status.template_hash.startswith("v1:")
    (one,) = status.regions
    assert (one.desired, one.running, one.pending, one.paused, one.draining) == (4, 2, 1, 1, 2)


def test_the_summary_of_many_regions_is_short():
    wanted = desired(replicas=12, regions=regions(a=2, b=2, c=2, d=2, e=2, f=2))
    status = status_of(wanted, observed(**{name: jobs() for name in "abcdef"}), ledger())
    assert status.regions_summary == "a=0/2,b=0/2,c=0/2,d=0/2,+2"


def test_an_unchanged_world_gives_an_equal_status():
    wanted, here = desired(), jobs(*running(2))
    first = stored(status_of(wanted, observed(one=here), FULL))
    again = status_of(wanted, observed(now=NOW + 3 * MINUTE, one=here), read_ledger(first), first)
    assert stored(again) == first
    assert not worth_writing(first, stored(again), NOW, None)


def test_what_the_policy_asks_for_is_news_only_when_the_number_changes():
    scaling = {"policy": "TasksPerReplica", "maxReplicas": 1, "tasksPerReplica": 1}
    wanted = desired(autoscaling=scaling, replicas=None)
    first = stored(status_of(wanted, with_tasks(observed(one=jobs()), 5), FULL))
    decision = first.last_scale_decision
    assert (decision.raw_desired, decision.desired) == (5, 1)

    def with_decision(**changes):
        return first.model_copy(update={"last_scale_decision": decision.model_copy(update=changes)})

    assert not worth_writing(first, with_decision(raw_desired=6, backlog=6), NOW, NOW)
    assert worth_writing(first, with_decision(raw_desired=6, backlog=6), NOW + MINUTE, NOW)
    assert worth_writing(first, with_decision(desired=2), NOW, NOW)
    assert worth_writing(first, with_decision(clamps=[]), NOW, NOW)


def test_a_status_from_before_there_were_decisions_is_read():
    old = stored(status_of(desired(), observed(one=jobs(*running(2))), FULL)).model_dump(mode="json", by_alias=True)
    del old["lastScaleDecision"]
    assert read_ledger(WorkforceStatus.model_validate(old)).decision is None


def test_an_unreadable_region_does_not_make_the_status_change_at_every_pass():
    first = stored(status_of(desired(), observed(one=None), FULL))
    again = status_of(desired(), observed(now=NOW + MINUTE, one=None), read_ledger(first), first)
    assert stored(again) == first


def test_the_ledger_survives_the_way_through_the_api_server():
    known = ledger(one=entry(700, filled=3, hiring=(1, 699), waves=(wave(1, 2, 3, 7),)), two=entry(None, "two"))
    status = announce(desired(), observed(), plan(desired(suspend="Hold"), observed(), known), WorkforceStatus())
    assert read_ledger(stored(status)) == known


def test_what_is_announced_holds_the_new_ledger_and_the_old_numbers():
    conditions = status_of(desired(), observed(one=None), ledger(one=entry(0))).conditions
    previous = WorkforceStatus(
        conditions=conditions,
        running_replicas=9,
        regions=[RegionStatus(name="one", coordinates=entry(0).coordinates, running=9)],
    )
    decided = plan(desired(), observed(one=jobs()), ledger(one=entry(0)))
    status = announce(desired(), observed(one=jobs()), decided, previous)
    assert status.running_replicas == 9
    assert status.regions[0].running == 9
    assert status.regions[0].next_sequence == 2
    assert status.conditions == conditions


def test_what_is_announced_at_the_first_visit_is_all_there_is_to_say_if_the_acts_work():
    here = observed(one=jobs())
    decided = plan(desired(), here, Ledger())
    assert hires(decided)
    announced = announce(desired(), here, decided, WorkforceStatus())
    done = Outcomes(hired=frozenset({"one"}))
    assert build_status(desired(), here, decided, done, stored(announced)) == announced


def test_a_new_workforce_that_is_not_filled_yet_is_no_event():
    here = observed(one=jobs())
    announced = announce(desired(), here, plan(desired(), here, Ledger()), WorkforceStatus())
    assert transitions(WorkforceStatus(), announced) == ()


def test_a_region_that_is_gone_from_the_ledger_is_gone_from_the_status():
    previous = WorkforceStatus(regions=[RegionStatus(name="gone", coordinates=entry(0).coordinates)])
    status = status_of(desired(), observed(one=jobs()), ledger(one=entry(0)), previous)
    assert [region.name for region in status.regions] == ["one"]


def base(**changes):
    return status_of(desired(), observed(one=jobs(*running(2))), FULL).model_copy(update=changes)


def test_equal_statuses_are_not_written():
    assert not worth_writing(base(), base(), NOW, None)


def test_numbers_alone_are_written_every_thirty_seconds():
    new = base(running_replicas=1, queue_length=99)
    assert worth_writing(base(), new, NOW, None)
    assert not worth_writing(base(), new, NOW, NOW - timedelta(seconds=29))
    assert worth_writing(base(), new, NOW, NOW - timedelta(seconds=30))


def test_numbers_are_written_when_the_clock_was_put_back():
    assert worth_writing(base(), base(running_replicas=1), NOW, NOW + timedelta(hours=1))


def test_numbers_within_a_region_or_a_message_are_numbers_too():
    one = base().regions[0]
    for new in (
        base(regions=[one.model_copy(update={"running": 7, "message": "x"})]),
        base(conditions=[each.model_copy(update={"message": "other"}) for each in base().conditions]),
    ):
        assert not worth_writing(base(), new, NOW, NOW)


@table(
    ("before", "after", "seconds"), [(40, 39, 300), (1, 2, 300), (1, 0, 30), (0, 1, 30), (3, None, 30), (None, 3, 30)]
)
def test_free_nodes_alone_are_written_every_five_minutes_and_sooner_if_none_is_left_or_known(before, after, seconds):
    def with_capacity(capacity):
        return base(regions=[base().regions[0].model_copy(update={"capacity": capacity})])

    old, new = with_capacity(before), with_capacity(after)
    assert not worth_writing(old, new, NOW, NOW - timedelta(seconds=seconds - 1))
    assert worth_writing(old, new, NOW, NOW - timedelta(seconds=seconds))


def test_free_nodes_are_written_along_with_other_numbers():
    old = base()
    new = base(queue_length=99, regions=[old.regions[0].model_copy(update={"capacity": 7})])
    assert worth_writing(old, new, NOW, NOW - timedelta(seconds=30))


def test_the_first_and_the_last_live_job_are_written_at_once():
    none = base(replicas=0, draining_replicas=0)
    for some in (base(replicas=1, draining_replicas=0), base(replicas=0, draining_replicas=1)):
        assert worth_writing(none, some, NOW, NOW)
        assert worth_writing(some, none, NOW, NOW)


def test_what_is_new_is_written_at_once():
    one = base().regions[0]
    turned = [each.model_copy(update={"status": "False"}) for each in base().conditions]
    for new in (
        base(desired_replicas=5),
        base(observed_generation=2),
        base(conditions=turned),
        base(regions=[one.model_copy(update={"next_sequence": 9})]),
        base(regions=[one.model_copy(update={"desired": 9})]),
    ):
        assert worth_writing(base(), new, NOW, NOW)


def test_people_hear_of_conditions_that_changed():
    bad = status_of(desired(), observed(visible=None, one=jobs(*running(2))), FULL, base())
    (note,) = transitions(base(), bad)
    assert (note.reason, note.warning) == ("Unavailable", True)
    assert note.message.startswith("QueueReachable: ")
    (better,) = transitions(bad, base())
    assert (better.reason, better.warning) == ("Reached", False)


def test_people_do_not_hear_of_what_is_good_from_the_start():
    assert transitions(WorkforceStatus(), base()) == ()


def test_people_do_not_hear_of_a_scaling_that_begins_or_ends():
    """They hear of the hires."""
    scaling = status_of(desired(replicas=4), observed(one=jobs(*running(2))), FULL)
    assert [each.reason for each in scaling.conditions if each.type == "Ready"] == ["Scaling"]
    assert transitions(base(), scaling) == ()
    assert transitions(scaling, base()) == ()


def test_people_do_not_hear_again_of_what_stays_bad():
    bad = status_of(desired(), observed(one=None), FULL)
    assert transitions(bad, bad) == ()
