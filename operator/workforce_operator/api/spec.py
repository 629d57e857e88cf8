"""The desired state of a Workforce, as people write it.

Only fields that have an effect exist. Bounds and rules that one field can state are here; rules between fields are CEL
rules of the generated definition, so that the API server refuses bad input with a message that names the field.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from workforce_operator.api.autoscaling import Autoscaling
from workforce_operator.api.base import Model, map_list, rule, rules
from workforce_operator.api.template import Overrides, Template

_GUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_COMPUTE = (
    r"^([A-Za-z0-9][A-Za-z0-9_-]*|/[sS]ubscriptions/[^/ ]+/resource[gG]roups/[^/ ]+/providers"
    r"/Microsoft\.MachineLearningServices/virtual[cC]lusters/[^/ ]+)$"
)

INSTALLATION_ID = r"^[a-z0-9]{8,16}$"
"""What an installation id looks like."""

_FIXED = rules(rule("self == oldSelf", "must not change for a region: use a new region name"))


def _fixed_if_set(field: str) -> dict[str, str]:
    return rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"`{field}` must not change for a region: use a new region name",
    )


class Suspend(StrEnum):
    """What is suspended."""

    NONE = "None"
    SCALE_UP_ONLY = "ScaleUpOnly"
    HOLD = "Hold"
    DRAIN = "Drain"


class DeletionPolicy(StrEnum):
    """What happens to the worker jobs of a deleted Workforce."""

    DRAIN = "Drain"
    CANCEL = "Cancel"
    ORPHAN = "Orphan"


class DrainMode(StrEnum):
    """How drained workers treat their running tasks."""

    FINISH = "Finish"
    CHECKPOINT = "Checkpoint"


class Strategy(StrEnum):
    """Over which regions growth is divided."""

    CAPACITY_AWARE = "CapacityAware"
    SPREAD = "Spread"
    WEIGHTED = "Weighted"
    PRIORITY = "Priority"
    CHEAPEST = "Cheapest"


class DeadlineAction(StrEnum):
    """What happens to a worker that still runs tasks at its drain deadline."""

    WAIT = "Wait"
    CHECKPOINT = "Checkpoint"
    CANCEL = "Cancel"


class StorageQueue(Model):
    """An Azure Storage queue."""

    account: Annotated[str, Field(pattern=r"^[a-z0-9]{3,24}$")]
    """Storage account that holds the queue."""
    name: Annotated[str, Field(pattern=r"^[a-z0-9](-?[a-z0-9])*$", min_length=3, max_length=63)]
    """Name of the queue."""


class ServiceBusQueue(Model):
    """A Service Bus queue."""

    namespace: Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?$", min_length=6, max_length=50)]
    """Service Bus namespace that holds the queue."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$", max_length=260)]
    """Name of the queue."""


class Queue(Model):
    """The task queue that all replicas pull from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.type == 'Storage') == has(self.storage)",
                "`storage` must be set for type Storage, and only for it",
            ),
            rule(
                "(self.type == 'ServiceBus') == has(self.serviceBus)",
                "`serviceBus` must be set for type ServiceBus, and only for it",
            ),
        )
    )

    type: Literal["Storage", "ServiceBus"]
    """Kind of the queue."""
    storage: StorageQueue | None = None
    """Where the tasks are, for type Storage."""
    service_bus: ServiceBusQueue | None = None
    """Where the tasks are, for type ServiceBus."""


class ServiceBusNamespace(Model):
    """A Service Bus namespace, by its ARM coordinates."""

    subscription_id: Annotated[str, Field(pattern=_GUID, max_length=36)]
    """Azure subscription of the namespace."""
    resource_group: Annotated[str, Field(min_length=1, max_length=90)]
    """Resource group of the namespace."""
    namespace: Annotated[str, Field(min_length=1, max_length=260)]
    """Name of the namespace."""


class RegionControl(Model):
    """The control channel of one region."""

    service_bus: ServiceBusNamespace
    """Namespace that holds the region's control topic and queues; made there when missing."""


class Region(Model):
    """One place to run worker jobs: an AzureML workspace, a compute, an experiment and a control topic."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
                "`minReplicas` must not be greater than `maxReplicas`",
                field=".minReplicas",
            ),
            _fixed_if_set("experiment"),
            _fixed_if_set("topic"),
        )
    )

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=40)]
    """Name of the region within this Workforce; part of its jobs' names."""
    subscription_id: Annotated[str, Field(pattern=_GUID, max_length=36, json_schema_extra=_FIXED)]
    """Azure subscription of the workspace. Does not change for a region."""
    resource_group: Annotated[str, Field(min_length=1, max_length=90, json_schema_extra=_FIXED)]
    """Resource group of the workspace. Does not change for a region."""
    workspace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64, json_schema_extra=_FIXED)]
    """AzureML workspace. Does not change for a region."""
    compute: Annotated[str, Field(pattern=_COMPUTE, max_length=512, json_schema_extra=_FIXED)]
    """AmlCompute cluster in the workspace, or ARM id of a Singularity virtual cluster. Does not change for a region."""
    experiment: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=256)] | None = None
    """Experiment, no other region's; default `<namespace>-<name>-<region>`. Does not change for a region."""
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$", max_length=260)] | None = None
    """Control topic, no other region's; default `<namespace>-<name>-<region>`. Does not change for a region."""
    min_replicas: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Replicas kept here while the desired number is at least the sum of all regions' minReplicas."""
    max_replicas: Annotated[int, Field(ge=0, le=100_000)]
    """Live worker jobs never exceed this number here."""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    """With strategy Priority, regions with a higher number are filled first."""
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    """With strategy Weighted, the replicas of the regions are in this proportion."""
    hourly_cost: Annotated[str, Field(pattern=r"^[0-9]{1,7}(\.[0-9]{1,6})?$", max_length=14)] | None = None
    """Cost of one replica for an hour, a decimal number; a region without it is taken for the dearest."""
    overrides: Overrides | None = None
    """What the jobs of this region have otherwise than `template` says; variables and outputs are merged by name."""
    control: RegionControl | None = None
    """Service Bus namespace of this region instead of that of `control`. Does not change while its jobs live."""


