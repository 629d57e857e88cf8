"""What the local Azure contains: subscription, workspaces, clusters, namespaces, and how fast its services answer.

Plain data with useful defaults, loadable from a JSON file (camelCase). It starts nothing and knows no running service.
Invariant: a `LocalConfig` is valid as a whole; a wrong one is refused when it is read, with the field's name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

Seconds = Annotated[float, Field(ge=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
Replay = Literal["replay200", "replay400"]


class ConfigError(ValueError):
    """The configuration file cannot be used. The message names the file and the field."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class ComputeConfig(_Model):
    """One AmlCompute cluster."""

    name: str
    max_nodes: Annotated[int, Field(ge=0)] = 4
    min_nodes: Annotated[int, Field(ge=0)] = 0
    locked_nodes: Annotated[int, Field(ge=0, description="Nodes that somebody else's jobs hold for good.")] = 0
    vm_size: str = "STANDARD_D2_V3"
    vm_priority: Literal["Dedicated", "LowPriority"] = "LowPriority"

    @model_validator(mode="after")
    def _nodes_fit(self) -> Self:
        if self.min_nodes + self.locked_nodes > self.max_nodes:
            raise ValueError(f"compute {self.name}: minNodes + lockedNodes must not exceed maxNodes")
        return self


class EnvironmentConfig(_Model):
    """A registered environment version that exists from the start."""

    name: str
    version: str = "1"
    image: str = "local/worker:1"


class WorkspaceConfig(_Model):
    """One AzureML workspace."""

    name: str
    resource_group: str = "workforce"
    location: str
    computes: tuple[ComputeConfig, ...] = ()
    environments: tuple[EnvironmentConfig, ...] = ()


class ServiceBusConfig(_Model):
    """One Service Bus namespace."""

    name: str
    resource_group: str = "workforce"
    location: str = "uksouth"


class TimingConfig(_Model):
    """How long the steps of a job's life take. Real ones take minutes; nobody wants to wait for those here."""

    starting_seconds: Seconds = 0.1
    preparing_seconds: Seconds = 0.1
    node_start_seconds: Seconds = 0.1
    node_idle_seconds: Seconds = 120.0
    finalizing_seconds: Seconds = 0.1
    canceling_seconds: Annotated[float, Field(ge=0, description="CancelRequested of a job without a process.")] = 0.1
    cancel_grace_seconds: Annotated[float, Field(ge=0, description="Between SIGTERM and SIGKILL.")] = 5.0
    put_latency_seconds: Annotated[float, Field(ge=0, description="Added to each job PUT; real ones take 2 to 4.")] = 0


class ArmConfig(_Model):
    """How the resource manager behaves."""

    page_size: Annotated[int, Field(ge=1)] = 50
    replay: Annotated[Replay, Field(description="What an identical PUT of an existing job answers.")] = "replay200"
    throttle: Annotated[bool, Field(description="Answer 429 when a token bucket is empty.")] = False


class PortsConfig(_Model):
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


class LocalConfig(_Model):
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
    storage_accounts: tuple[str, ...] = ("wfdemo",)
    timing: TimingConfig = TimingConfig()
    arm: ArmConfig = ArmConfig()
    ports: PortsConfig = PortsConfig()

    @model_validator(mode="after")
    def _groups_exist(self) -> Self:
        known = {group.lower() for group in self.resource_groups}
        homes = [(workspace.name, workspace.resource_group) for workspace in self.workspaces]
        homes += [(namespace.name, namespace.resource_group) for namespace in self.service_bus]
        for name, group in homes:
            if group.lower() not in known:
                raise ValueError(f"{name}: resource group {group} is not in resourceGroups")
        return self

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
