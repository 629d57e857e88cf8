"""The documents that AzureML answers with, field by field as real ones were recorded.

Pure: plain dictionaries from plain values. What the service adds to a submitted job is added here. Nothing of the
product's own models is used, so that a mistake in those is not repeated here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from workforce_local.azureml.ids import PROVIDER, WorkspaceId
from workforce_local.config import ComputeConfig, EnvironmentConfig, WorkspaceConfig

ZERO_UUID = uuid.UUID("2b0f6a0c-6c3e-4f0e-9d55-3f4f3a7f6f10")
CORES_PER_NODE = 2


def timestamp(time: datetime) -> str:
    """A time as in `systemData`: seven digits and an offset."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "0+00:00"


def run_time(time: datetime) -> str:
    """A time as in a run's `StartTimeUtc` and `EndTimeUtc`."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def system_data(created: datetime, by: str) -> dict[str, Any]:
    """Who made a resource, and when."""
    return {"createdAt": timestamp(created), "createdBy": by, "createdByType": "Application"}


def workspace_guid(workspace: WorkspaceId) -> str:
    """The immutable id of a workspace."""
    return str(uuid.uuid5(ZERO_UUID, workspace.key))


def workspace_document(
    workspace: WorkspaceId, config: WorkspaceConfig, *, base_url: str, tenant_id: str, storage_account: str
) -> dict[str, Any]:
    """A workspace."""
    group = f"/subscriptions/{workspace.subscription}/resourceGroups/{workspace.group}"
    principal = str(uuid.uuid5(ZERO_UUID, workspace.key + "/identity"))
    return {
        "id": str(workspace),
        "name": config.name,
        "type": f"{PROVIDER}/workspaces",
        "location": config.location,
        "tags": {},
        "kind": "Default",
        "etag": None,
        "identity": {"type": "SystemAssigned", "principalId": principal, "tenantId": tenant_id},
        "sku": {"name": "Basic", "tier": "Basic"},
        "properties": {
            "friendlyName": config.name,
            "description": "",
            "provisioningState": "Succeeded",
            "workspaceId": workspace_guid(workspace),
            "discoveryUrl": f"{base_url}/discovery",
            "mlFlowTrackingUri": f"azureml://{config.location}.api.azureml.ms/mlflow/v1.0{workspace}",
            "storageAccount": f"{group}/providers/Microsoft.Storage/storageAccounts/{storage_account}",
            "keyVault": f"{group}/providers/Microsoft.KeyVault/vaults/{config.name}",
            "publicNetworkAccess": "Enabled",
            "hbiWorkspace": False,
        },
    }


@dataclass(frozen=True)
class NodeCounts:
    """How many nodes of a cluster are in which state."""

    preparing: int = 0
    running: int = 0
    idle: int = 0
    leaving: int = 0
    target: int = 0
    preempted: int = 0
    """Nodes that were taken a moment ago; they are not there any more."""

    @property
    def current(self) -> int:
        """All nodes that there are."""
        return self.preparing + self.running + self.idle + self.leaving


def compute_document(
    workspace: WorkspaceId, location: str, config: ComputeConfig, counts: NodeCounts, *, created: datetime,
    changed: datetime, idle: str, tenant_id: str,
    errors: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """An AmlCompute cluster with its node counts."""
    inner = {
        "vmSize": config.vm_size,
        "vmPriority": config.vm_priority,
        "osType": "Linux",
        "virtualMachineImage": None,
        "isolatedNetwork": False,
        "subnet": None,
        "scaleSettings": {
            "maxNodeCount": config.max_nodes,
            "minNodeCount": config.min_nodes,
            "nodeIdleTimeBeforeScaleDown": idle,
        },
        "remoteLoginPortPublicAccess": "Disabled",
        "allocationState": "Steady" if errors or counts.current == counts.target else "Resizing",
        "allocationStateTransitionTime": timestamp(changed),
        "errors": errors,
        "currentNodeCount": counts.current,
        "targetNodeCount": counts.target,
        "nodeStateCounts": {
            "preparingNodeCount": counts.preparing,
            "runningNodeCount": counts.running,
            "idleNodeCount": counts.idle,
            "unusableNodeCount": 0,
            "leavingNodeCount": counts.leaving,
            "preemptedNodeCount": counts.preempted,
        },
        "enableBatchPrivateLink": False,
        "propertyBag": {},
        "enableNodePublicIp": True,
    }
    return {
        "id": f"{workspace}/computes/{config.name}",
        "name": config.name,
        "type": f"{PROVIDER}/workspaces/computes",
        "location": location,
        "tags": {},
        # Clusters that jobs get tokens on have one; ai4s-jobq refuses to read a cluster without it.
        "identity": {"type": "UserAssigned", "tenantId": tenant_id, "userAssignedIdentities": {}},
        "properties": {
            "description": None,
            "createdOn": timestamp(created),
            "modifiedOn": timestamp(created),
            "computeType": "AmlCompute",
            "provisioningState": "Succeeded",
            "resourceId": None,
            "computeLocation": location,
            "provisioningErrors": None,
            "provisioningWarnings": {},
            "isAttachedCompute": False,
            "disableLocalAuth": True,
            "properties": inner,
        },
    }


def job_error(codes: Sequence[str], message: str) -> dict[str, Any]:
    """Why a job failed, as its run has it: the outermost code, with those inside of it."""
    error: dict[str, Any] = {}
    for code in reversed(codes):
        error = {"code": code} | ({"innerError": error} if error else {})
    return {"error": error | {"message": message}}


def quota_error(location: str) -> dict[str, Any]:
    """Why a cluster does not grow."""
    message = (
        f"The specified subscription has reached its cluster core quota in {location}. Please request a quota "
        "increase, or wait until cores are given back."
    )
    return {"error": {"code": "ClusterCoreQuotaReached", "message": message, "details": []}}


def environment_properties(config: EnvironmentConfig) -> dict[str, Any]:
    """Properties of an environment version that the configuration names."""
    return {"image": config.image}


def environment_document(
    workspace: WorkspaceId, name: str, version: str, properties: Mapping[str, Any], *, created: datetime, by: str
) -> dict[str, Any]:
    """An environment version; unset fields have the service's defaults."""
    defaults: dict[str, Any] = {
        "description": None,
        "tags": {},
        "properties": {},
        "isArchived": False,
        "isAnonymous": False,
        "environmentType": "UserCreated",
        "image": None,
        "condaFile": None,
        "build": None,
        "osType": "Linux",
        "inferenceConfig": None,
        "provisioningState": "Succeeded",
        "autoRebuild": "Disabled",
    }
    given = {key: value for key, value in properties.items() if value is not None}
    return {
        "id": f"{workspace}/environments/{name}/versions/{version}",
        "name": version,
        "type": f"{PROVIDER}/workspaces/environments/versions",
        "properties": {**defaults, **given},
        "systemData": system_data(created, by),
    }


