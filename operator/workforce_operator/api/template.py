"""The AzureML command job that every replica is, in the words of azure-ai-ml, and what a region may have otherwise.

There is no folder that a daemon could upload: whatever is named here is an address that the region's workspace can
reach by itself, or an asset that is registered there.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from jobq import names
from jobq.cloud import CLOUD_VARIABLE
from workforce_operator.api.base import Model, map_list, rule, rules

AZURE_CLIENT_ID_VARIABLE = "AZURE_CLIENT_ID"

RESERVED_VARIABLES = (
    names.BACK_CHANNEL_VARIABLE,
    names.CONTROL_TOPIC_VARIABLE,
    names.NODE_QUEUE_VARIABLE,
    names.REPORTS_QUEUE_VARIABLE,
    names.STORAGE_VARIABLE,
    names.QUEUE_VARIABLE,
    names.NUM_WORKERS_VARIABLE,
    names.TIME_LIMIT_VARIABLE,
    CLOUD_VARIABLE,
)
"""Environment variables that the operator sets, and that a template may not."""

_IDENTITY_ID = (
    r"^/[sS]ubscriptions/[^/ ]+/resource[gG]roups/[^/ ]+/providers"
    r"/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/ ]+$"
)
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_CODE = (
    rf"^(azureml:{_NAME}:{_NAME}|/[sS]ubscriptions/[^/ ]+/resource[gG]roups/[^/ ]+/providers"
    rf"/Microsoft\.MachineLearningServices/workspaces/[^/ ]+/codes/[^/ ]+/versions/[^/ ]+)$"
)
_ADDRESS = rf"^(azureml://[^ ]+|azureml:{_NAME}:{_NAME}|(wasbs?|abfss?|https?)://[^ ]+)$"
"""What a node can reach. Not a path: azure-ai-ml would upload it from the operator's own files."""

_KEYS = rule(
    "self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]{0,62}$'))",
    "names must be letters, digits and underscores, at most 63, and must not begin with a digit",
)


class Environment(Model):
    """The environment that a worker job runs in."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("(self.type == 'Image') == has(self.image)", "`image` must be set for type Image, and only for it"),
            rule(
                "self.type == 'Registered' ? has(self.name) && has(self.version) != has(self.label)"
                " : !(has(self.name) || has(self.version) || has(self.label))",
                "`name` and either `version` or `label` must be set for type Registered, and only for it",
            ),
        )
    )

    type: Literal["Image", "Registered"]
    """Image: a container image. Registered: an environment of the workspace."""
    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Container image, for type Image."""
    name: Annotated[str, Field(pattern=rf"^{_NAME}$", max_length=255)] | None = None
    """Name of the registered environment, for type Registered."""
    version: Annotated[str, Field(pattern=rf"^{_NAME}$", max_length=255)] | None = None
    """Version of the registered environment, for type Registered."""
    label: Literal["latest"] | None = None
    """Instead of a version: the newest one there is when the template changes, and that one until it changes again."""


class Identity(Model):
    """The identity that a worker job acts as."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.type == 'Managed' || !(has(self.resourceId) || has(self.clientId))",
                "`resourceId` and `clientId` must be set for type Managed only",
            )
        )
    )

    type: Literal["Managed", "User"]
    """Managed: a managed identity of the compute. User: whoever submits the job, which is the operator."""
    resource_id: Annotated[str, Field(pattern=_IDENTITY_ID, max_length=512)] | None = None
    """ARM id of a user-assigned identity."""
    client_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Client id of a user-assigned identity; also set as AZURE_CLIENT_ID of the job."""


class SecretKeyRef(Model):
    """One key of a Secret in the Workforce's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253)]
    """Key within the Secret."""


class EnvironmentVariableSource(Model):
    """Where a value comes from."""

    secret_key_ref: SecretKeyRef
    """A key of a Secret; read at each new hire, never stored in the status."""


class EnvironmentVariable(Model):
    """One environment variable of the worker jobs."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.value) != has(self.valueFrom)", "exactly one of `value` and `valueFrom` must be set")
        )
    )

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=8192)] | None = None
    """Its value; exactly one of value and valueFrom."""
    value_from: EnvironmentVariableSource | None = None
    """Where its value comes from."""


class Input(Model):
    """Something that the command reads."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.type == 'literal') == has(self.value)", "`value` must be set for type literal, and only for it"
            ),
            rule("(self.type != 'literal') == has(self.path)", "`path` must be set for every type but literal"),
            rule("self.type != 'literal' || !has(self.mode)", "`mode` must not be set for type literal"),
        )
    )

    type: Literal["uri_folder", "uri_file", "mltable", "mlflow_model", "custom_model", "triton_model", "literal"]
    """What it is; literal: the value itself."""
    path: Annotated[str, Field(pattern=_ADDRESS, max_length=2048)] | None = None
    """Where it is: azureml://…, wasbs://…, abfss://…, https://…, or azureml:NAME:VERSION of the region's workspace."""
    mode: Literal["ro_mount", "rw_mount", "download", "direct", "eval_mount", "eval_download"] | None = None
    """How it reaches the node; absent = as AzureML does by itself, which is ro_mount for folders and files."""
    value: Annotated[str, Field(max_length=8192)] | None = None
    """The value, for type literal."""


