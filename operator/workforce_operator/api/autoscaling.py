"""``spec.autoscaling``: how the number of replicas follows the queue, as people write it.

The words and their meaning are those of the HorizontalPodAutoscaler where it has them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from workforce_operator.api.base import Model, map_list, rule, rules


class Policy(StrEnum):
    """How many replicas a backlog calls for."""

    JOBQ = "JobQ"
    TASKS_PER_REPLICA = "TasksPerReplica"


class SelectPolicy(StrEnum):
    """Which of several scaling policies counts."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class ScalingPolicy(Model):
    """How far the number of replicas may change within a period."""

    type: Literal["Percent", "Replicas"]
    """Percent: of the replicas at the beginning of the period, counted as at least 1. Replicas: a number."""
    value: Annotated[int, Field(ge=1, le=1_000_000)]
    """Per cent, or replicas."""
    period_seconds: Annotated[int, Field(ge=1, le=1800)]
    """Length of the period; it ends now."""


class ScalingRules(Model):
    """How the number of replicas may change in one direction."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    """Only the most careful number of so many seconds counts. Default: 0 for scaleUp, 300 for scaleDown."""
    select_policy: SelectPolicy = SelectPolicy.MAX
    """Max: the policy that allows the larger change. Min: the smaller. Disabled: no change in this direction."""
    policies: Annotated[list[ScalingPolicy], Field(max_length=10)] = Field(default_factory=list)
    """None: for scaleDown, and for scaleUp with policy TasksPerReplica, the HorizontalPodAutoscaler's defaults."""


class Behavior(Model):
    """How fast the number of replicas may change."""

    scale_up: ScalingRules = ScalingRules()
    """When more are wanted. With policy JobQ there is no limit by default: the policy has a ramp of its own."""
    scale_down: ScalingRules = ScalingRules()
    """When fewer are wanted."""


class Schedule(Model):
    """A time in which more replicas are kept."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    """Name of the schedule, for messages."""
    schedule: Annotated[str, Field(pattern=r"^\S+( \S+){4}$", max_length=120)]
    """When it begins: a cron expression of five fields."""
    time_zone: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$", max_length=64)] = "Etc/UTC"
    """IANA time zone of the cron expression."""
    duration_seconds: Annotated[int, Field(ge=60, le=604_800)]
    """How long it lasts, in seconds that pass: a change of the clocks makes it neither longer nor shorter."""
    min_replicas: Annotated[int, Field(ge=1, le=1_000_000)]
    """At least so many replicas are wanted while it lasts."""


class Autoscaling(Model):
    """The number of replicas follows the queue."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
                "`minReplicas` must not be greater than `maxReplicas`",
                field=".minReplicas",
            ),
            rule(
                "!has(self.schedules) || self.schedules.all(s, s.minReplicas <= self.maxReplicas)",
                "`minReplicas` of a schedule must not be greater than `maxReplicas`",
                field=".schedules",
            ),
        )
    )

    policy: Policy
    """JobQ: a table of steps, and a ramp from the running workers. TasksPerReplica: backlog / tasksPerReplica."""
    tasks_per_replica: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Tasks that one replica works on at once; default `template.slots`."""
    min_replicas: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Never fewer are wanted."""
    max_replicas: Annotated[int, Field(ge=0, le=1_000_000)]
    """Never more are wanted, and live worker jobs, those who are leaving included, never exceed this number."""
    poll_interval_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """The queue is read, and the number decided anew, every so many seconds."""
    activation_tasks: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """As long as no replica is wanted, a backlog of at most so many tasks makes no difference."""
    behavior: Behavior = Behavior()
    """How fast the number may change."""
    schedules: Annotated[list[Schedule], Field(max_length=50, json_schema_extra=map_list("name"))] = Field(
        default_factory=list
    )
    """Times in which more replicas are kept."""