def job_properties(
    workspace: WorkspaceId, location: str, name: str, submitted: Mapping[str, Any], status: str
) -> dict[str, Any]:
    """The properties of a new job: what was submitted, and all that the service adds."""
    cluster = str(submitted.get("computeId", "")).rpartition("/")[2]
    artifacts = f"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.{name}"
    return {
        "description": submitted.get("description"),
        "tags": dict(submitted.get("tags") or {}),
        "properties": {**(submitted.get("properties") or {}), **target_properties(cluster, "amlctrain", submitted)},
        "displayName": submitted.get("displayName") or name,
        "status": status,
        "experimentName": submitted.get("experimentName") or "Default",
        "services": _services(workspace, location, name),
        "computeId": submitted.get("computeId"),
        "isArchived": bool(submitted.get("isArchived")),
        "identity": submitted.get("identity") or {"identityType": "AMLToken"},
        "componentId": submitted.get("componentId"),
        "notificationSetting": submitted.get("notificationSetting"),
        "jobType": "Command",
        "resources": _resources(submitted.get("resources") or {}),
        "codeId": submitted.get("codeId"),
        "command": submitted.get("command"),
        "environmentId": submitted.get("environmentId"),
        "inputs": dict(submitted.get("inputs") or {}),
        "outputs": {
            **{key: _output(value or {}) for key, value in (submitted.get("outputs") or {}).items()},
            "default": _output({"uri": artifacts}),
        },
        "distribution": submitted.get("distribution"),
        "autologgerSettings": submitted.get("autologgerSettings"),
        "limits": submitted.get("limits"),
        "environmentVariables": dict(submitted.get("environmentVariables") or {}),
        "parameters": {},
        "queueSettings": submitted.get("queueSettings"),
    }


