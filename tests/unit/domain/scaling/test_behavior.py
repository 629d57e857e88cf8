"""How fast the number may change: the HorizontalPodAutoscaler's rules, second by second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support import workforces
from tests.support.tables import table
from workforce_operator.api.autoscaling import Autoscaling
from workforce_operator.api.spec import WorkforceSpec
from workforce_operator.domain.observed import Known, QueueDepth, ScalingHistory
from workforce_operator.domain.scaling.backlog import Fleet
from workforce_operator.domain.scaling.behavior import begin, limited, pace, stabilized
from workforce_operator.domain.scaling.decide import Input, decide

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOBODY = Fleet(0, 0, 0)


class Autoscaler:
    """One Workforce whose backlog is as many tasks as replicas are asked for, over time."""

    def __init__(self, *, policy: str = "TasksPerReplica", **behavior: Any) -> None:
        autoscaling = {"policy": policy, "tasksPerReplica": 1, "maxReplicas": 100_000, "behavior": behavior}
        self.spec = WorkforceSpec.model_validate(
            workforces.spec(
                autoscaling=autoscaling, replicas=None, regions=[workforces.region("one", maxReplicas=100_000)]
            )
        )
        self.seconds = 0.0
        self.previous = None
        self.history: ScalingHistory | None = None

    def at(self, seconds: float, asked: int) -> int:
        """The number wanted at a time."""
        now = START + timedelta(seconds=seconds)
        queue = Known(QueueDepth(asked, has_visible=asked > 0), now)
        scaled = decide(self.spec, Input(queue, NOBODY, self.previous, self.history, now))
        self.previous, self.history = scaled.decision, scaled.history
        return scaled.decision.desired

    def restart(self) -> None:
        self.history = None

    @property
    def clamps(self) -> list[str]:
        assert self.previous is not None
        return [clamp.name.removeprefix("autoscaling.behavior.") for clamp in self.previous.clamps]


def policy(kind: str, value: int, seconds: int) -> dict[str, Any]:
    return {"type": kind, "value": value, "periodSeconds": seconds}


FREE = {"stabilizationWindowSeconds": 0, "policies": [policy("Replicas", 100_000, 1)]}


def test_the_highest_number_of_the_window_counts_on_the_way_down():
    scaler = Autoscaler(scaleUp=FREE, scaleDown={"stabilizationWindowSeconds": 300})
    assert [scaler.at(0, 50), scaler.at(100, 30), scaler.at(299, 10)] == [50, 50, 50]
    assert scaler.clamps == ["scaleDown.stabilizationWindowSeconds"]
    assert [scaler.at(300, 10), scaler.at(399, 20), scaler.at(400, 10), scaler.at(698, 10)] == [30, 30, 20, 20]
    assert scaler.at(699, 10) == 10
    assert scaler.clamps == []


def test_the_lowest_number_of_the_window_counts_on_the_way_up():
    scaler = Autoscaler(scaleUp=FREE | {"stabilizationWindowSeconds": 60})
    assert [scaler.at(0, 0), scaler.at(10, 50), scaler.at(59, 80), scaler.at(60, 80)] == [0, 0, 0, 50]
    assert scaler.clamps == ["scaleUp.stabilizationWindowSeconds"]


def test_the_default_for_fewer_is_five_minutes():
    scaler = Autoscaler(scaleUp=FREE)
    assert [scaler.at(0, 50), scaler.at(299, 0), scaler.at(300, 0)] == [50, 50, 0]


def test_the_default_for_more_is_the_double_or_four_in_fifteen_seconds():
    scaler = Autoscaler()
    assert [scaler.at(time, 1000) for time in (0, 15, 30, 45, 60)] == [4, 8, 16, 32, 64]
    assert scaler.clamps == ["scaleUp.policies"]


def test_with_policy_jobq_the_ramp_is_the_only_limit_for_more():
    scaling = Autoscaler(policy="JobQ").spec.autoscaling
    assert scaling is not None
    assert pace(scaling).up.policies == ()
    assert pace(scaling).down.policies
    assert Autoscaler(policy="JobQ").at(0, 1000) == 10


def test_what_changed_within_the_period_counts_against_a_policy():
    scaler = Autoscaler(scaleUp={"policies": [policy("Replicas", 10, 60)]})
    assert [scaler.at(time, 100) for time in (0, 30, 59, 60, 61, 120)] == [10, 10, 10, 20, 20, 30]


@table(("select", "reached"), [("Max", 40), ("Min", 14), ("Disabled", 10)])
def test_of_several_policies_the_selected_one_counts(select, reached):
    policies = [policy("Replicas", 4, 60), policy("Percent", 300, 60)]
    scaler = Autoscaler(scaleUp={"selectPolicy": "Max", "policies": [policy("Replicas", 10, 60)]})
    assert scaler.at(0, 10) == 10
    changed = Autoscaler(scaleUp={"selectPolicy": select, "policies": policies})
    changed.previous, changed.history = scaler.previous, scaler.history
    assert changed.at(61, 1000) == reached
    assert changed.clamps == ["scaleUp.selectPolicy" if select == "Disabled" else "scaleUp.policies"]


@table(("select", "left"), [("Max", 10), ("Min", 15), ("Disabled", 20)])
def test_of_several_policies_for_fewer_the_selected_one_counts(select, left):
    policies = [policy("Replicas", 5, 60), policy("Percent", 50, 60)]
    scaler = Autoscaler(
        scaleUp=FREE, scaleDown={"stabilizationWindowSeconds": 0, "selectPolicy": select, "policies": policies}
    )
    assert [scaler.at(0, 20), scaler.at(61, 0)] == [20, left]


def test_percentages_start_from_one_replica_at_least_and_round_away_from_none():
    scaler = Autoscaler(scaleUp={"policies": [policy("Percent", 100, 60)]})
    assert [scaler.at(time, 100) for time in (0, 60, 120, 180)] == [2, 4, 8, 16]
    scaler = Autoscaler(scaleUp={"policies": [policy("Percent", 1, 60)]})
    assert [scaler.at(time, 100) for time in (0, 60)] == [2, 3]


def test_a_shrinking_percentage_rounds_down():
    down = {"stabilizationWindowSeconds": 0, "policies": [policy("Percent", 50, 10)]}
    scaler = Autoscaler(scaleUp=FREE, scaleDown=down)
    assert [scaler.at(time, 7 if time == 0 else 0) for time in (0, 10, 20, 30)] == [7, 3, 1, 0]


def test_after_a_restart_nobody_is_let_go_before_the_window_has_passed_again():
    scaler = Autoscaler(scaleUp=FREE)
    assert [scaler.at(0, 50), scaler.at(299, 0)] == [50, 50]
    scaler.restart()
    assert [scaler.at(300, 0), scaler.at(599, 0), scaler.at(600, 0)] == [50, 50, 0]


def test_after_a_restart_nobody_is_let_go_before_the_policys_period_is_known():
    down = {"stabilizationWindowSeconds": 0, "policies": [policy("Replicas", 10, 60)]}
    scaler = Autoscaler(scaleUp=FREE, scaleDown=down)
    assert [scaler.at(0, 50), scaler.at(60, 0)] == [50, 40]
    scaler.restart()
    assert [scaler.at(61, 0), scaler.at(120, 0), scaler.at(121, 0)] == [40, 40, 30]


def test_after_a_restart_more_are_hired_at_once():
    scaler = Autoscaler(scaleUp=FREE)
    assert scaler.at(0, 50) == 50
    scaler.restart()
    assert scaler.at(1, 80) == 80


def test_a_clock_that_was_set_back_is_a_restart():
    scaler = Autoscaler(scaleUp=FREE)
    assert [scaler.at(1000, 50), scaler.at(0, 0), scaler.at(299, 0), scaler.at(300, 0)] == [50, 50, 50, 0]


def test_the_history_stays_short():
    scaler = Autoscaler(scaleUp=FREE)
    for second in range(700):
        scaler.at(second, second % 7)
    assert scaler.history is not None
    assert len(scaler.history.proposals) <= 301
    for second in range(700, 1400):
        scaler.at(second, 3)
    assert len(scaler.history.proposals) == 1
    assert scaler.history.changes == ()


def test_windows_and_limits_leave_a_number_that_they_allow_as_it_is():
    rules = pace(Autoscaling.model_validate({"policy": "TasksPerReplica", "maxReplicas": 9}))
    history = begin(None, 5, START)
    assert stabilized(5, 5, history, rules, START).held_by == ""
    assert limited(5, 5, history, rules, START).number == 5
