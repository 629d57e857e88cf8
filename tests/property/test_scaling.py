"""Rules 8, 9 and 11 for autoscaling, over any backlog, fleet, spec and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support import workforces
from workforce_operator.api.spec import WorkforceSpec
from workforce_operator.domain.observed import Known, QueueDepth, Unknown
from workforce_operator.domain.scaling import jobq
from workforce_operator.domain.scaling.backlog import Fleet
from workforce_operator.domain.scaling.decide import Input, Scaled, decide

START = datetime(2026, 3, 28, 20, tzinfo=UTC)
counts = st.integers(0, 400)
backlogs = st.one_of(counts, st.integers(0, 200_000))


@st.composite
def depths(draw: st.DrawFn) -> QueueDepth:
    length = draw(backlogs)
    visible = draw(st.one_of(st.none(), st.integers(0, min(length, 31))))
    has_visible = length > 0 if visible is None else visible > 0
    return QueueDepth(length, has_visible=has_visible, visible=visible)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    running, unread, pending = draw(counts), draw(st.integers(0, 50)), draw(counts)
    return Fleet(running, running + unread, running + pending)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    policy = st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Percent", "Replicas"]),
            "value": st.integers(1, 200),
            "periodSeconds": st.integers(1, 120),
        }
    )
    return {
        "stabilizationWindowSeconds": draw(st.integers(0, 300)),
        "selectPolicy": draw(st.sampled_from(["Max", "Min", "Disabled"])),
        "policies": draw(st.lists(policy, max_size=3)),
    }


@st.composite
def specs(draw: st.DrawFn) -> WorkforceSpec:
    most = draw(counts)
    schedule = {"name": "night", "schedule": "30 1 * * *", "timeZone": "Europe/London", "durationSeconds": 7200}
    schedules = [schedule | {"minReplicas": draw(st.integers(1, most))}] if most and draw(st.booleans()) else []
    return WorkforceSpec.model_validate(
        workforces.spec(
            replicas=None,
            regions=[workforces.region("one", maxReplicas=draw(counts))],
            autoscaling={
                "policy": draw(st.sampled_from(["JobQ", "TasksPerReplica"])),
                "tasksPerReplica": draw(st.integers(1, 8)),
                "minReplicas": draw(st.integers(0, most)),
                "maxReplicas": most,
                "activationTasks": draw(st.integers(0, 20)),
                "behavior": {"scaleUp": draw(rules()), "scaleDown": draw(rules())},
                "schedules": schedules,
            },
        )
    )


passes = st.lists(st.tuples(st.one_of(st.none(), depths()), fleets(), st.integers(1, 400)), min_size=1, max_size=12)


def life(spec: WorkforceSpec, steps: list[Any]) -> list[Scaled]:
    """The decisions of one process, pass after pass; a depth that is None could not be read."""
    now, previous, history, made = START, None, None, []
    for depth, fleet, seconds in steps:
        queue = Unknown("Unavailable") if depth is None else Known(depth, now)
        made.append(decide(spec, Input(queue, fleet, previous, history, now)))
        previous, history = made[-1].decision, made[-1].history
        now += timedelta(seconds=seconds)
    return made


@given(specs(), passes)
def test_rule_8_every_clamp_that_changed_the_number_is_told_in_order(spec: WorkforceSpec, steps: list[Any]):
    for scaled in life(spec, steps):
        decision = scaled.decision
        numbers = [decision.raw_desired, *(clamp.to for clamp in decision.clamps)]
        assert [clamp.before for clamp in decision.clamps] == numbers[:-1]
        assert numbers[-1] == decision.desired
        assert all(one != other for one, other in pairwise(numbers))


@given(specs(), passes)
def test_rule_8_floor_and_ceiling_have_the_last_word(spec: WorkforceSpec, steps: list[Any]):
    scaling = spec.autoscaling
    assert scaling is not None
    ceiling = min(scaling.max_replicas, spec.regions[0].max_replicas)
    for scaled in life(spec, steps):
        assert min(scaling.min_replicas, ceiling) <= scaled.decision.desired <= ceiling


@given(specs(), passes)
def test_a_restart_never_takes_more_away_than_staying_would(spec: WorkforceSpec, steps: list[Any]):
    *before, (depth, fleet, _) = steps
    if not before or depth is None:
        return
    *_, last = life(spec, before)
    now = START + timedelta(seconds=sum(seconds for *_, seconds in before))
    same = Input(Known(depth, now), fleet, last.decision, last.history, now)
    fresh = Input(Known(depth, now), fleet, last.decision, None, now)
    current = last.decision.desired
    assert decide(spec, fresh).decision.desired >= min(current, decide(spec, same).decision.desired)


@given(st.integers(0, 300_000), counts, st.integers(1, 16))
def test_rule_9_the_policy_jobq_gives_the_published_numbers(tasks: int, running: int, each: int):
    """To a fleet that was never larger, as long as enough tasks wait."""
    proposal = jobq.propose(
        QueueDepth(tasks, has_visible=tasks > 0), Fleet(running, running, running), tasks_per_replica=each, current=0
    )
    assert proposal.number == jobq.published(tasks, running, each, 10**9)


@given(specs(), backlogs, fleets())
def test_rule_11_where_no_task_waits_nobody_is_hired_for_the_queue(spec: WorkforceSpec, tasks: int, fleet: Fleet):
    """Within the tolerance of TasksPerReplica the number stays what it was, which is no hire either."""
    depth = QueueDepth(tasks, has_visible=False)
    decision = decide(spec, Input(Known(depth, START), fleet, None, None, START)).decision
    assert decision.raw_desired <= max(fleet.perhaps_running, fleet.supply)