def target_properties(cluster: str, kind: str, submitted: Mapping[str, Any]) -> dict[str, str]:
    """What the service notes about a job's target; more of it for Singularity."""
    noted = {"_azureml.ComputeTargetType": kind, "_azureml.ClusterName": cluster}
    if kind != "singularity":
        return noted
    resources = submitted.get("resources") or {}
    own = (resources.get("properties") or {}).get("AISuperComputer") or {}
    tier = (submitted.get("queueSettings") or {}).get("jobTier") or own.get("slaTier") or "Standard"
    return noted | {
        "azureml.VC": cluster,
        "azureml.SLATier": str(tier),
        "azureml.ComputeType": "Singularity",
        "azureml.InstanceType": str(resources.get("instanceType") or ""),
    }


def virtual_cluster_document(cluster_id: str, name: str, location: str, *, nodes: int, used: int) -> dict[str, Any]:
    """A virtual cluster; the real document of its quota is not on record, and this one is kept small."""
    return {
        "id": cluster_id,
        "name": name,
        "type": f"{PROVIDER}/virtualclusters",
        "location": location,
        "tags": {},
        "properties": {
            "provisioningState": "Succeeded",
            "managed": {"defaultGroupPolicyOverallQuotas": {"limit": nodes, "used": used}},
        },
    }


def _resources(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "instanceCount": given.get("instanceCount") or 1,
        "instanceType": given.get("instanceType"),
        "properties": dict(given.get("properties") or {}),
        "shmSize": given.get("shmSize") or "2g",
        "dockerArgs": given.get("dockerArgs"),
    }


def _output(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "description": None,
        "uri": None,
        "assetName": None,
        "assetVersion": None,
        "mode": "ReadWriteMount",
        "jobOutputType": "uri_folder",
        **{key: value for key, value in given.items() if value is not None},
    }


def _services(workspace: WorkspaceId, location: str, name: str) -> dict[str, Any]:
    tracking = f"azureml://{location}.api.azureml.ms/mlflow/v1.0{workspace}?"
    studio = f"https://ml.azure.com/runs/{name}?wsid={workspace}"
    empty = {"status": None, "errorMessage": None, "properties": None, "nodes": None}
    return {
        kind: {"jobServiceType": kind, "port": None, "endpoint": endpoint, **empty}
        for kind, endpoint in (("Tracking", tracking), ("Studio", studio))
    }


def job_document(
    workspace: WorkspaceId, name: str, properties: Mapping[str, Any], *, created: datetime, by: str
) -> dict[str, Any]:
    """A job."""
    return {
        "id": f"{workspace}/jobs/{name}",
        "name": name,
        "type": f"{PROVIDER}/workspaces/jobs",
        "properties": dict(properties),
        "systemData": system_data(created, by),
    }


def usage_document(
    subscription: str, location: str, name: str, text: str, *, current: int, limit: int
) -> dict[str, Any]:
    """One line of a region's usages."""
    kind = f"{PROVIDER}/usages"
    return {
        "id": f"/subscriptions/{subscription}/providers/{PROVIDER}/locations/{location}/usages/{name}",
        "amlWorkspaceLocation": location,
        "type": kind,
        "unit": "Count",
        "currentValue": current,
        "limit": limit,
        "name": {"value": name, "localizedValue": text},
    }


def node_document(node_id: str, address: str, state: str, job: str | None) -> dict[str, Any]:
    """One line of a cluster's list of nodes."""
    return {
        "nodeId": node_id,
        "privateIpAddress": address,
        "publicIpAddress": None,
        "port": 50000,
        "nodeState": state,
        "runId": job,
    }
