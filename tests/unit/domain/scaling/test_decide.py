"""The number wanted: the order of the rules, and what is told of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support import workforces
from workforce_operator.api.spec import WorkforceSpec
from workforce_operator.api.status import Clamp, ScaleDecision
from workforce_operator.domain.observed import Known, QueueDepth, ScalingHistory, Unknown
from workforce_operator.domain.scaling.backlog import Fleet
from workforce_operator.domain.scaling.decide import Input, Scaled, decide

NOW = datetime(2026, 1, 12, 9, tzinfo=UTC)
"""A Monday."""
NO_WINDOW = {"scaleDown": {"stabilizationWindowSeconds": 0}}


def spec(*, regions: int = 1000, replicas: int | None = None, suspend: str = "None", **autoscaling: Any):
    base = {"policy": "TasksPerReplica", "tasksPerReplica": 1, "maxReplicas": 1000} | autoscaling
    return WorkforceSpec.model_validate(
        workforces.spec(
            autoscaling=base,
            replicas=replicas,
            suspend=suspend,
            regions=[workforces.region("one", maxReplicas=regions)],
        )
    )


def decided(number: int) -> ScaleDecision:
    return ScaleDecision(time=NOW - timedelta(hours=1), backlog=0, raw_desired=number, desired=number)


def scaled(
    wanted: WorkforceSpec, tasks: int | None, *, current: int | None = None, supply: int = 0, **more: Any
) -> Scaled:
    """The decision about a queue that was read now, or ``read``."""
    now = more.get("now", NOW)
    read = more.pop("read", now)
    queue = Unknown("Unavailable") if tasks is None else Known(QueueDepth(tasks, has_visible=tasks > 0), read)
    given = {
        "previous": None if current is None else decided(current),
        "history": None,
        "now": NOW,
        "fleet": Fleet(supply, supply, supply),
    }
    return decide(wanted, Input(queue=queue, **(given | more)))


def clamps(result: Scaled) -> list[tuple[str, int, int]]:
    return [(clamp.name.removeprefix("autoscaling."), clamp.before, clamp.to) for clamp in result.decision.clamps]


def test_every_clamp_that_changed_the_number_is_told_in_the_order_of_the_rules():
    office = {
        "name": "office",
        "schedule": "0 8 * * *",
        "timeZone": "Etc/UTC",
        "durationSeconds": 36_000,
        "minReplicas": 30,
    }
    limited = {"scaleUp": {"policies": [{"type": "Replicas", "value": 5, "periodSeconds": 60}]}}
    wanted = spec(regions=20, behavior=limited, schedules=[office], maxReplicas=30, minReplicas=2)
    result = scaled(wanted, 500, current=10)
    assert clamps(result) == [
        ("behavior.scaleUp.policies", 500, 15),
        ("schedules.office", 15, 30),
        ("regions.maxReplicas", 30, 20),
    ]
    assert (result.decision.raw_desired, result.decision.desired, result.decision.backlog) == (500, 20, 500)
    assert result.decision.message == "500 tasks / 1 per replica = 500"
    assert result.decision.time == NOW


def test_a_clamp_that_changes_nothing_is_not_told():
    result = scaled(spec(minReplicas=2, behavior={"scaleUp": FREE_UP}), 7, current=7)
    assert clamps(result) == []


FREE_UP = {"policies": [{"type": "Replicas", "value": 1000, "periodSeconds": 1}]}


def test_activation_holds_back_the_first_replica_only():
    wanted = spec(activationTasks=10, behavior=NO_WINDOW | {"scaleUp": FREE_UP})
    assert clamps(scaled(wanted, 10)) == [("activationTasks", 10, 0)]
    assert scaled(wanted, 11).decision.desired == 11
    long_known = ScalingHistory(NOW - timedelta(hours=1), ((NOW - timedelta(minutes=30), 10),))
    few = scaled(wanted, 5, current=10, supply=10, history=long_known)
    assert (few.decision.desired, clamps(few)) == (5, [])


def test_the_floor_is_the_larger_of_the_minimum_and_the_schedules_that_last():
    office = {"name": "office", "schedule": "0 8 * * *", "durationSeconds": 3_601, "minReplicas": 3}
    assert clamps(scaled(spec(minReplicas=5, schedules=[office]), 0)) == [("minReplicas", 0, 5)]
    assert clamps(scaled(spec(minReplicas=1, schedules=[office]), 0)) == [("schedules.office", 0, 3)]
    over = NOW + timedelta(seconds=1)
    assert clamps(scaled(spec(minReplicas=1, schedules=[office]), 0, now=over)) == [("minReplicas", 0, 1)]


def test_the_ceiling_is_the_smaller_of_the_maximum_and_the_regions():
    up = {"scaleUp": FREE_UP}
    assert clamps(scaled(spec(maxReplicas=5, behavior=up), 9)) == [("maxReplicas", 9, 5)]
    assert clamps(scaled(spec(regions=4, behavior=up), 9)) == [("regions.maxReplicas", 9, 4)]
    assert clamps(scaled(spec(maxReplicas=0), 0)) == []


def test_an_unreadable_queue_holds_the_number_within_floor_and_ceiling():
    result = scaled(spec(), None, current=7)
    assert (result.decision.desired, result.decision.raw_desired, result.decision.backlog) == (7, 7, None)
    assert result.decision.message == "the queue cannot be read: 7 is held"
    assert scaled(spec(minReplicas=9), None, current=7).decision.desired == 9
    assert scaled(spec(maxReplicas=3), None, current=7).decision.desired == 3
    assert scaled(spec(activationTasks=99), None, current=7).decision.desired == 7


def test_an_outage_of_the_queue_ends_in_a_full_window_before_anybody_is_let_go():
    first = scaled(spec(), None, current=7)
    again = scaled(spec(), 0, current=7, history=first.history, now=NOW + timedelta(seconds=299))
    assert again.decision.desired == 7
    later = scaled(spec(), 0, current=7, history=again.history, now=NOW + timedelta(seconds=300))
    assert later.decision.desired == 0


def test_a_restart_does_not_tell_the_same_number_anew():
    """What holds a number is known again only when a window has passed: until then it said that the window did."""
    wanted = spec(maxReplicas=3, behavior={"scaleUp": FREE_UP | {"stabilizationWindowSeconds": 120}})
    known = decided(3).model_copy(
        update={"raw_desired": 9, "clamps": [Clamp(name="autoscaling.maxReplicas", before=9, to=3)]}
    )
    restarted = scaled(wanted, 9, previous=known)
    assert restarted.decision is known
    later = NOW + timedelta(seconds=301)
    assert scaled(wanted, 9, previous=known, history=restarted.history, now=later).decision is known


def test_a_number_that_is_held_by_something_else_is_told_anew():
    known = decided(3).model_copy(
        update={"raw_desired": 9, "clamps": [Clamp(name="autoscaling.maxReplicas", before=9, to=3)]}
    )
    fewer = spec(regions=3, behavior={"scaleUp": FREE_UP})
    before = scaled(fewer, 9, previous=known)
    after = scaled(fewer, 9, previous=known, history=before.history, now=NOW + timedelta(seconds=300))
    assert clamps(after) == [("regions.maxReplicas", 9, 3)]


def test_where_the_last_number_was_forgotten_those_who_live_are_held():
    assert scaled(spec(), None, supply=4).decision.desired == 4
    assert scaled(spec(), 0, supply=4).decision.desired == 4


def test_replicas_have_no_effect_beside_autoscaling():
    assert scaled(spec(replicas=50), 0).decision.desired == 0


def test_fixed_replicas_are_decided_by_the_same_rules():
    wanted = WorkforceSpec.model_validate(workforces.spec(replicas=30, regions=[workforces.region("one")]))
    result = scaled(wanted, 5)
    assert clamps(result) == [("regions.maxReplicas", 30, 10)]
    assert (result.decision.raw_desired, result.decision.message) == (30, "30 replicas are asked for")
    assert result.history is None


def test_suspend_drain_is_the_last_word():
    result = scaled(spec(minReplicas=5, suspend="Drain"), 3, current=5)
    assert clamps(result)[-1] == ("suspend", 5, 0)
    assert result.decision.desired == 0


def test_a_decision_keeps_its_time_until_the_number_or_a_clamp_changes():
    up = {"scaleUp": FREE_UP}
    first = scaled(spec(behavior=up), 9)
    later = NOW + timedelta(minutes=1)
    same = scaled(spec(behavior=up), 9, previous=first.decision, history=first.history, now=later)
    assert same.decision is first.decision
    other = scaled(spec(behavior=up), 11, previous=first.decision, history=first.history, now=later)
    assert (other.decision.time, other.decision.backlog) == (later, 11)


def test_one_reading_of_the_queue_is_judged_once():
    """Else the ramp would climb with every pass between two readings."""
    wanted = spec(policy="JobQ")
    first = scaled(wanted, 1600)
    assert first.decision.desired == 10
    fleet = Fleet(10, 10, 10)
    passed = {"previous": first.decision, "history": first.history, "fleet": fleet}
    assert scaled(wanted, 1600, read=NOW, now=NOW + timedelta(seconds=5), **passed).decision.desired == 10
    assert scaled(wanted, 1600, now=NOW + timedelta(seconds=30), **passed).decision.desired == 110


def test_tasks_per_replica_are_the_slots_unless_said_otherwise():
    slots = workforces.spec(
        autoscaling={"policy": "JobQ", "maxReplicas": 99},
        replicas=None,
        template=workforces.template(slots=4),
        regions=[workforces.region("one", maxReplicas=99)],
    )
    result = scaled(WorkforceSpec.model_validate(slots), 1600, supply=3)
    assert result.decision.desired == 40
    assert "4 per replica" in result.decision.message