class Output(Model):
    """Something that the command writes, or reads and writes: a mounted blob container."""

    type: Literal["uri_folder", "uri_file", "mltable", "mlflow_model", "custom_model", "triton_model"] = "uri_folder"
    """What it is."""
    path: Annotated[str, Field(pattern=_ADDRESS, max_length=2048)] | None = None
    """Where it is: wasbs://CONTAINER@ACCOUNT.blob.core.windows.net, azureml://…; absent = a place of the job's own."""
    mode: Literal["rw_mount", "upload", "direct"] | None = None
    """How it leaves the node; absent = as AzureML does by itself, which is rw_mount."""


class Resources(Model):
    """What a job gets of its compute."""

    instance_count: Annotated[int, Field(ge=1, le=1)] = 1
    """Nodes of one job. Always 1: one replica is one node."""
    instance_type: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Machine type, where the compute leaves a choice: `Singularity.<series>` on a virtual cluster."""
    properties: Annotated[
        dict[str, JsonValue],
        Field(max_length=32, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}),
    ] = Field(default_factory=dict)
    """Properties as AzureML takes them; `singularity` is sent as `AISuperComputer`, as azure-ai-ml does."""


class QueueSettings(Model):
    """How a job is queued on a virtual cluster."""

    job_tier: Literal["Spot", "Basic", "Standard", "Premium"] | None = None
    """Service level. Jobs of the lower ones are paused when their nodes are needed, and resumed by the operator."""
    priority: Literal["Low", "Medium", "High"] | None = None
    """Priority among the jobs of one tier."""


Variables = Annotated[
    list[EnvironmentVariable],
    Field(
        max_length=100,
        json_schema_extra=map_list("name")
        | rules(
            rule(
                f"self.all(v, !(v.name in {list(RESERVED_VARIABLES)!r}))",
                f"must not set what the operator sets: {', '.join(RESERVED_VARIABLES)}",
            )
        ),
    ),
]
Outputs = Annotated[dict[str, Output], Field(max_length=32, json_schema_extra=rules(_KEYS))]


class Template(Model):
    """The AzureML command job that every replica is."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.identity) || !has(self.identity.clientId) || !has(self.environmentVariables)"
                f" || self.environmentVariables.all(v, v.name != '{AZURE_CLIENT_ID_VARIABLE}')",
                f"`environmentVariables` must not set {AZURE_CLIENT_ID_VARIABLE} beside `identity.clientId`",
                field=".environmentVariables",
            )
        )
    )

    command: Annotated[str, Field(min_length=1, max_length=32_768)] = "workforce-agent run"
    """Shell command of the job. The queue, the slots and the limits reach it by environment variables."""
    code: Annotated[str, Field(pattern=_CODE, max_length=512)] | None = None
    """Code asset that the command finds in its working directory: azureml:NAME:VERSION, which every region's workspace
    must have, or an ARM id. Not a folder: the operator has none to upload. Not git: azure-ai-ml does not take it."""
    slots: Annotated[int, Field(ge=1, le=1024)] = 1
    """Tasks that one replica runs at once (JOBQ_NUM_WORKERS)."""
    environment: Environment
    """Where the command runs."""
    identity: Identity | None = None
    """Who the job acts as; absent = the compute's identity."""
    environment_variables: Variables = Field(default_factory=list)
    """Further variables of the job; they may not replace the ones that the operator sets."""
    inputs: Annotated[dict[str, Input], Field(max_length=32, json_schema_extra=rules(_KEYS))] = Field(
        default_factory=dict
    )
    """What the command reads, as `${{inputs.NAME}}`."""
    outputs: Outputs = Field(default_factory=dict)
    """What the command writes, as `${{outputs.NAME}}`: a blob container is mounted with mode rw_mount."""
    shm_size: Annotated[str, Field(pattern=r"^[1-9][0-9]*(Ki|Mi|Gi|k|M|G)?$", max_length=16)] | None = None
    """Shared memory, a Kubernetes quantity."""
    timeout_seconds: Annotated[int, Field(ge=1800, le=2_592_000)] = 1_209_600
    """Longest life of a job; the agent stops pulling early enough to leave by itself."""
    tags: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=30)] = Field(
        default_factory=dict
    )
    """Tags of the jobs. A change of them alone reaches new jobs only."""
    resources: Resources | None = None
    """What a job gets of its compute."""
    queue_settings: QueueSettings | None = None
    """How a job is queued on a virtual cluster."""


class Overrides(Model):
    """What the jobs of one region have otherwise than the template says."""

    environment: Environment | None = None
    """Instead of the template's environment."""
    identity: Identity | None = None
    """Instead of the template's identity."""
    environment_variables: Variables = Field(default_factory=list)
    """Instead of the template's variables of the same names; the others stay."""
    outputs: Outputs = Field(default_factory=dict)
    """Instead of the template's outputs of the same names; the others stay."""
    resources: Resources | None = None
    """Instead of the template's fields and properties of the same names; the others stay."""
