"""Answers against the traffic recorded in the tests of azure-sdk-for-python (azure-ai-ml), typed in from there.

Nothing here comes from our own models: a field that a real answer has must be in ours, with a value of the same kind.
"""

from __future__ import annotations

from typing import Any

from tests.contract.azureml.conftest import Arm

TRACKING = {"jobServiceType": "Tracking", "port": None, "endpoint": "azureml://eastus.api.azureml.ms/mlflow/v1.0/s?",
            "status": None, "errorMessage": None, "properties": None, "nodes": None}  # fmt: skip

RECORDED_JOB: dict[str, Any] = {
    "id": "/subscriptions/s/jobs/test_1",
    "name": "test_1",
    "type": "Microsoft.MachineLearningServices/workspaces/jobs",
    "properties": {
        "description": None,
        "tags": {},
        "properties": {"_azureml.ComputeTargetType": "amlctrain"},
        "displayName": "d",
        "status": "Starting",
        "experimentName": "mfe-test1",
        "services": {"Tracking": TRACKING, "Studio": {**TRACKING, "jobServiceType": "Studio"}},
        "computeId": "/computes/cpu-cluster",
        "isArchived": False,
        "identity": {"identityType": "AMLToken"},
        "componentId": None,
        "notificationSetting": None,
        "jobType": "Command",
        "resources": {
            "instanceCount": 1,
            "instanceType": None,
            "properties": {},
            "shmSize": "2g",
            "dockerArgs": None,
        },
        "codeId": None,
        "command": "pip freeze",
        "environmentId": "e",
        "inputs": {},
        "outputs": {
            "default": {
                "description": None,
                "uri": "azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.test_1",
                "assetName": None,
                "assetVersion": None,
                "mode": "ReadWriteMount",
                "jobOutputType": "uri_folder",
            }
        },
        "distribution": None,
        "autologgerSettings": None,
        "limits": None,
        "environmentVariables": {},
        "parameters": {},
        "queueSettings": None,
    },
    "systemData": {"createdAt": "2022-10-03T22:56:21.8045905+00:00", "createdBy": "x", "createdByType": "User"},
}

RECORDED_COMPUTE: dict[str, Any] = {
    "id": "/computes/compute123",
    "name": "compute123",
    "type": "Microsoft.MachineLearningServices/workspaces/computes",
    "location": "eastus2",
    "tags": {},
    "properties": {
        "description": None,
        "createdOn": "2021",
        "modifiedOn": "2021",
        "computeType": "AmlCompute",
        "provisioningState": "Succeeded",
        "resourceId": None,
        "computeLocation": "eastus2",
        "provisioningErrors": None,
        "provisioningWarnings": {},
        "isAttachedCompute": False,
        "disableLocalAuth": True,
        "properties": {
            "vmSize": "STANDARD_D2_V3",
            "vmPriority": "LowPriority",
            "osType": "Linux",
            "virtualMachineImage": None,
            "isolatedNetwork": False,
            "subnet": None,
            "scaleSettings": {"maxNodeCount": 100, "minNodeCount": 0, "nodeIdleTimeBeforeScaleDown": "PT120S"},
            "remoteLoginPortPublicAccess": "Disabled",
            "allocationState": "Resizing",
            "allocationStateTransitionTime": "2021",
            "errors": None,
            "currentNodeCount": 3,
            "targetNodeCount": 5,
            "nodeStateCounts": {
                "preparingNodeCount": 1,
                "runningNodeCount": 2,
                "idleNodeCount": 0,
                "unusableNodeCount": 0,
                "leavingNodeCount": 0,
                "preemptedNodeCount": 0,
            },
            "enableBatchPrivateLink": False,
            "propertyBag": {},
            "enableNodePublicIp": True,
        },
    },
}

RECORDED_ERROR: dict[str, Any] = {
    "error": {
        "code": "UserError",
        "message": "m",
        "additionalInfo": [{"type": "InnerError", "info": {"value": {}}}],
    }
}


def differences(recorded: Any, answered: Any, where: str = "$") -> list[str]:
    """Fields that are missing or of another kind; fields that we have beyond the recorded ones do not matter."""
    if isinstance(recorded, dict):
        if not isinstance(answered, dict):
            return [f"{where}: {type(answered).__name__} instead of an object"]
        found = []
        for key, value in recorded.items():
            found += (
                [f"{where}.{key}: missing"]
                if key not in answered
                else differences(value, answered[key], f"{where}.{key}")
            )
        return found
    if recorded is None or type(recorded) is type(answered):
        return []
    return [f"{where}: {answered!r} instead of a {type(recorded).__name__}"]


async def test_a_new_job_has_the_recorded_shape(arm: Arm):
    """Recorded traffic: PUT answers 201 with the expanded job."""
    answered = await arm.hire("shape")
    assert differences(RECORDED_JOB, answered) == []
    properties = answered["properties"]
    assert properties["status"] == "Starting"
    assert properties["outputs"]["default"]["uri"].endswith("/dcid.shape")
    assert properties["resources"]["shmSize"] == "2g"
    assert properties["properties"]["_azureml.ComputeTargetType"] == "amlctrain"
    assert set(properties) == set(RECORDED_JOB["properties"]), "nothing that the service does not answer"


async def test_a_job_in_a_list_has_the_recorded_shape(arm: Arm):
    """Recorded traffic: lists and single reads are alike."""
    await arm.hire("shape")
    listed = (await arm.get("/jobs"))["value"][0]
    assert differences(RECORDED_JOB, listed) == []
    assert listed["id"] == arm.workspace + "/jobs/shape"
    assert listed["systemData"]["createdAt"].endswith("+00:00")


async def test_start_and_end_are_properties_of_the_run(arm: Arm):
    """Recorded traffic: other clients read StartTimeUtc and EndTimeUtc there."""
    await arm.hire("times")
    await arm.until("times", "Completed")
    run = (await arm.get("/jobs/times"))["properties"]["properties"]
    assert {"StartTimeUtc", "EndTimeUtc"} <= set(run)


async def test_a_cluster_has_the_recorded_shape(arm: Arm):
    """Recorded traffic: AmlCompute, with the counts that capacity is computed from."""
    assert differences(RECORDED_COMPUTE, await arm.get("/computes/cluster")) == []
    assert differences(RECORDED_COMPUTE, (await arm.get("/computes"))["value"][0]) == []


async def test_an_error_has_the_recorded_shape(arm: Arm):
    """Recorded traffic: errors have a code, a message and additionalInfo."""
    answer = await arm.send("GET", "/jobs/none")
    assert answer.status_code == 404
    assert differences(RECORDED_ERROR, answer.json()) == []
    types = {entry["type"] for entry in answer.json()["error"]["additionalInfo"]}
    assert "InnerError" in types


def test_the_comparison_sees_what_is_missing_or_different():
    assert differences({"a": {"b": 1}}, {"a": {}}) == ["$.a.b: missing"]
    assert differences({"a": "x"}, {"a": None}) == ["$.a: None instead of a str"]
    assert differences({"a": None}, {"a": 1, "c": 2}) == []
