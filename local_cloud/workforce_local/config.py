"""What the local Azure contains: subscription, workspaces, clusters, namespaces, and how fast its services answer.

Plain data with useful defaults, loadable from a JSON file (camelCase). It starts nothing and knows no running service.
Invariant: a `LocalConfig` is valid as a whole; a wrong one is refused when it is read, with the field's name.

`timing` says how long the steps of every job take. `scenario` says where it is otherwise and what goes wrong when:

    {"scenario": {
      "seed": 7,
      "times": [{"workspace": "ws-*", "compute": "cluster", "allocation": [5, 20], "preparing": 3}],
      "preemption": [{"compute": "cluster", "every": [30, 90], "noticeSeconds": 30, "withdrawn": 0.2}],
      "shared": [{"workspace": "ws-uksouth", "compute": "cluster", "atSeconds": 60, "nodes": 3}],
      "quota": {"uksouth": 8},
      "indexLagSeconds": 5, "listLagSeconds": 2}}

Times are seconds: one number, or the lowest and the highest of an even distribution. The same seed draws the same times
for the same job names. Of several entries that match a compute the later one wins, field by field.
"""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from workforce_local.model import Model
from workforce_local.storage import DEFAULT_ACCOUNTS

FILE_NAME = "config.json"
"""Of the configuration in the folder of the Azure that runs with it."""
Seconds = Annotated[float, Field(ge=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
Replay = Literal["replay200", "replay400"]


def _span(given: Any) -> Any:
    """One number is a span of no width."""
    values = (given, given) if isinstance(given, int | float) else given
    if not isinstance(values, list | tuple) or len(values) != 2:
        raise ValueError("give seconds as one number or as [lowest, highest]")
    if not all(isinstance(value, int | float) and value >= 0 for value in values) or values[0] > values[1]:
        raise ValueError(f"seconds must be at least 0 and the lowest first, got {list(values)}")
    return tuple(values)


Span = Annotated[tuple[float, float], BeforeValidator(_span)]
"""Seconds: the lowest and the highest of an even distribution. One number is both."""


class ConfigError(ValueError):
    """The configuration file cannot be used. The message names the file and the field."""


class ComputeConfig(Model):
    """One AmlCompute cluster."""

    name: str
    max_nodes: Annotated[int, Field(ge=0)] = 4
    min_nodes: Annotated[int, Field(ge=0)] = 0
    locked_nodes: Annotated[int, Field(ge=0, description="Nodes that somebody else's jobs hold for good.")] = 0
    vm_size: str = "STANDARD_D2_V3"
    vm_priority: Literal["Dedicated", "LowPriority"] = "LowPriority"
    simulate: Annotated[bool, Field(description="Jobs are records whose states follow the times; no process runs.")] = (
        False
    )

    @model_validator(mode="after")
    def _nodes_fit(self) -> Self:
        if self.min_nodes + self.locked_nodes > self.max_nodes:
            raise ValueError(f"compute {self.name}: minNodes + lockedNodes must not exceed maxNodes")
        return self


class EnvironmentConfig(Model):
    """A registered environment version that exists from the start."""

    name: str
    version: str = "1"
    image: str = "local/worker:1"


class WorkspaceConfig(Model):
    """One AzureML workspace."""

    name: str
    resource_group: str = "workforce"
    location: str
    computes: tuple[ComputeConfig, ...] = ()
    environments: tuple[EnvironmentConfig, ...] = ()


class VirtualClusterConfig(Model):
    """One Singularity virtual cluster; any workspace of the subscription may send jobs to it."""

    name: str
    resource_group: str = "workforce"
    location: str = "uksouth"
    max_nodes: Annotated[int, Field(ge=0)] = 4
    simulate: bool = False
    max_execution_hours: Annotated[
        float, Field(gt=0, description="A paused job that ran longer than this in all is not resumed any more.")
    ] = 313


class ServiceBusConfig(Model):
    """One Service Bus namespace."""

    name: str
    resource_group: str = "workforce"
    location: str = "uksouth"


class TimingConfig(Model):
    """How long the steps of a job's life take. Real ones take minutes; nobody wants to wait for those here."""

    starting_seconds: Seconds = 0.1
    preparing_seconds: Seconds = 0.1
    node_start_seconds: Seconds = 0.1
    node_idle_seconds: Seconds = 120.0
    finalizing_seconds: Seconds = 0.1
    canceling_seconds: Annotated[float, Field(ge=0, description="CancelRequested of a job without a process.")] = 0.1
    cancel_grace_seconds: Annotated[float, Field(ge=0, description="Between SIGTERM and SIGKILL.")] = 5.0
    not_responding_seconds: Annotated[float, Field(ge=0, description="Of a job whose node was lost.")] = 1.0
    put_latency_seconds: Annotated[float, Field(ge=0, description="Added to each job PUT; real ones take 2 to 4.")] = 0


class _ForComputes(Model):
    """Something for all computes whose names match; `*` and `?` are wildcards."""

    workspace: Annotated[str, Field(description="Of virtual clusters: empty or *.")] = "*"
    compute: str = "*"

    def matches(self, workspace: str, compute: str) -> bool:
        """Whether it is for this compute; names have no case."""
        return fnmatch(workspace.lower(), self.workspace.lower()) and fnmatch(compute.lower(), self.compute.lower())


class ComputeTimes(_ForComputes):
    """How long jobs are in each state on some computes; what is unset follows `timing`."""

    not_started: Span | None = None
    starting: Span | None = None
    provisioning: Span | None = None
    preparing: Span | None = None
    allocation: Annotated[Span | None, Field(description="Until a node that is asked for can be used.")] = None
    running: Annotated[Span | None, Field(description="Of simulated jobs; unset: until they are cancelled.")] = None
    finalizing: Span | None = None
    canceling: Span | None = None
    not_responding: Annotated[Span | None, Field(description="Until a job whose node was lost is queued again.")] = None


class PreemptionSchedule(_ForComputes):
    """Preemptions of one running job after another on some computes."""

    every: Span
    notice_seconds: Seconds = 30
    withdrawn: Annotated[float, Field(ge=0, le=1, description="Share of the notices that are withdrawn.")] = 0
    withdraw_after_seconds: Seconds = 10

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.every[0] <= 0:
            raise ValueError("every: must be more than 0 seconds")
        if self.withdrawn and self.withdraw_after_seconds >= self.notice_seconds:
            raise ValueError("withdrawAfterSeconds must be less than noticeSeconds, or nothing is ever withdrawn")
        return self


class SharedLoad(_ForComputes):
    """From some moment on, somebody else's jobs hold this many nodes."""

    at_seconds: Seconds
    nodes: Annotated[int, Field(ge=0)]


class ScenarioConfig(Model):
    """What is different from place to place, and what goes wrong when; the same for the same seed."""

    seed: int = 0
    times: tuple[ComputeTimes, ...] = ()
    preemption: tuple[PreemptionSchedule, ...] = ()
    shared: tuple[SharedLoad, ...] = ()
    quota: Annotated[dict[str, Annotated[int, Field(ge=0)]], Field(description="Cores that a region may use.")] = Field(
        default_factory=dict
    )
    index_lag_seconds: Annotated[Seconds, Field(description="How old the studio's index is.")] = 0
    list_lag_seconds: Annotated[Seconds, Field(description="How old lists of jobs of the resource manager are.")] = 0


class FederationConfig(Model):
    """A federated identity credential: whose tokens an application may be used with instead of a secret."""

    issuer: Annotated[str, Field(description="The tokens' `iss`, for instance of a cluster's API server.")]
    keys: Annotated[Path, Field(description="The issuer's keys: a JSON web key set, or one key as PEM.")]
    subject: Annotated[str, Field(description="The tokens' `sub`; * is a wildcard.")] = "system:serviceaccount:*"
    client_id: Annotated[str | None, Field(description="Application; unset: the operator's.")] = None
    audience: str = "api://AzureADTokenExchange"


class IdentityConfig(Model):
    """How tokens are given. Without any federation, client assertions are accepted without a look at who signed."""

    token_lifetime_seconds: Annotated[int, Field(ge=1)] = 3600
    federation: tuple[FederationConfig, ...] = ()


class ArmConfig(Model):
    """How the resource manager behaves."""

    page_size: Annotated[int, Field(ge=1)] = 50
    replay: Annotated[Replay, Field(description="What an identical PUT of an existing job answers.")] = "replay200"
    throttle: Annotated[bool, Field(description="Answer 429 when a token bucket is empty.")] = False


class PortsConfig(Model):
    """Fixed ports; 0 takes the remembered one, or a free one at the first start."""

    https: Port = 0
    imds: Port = 0
    service_bus: Port = 0


def _default_workspaces() -> tuple[WorkspaceConfig, ...]:
    return tuple(
        WorkspaceConfig(
            name=f"ws-{location}", location=location, computes=(ComputeConfig(name="cluster", max_nodes=4),)
        )
        for location in ("uksouth", "westeurope")
    )


class LocalConfig(Model):
    """All of the local Azure. The default is two regions of four nodes, one namespace and one storage account."""

    subscription_id: str = "00000000-0000-4000-8000-000000000001"
    tenant_id: str = "00000000-0000-4000-8000-0000000000aa"
    client_id: Annotated[str, Field(description="Application id of the operator's service principal.")] = (
        "00000000-0000-4000-8000-0000000000cc"
    )
    node_client_id: Annotated[str, Field(description="Application id of the nodes' managed identity.")] = (
        "00000000-0000-4000-8000-0000000000dd"
    )
    resource_groups: tuple[str, ...] = ("workforce",)
    workspaces: tuple[WorkspaceConfig, ...] = Field(default_factory=_default_workspaces)
    service_bus: tuple[ServiceBusConfig, ...] = (ServiceBusConfig(name="wf-bus"),)
    storage_accounts: tuple[str, ...] = DEFAULT_ACCOUNTS
    virtual_clusters: tuple[VirtualClusterConfig, ...] = ()
    timing: TimingConfig = TimingConfig()
    scenario: ScenarioConfig = ScenarioConfig()
    identity: IdentityConfig = IdentityConfig()
    arm: ArmConfig = ArmConfig()
    ports: PortsConfig = PortsConfig()

    @model_validator(mode="after")
    def _groups_exist(self) -> Self:
        known = {group.lower() for group in self.resource_groups}
        homes = [(workspace.name, workspace.resource_group) for workspace in self.workspaces]
        homes += [(namespace.name, namespace.resource_group) for namespace in self.service_bus]
        homes += [(cluster.name, cluster.resource_group) for cluster in self.virtual_clusters]
        for name, group in homes:
            if group.lower() not in known:
                raise ValueError(f"{name}: resource group {group} is not in resourceGroups")
        return self

    @model_validator(mode="after")
    def _scenario_names_what_exists(self) -> Self:
        computes = [(space.name, compute.name) for space in self.workspaces for compute in space.computes]
        computes += [("", cluster.name) for cluster in self.virtual_clusters]
        scenario = self.scenario
        for section in ("times", "preemption", "shared"):
            for number, entry in enumerate(getattr(scenario, section)):
                if not any(entry.matches(workspace, compute) for workspace, compute in computes):
                    raise ValueError(
                        f"scenario.{section}.{number}: no compute matches workspace '{entry.workspace}', "
                        f"compute '{entry.compute}'"
                    )
        regions = {workspace.location.lower() for workspace in self.workspaces}
        for region in scenario.quota:
            if region.lower() not in regions:
                raise ValueError(f"scenario.quota: no workspace is in the region {region}")
        return self

    def write(self, folder: Path) -> Path:
        """Write all of it, with what are defaults, into a folder; return where."""
        path = folder / FILE_NAME
        path.write_text(self.model_dump_json(by_alias=True, indent=2), encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a configuration file.

        Raises:
            ConfigError: The file is missing, not JSON, or has a wrong field.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read as JSON: {error}") from error
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ConfigError(f"{path}: {where}: {first['msg']}") from error