class ControlDialect(StrEnum):
    """What the workers understand."""

    WORKFORCE = "Workforce"
    JOBQ = "JobQ"


class Control(Model):
    """The control channel; without it running worker jobs are never laid off."""

    service_bus: ServiceBusNamespace
    """Namespace that holds the control topics and queues; made there when missing."""
    dialect: ControlDialect = ControlDialect.WORKFORCE
    """Workforce: each worker is told by name. JobQ: ai4s-jobq's workers: whoever takes a message leaves."""


class Drain(Model):
    """How running worker jobs are laid off."""

    mode: DrainMode = DrainMode.FINISH
    """Finish: running tasks are completed. Checkpoint: they are told to end, and go back to the queue as they are."""
    deadline_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    """Time that a worker has from the order to leave."""
    on_deadline: DeadlineAction = DeadlineAction.WAIT
    """What happens then to a worker that still runs tasks."""


class FailurePolicy(Model):
    """What happens when worker jobs fail soon after their start."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.backoffBaseSeconds) || !has(self.backoffMaxSeconds)"
                " || self.backoffBaseSeconds <= self.backoffMaxSeconds",
                "`backoffBaseSeconds` must not be greater than `backoffMaxSeconds`",
                field=".backoffBaseSeconds",
            )
        )
    )

    backoff_base_seconds: Annotated[int, Field(ge=1, le=3600)] = 10
    """Wait before a job that failed within 10 minutes is replaced; doubles with every round of failures in a row."""
    backoff_max_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600
    """Longest such wait."""
    max_consecutive_failures: Annotated[int, Field(ge=1, le=1000)] = 5
    """So many failures in a row over all regions, none lasting, put the template into back-off: one trial at a time."""


class Placement(Model):
    """Over which regions the replicas are divided. Running worker jobs are never moved."""

    strategy: Strategy = Strategy.CAPACITY_AWARE
    """CapacityAware: where nodes are free. Spread: evenly. Weighted, Priority, Cheapest: by the regions' numbers."""
    queued_timeout_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 3600
    """A job that waits for a node for so long moves to a region with nodes free; also the least time between moves."""


class WorkforceSpec(Model):
    """N identical workers that serve one task queue, spread over regions."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.deletionPolicy) || self.deletionPolicy != 'Drain' || has(self.control)",
                "`deletionPolicy` Drain must have `control`: without it no running worker can be told to leave",
                field=".deletionPolicy",
            ),
            rule(
                "has(self.control) || !self.regions.exists(region, has(region.control))",
                "`regions[].control` needs `control`: it says only where a region has another Service Bus namespace",
                field=".regions",
            ),
            rule("has(self.replicas) || has(self.autoscaling)", "`replicas` or `autoscaling` must be set"),
            rule(
                "!has(self.autoscaling) || !has(self.replicas)"
                " || (has(oldSelf.replicas) && self.replicas == oldSelf.replicas)",
                "`replicas` must not be changed, only removed, while `autoscaling` is set: change `minReplicas` or"
                " `maxReplicas` of `autoscaling`",
                field=".replicas",
            ),
            rule(
                "!has(self.control) || !has(self.control.dialect) || self.control.dialect != 'JobQ'"
                " || !has(self.drain) || !has(self.drain.onDeadline) || self.drain.onDeadline == 'Wait'",
                "`onDeadline` must be Wait with `control.dialect` JobQ: nobody knows which workers were told to leave",
                field=".drain.onDeadline",
            ),
        )
    )

    replicas: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """Worker jobs wanted; at least one of replicas and autoscaling. With autoscaling it has no effect."""
    autoscaling: Autoscaling | None = None
    """The number of worker jobs follows the queue."""
    queue: Queue
    """Where the tasks are."""
    regions: Annotated[list[Region], Field(min_length=1, max_length=200, json_schema_extra=map_list("name"))]
    """Where worker jobs may run."""
    placement: Placement = Placement()
    """Over which regions the replicas are divided."""
    template: Template
    """What each worker job is."""
    control: Control | None = None
    """How workers are told to leave; absent = running worker jobs are never laid off, only pending ones."""
    drain: Drain = Drain()
    """How running worker jobs are laid off."""
    failure_policy: FailurePolicy = FailurePolicy()
    """What happens when worker jobs fail soon after their start."""
    suspend: Suspend = Suspend.NONE
    """None: nothing is suspended. ScaleUpOnly: nobody is hired. Hold: nothing is touched. Drain: to zero."""
    deletion_policy: DeletionPolicy | None = None
    """Drain, Cancel or Orphan; unset = Drain with control, else pending jobs are cancelled, running ones reported."""
    deletion_deadline_seconds: Annotated[int, Field(ge=0, le=2_592_000)] = 86_400
    """Deletion waits so long for workers, and a minute more for its last cancels; then the object goes."""
    adopt_from: Annotated[str, Field(pattern=INSTALLATION_ID, max_length=16)] | None = None
    """Installation id of another operator whose worker jobs of the same namespace and name are taken over."""
