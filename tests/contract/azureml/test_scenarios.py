"""Virtual clusters, simulated computes and scenario files, through the whole local Azure."""

import pytest_asyncio

from tests.contract.azureml.conftest import Arm, eventually, open_arm
from tests.support.azure import FAST
from workforce_local.azure import LocalAzure
from workforce_local.config import (
    ComputeConfig,
    LocalConfig,
    PreemptionSchedule,
    ScenarioConfig,
    SharedLoad,
    VirtualClusterConfig,
    WorkspaceConfig,
)

CONFIG = LocalConfig(
    workspaces=(
        WorkspaceConfig(
            name="ws-uksouth", location="uksouth",
            computes=(ComputeConfig(name="cluster"), ComputeConfig(name="paper", simulate=True)),
        ),
    ),
    virtual_clusters=(VirtualClusterConfig(name="vc", max_execution_hours=0.000001),),
    scenario=ScenarioConfig(
        preemption=(PreemptionSchedule(compute="paper", every=(0.05, 0.1), notice_seconds=0),),
        shared=(SharedLoad(compute="cluster", at_seconds=0, nodes=4),),
    ),
    timing=FAST,
)  # fmt: skip


@pytest_asyncio.fixture
async def arm(tmp_path):
    async with LocalAzure(tmp_path / "azure", CONFIG) as azure, open_arm(azure) as found:
        yield found


def virtual_cluster(arm: Arm) -> str:
    return f"{arm.workspace.partition('/workspaces/')[0]}/virtualclusters/vc"


async def test_a_job_on_a_virtual_cluster_is_singularity_s(arm: Arm):
    """azure-ai-ml 1.35: computeId is the cluster's own id; the service notes VC, tier and instance type."""
    answered = await arm.hire(
        "s", "sleep 600", computeId=virtual_cluster(arm), queueSettings={"jobTier": "Premium"},
        resources={"instanceCount": 1, "instanceType": "Singularity.ND"},
    )  # fmt: skip
    noted = answered["properties"]["properties"]
    assert noted["_azureml.ComputeTargetType"] == "singularity"
    assert (noted["azureml.VC"], noted["azureml.SLATier"], noted["azureml.InstanceType"]) == (
        "vc", "Premium", "Singularity.ND",
    )  # fmt: skip
    await arm.until("s", "Running")
    url = f"{arm.azure.base_url}{virtual_cluster(arm)}?api-version=1"
    document = (await arm.send("GET", url)).json()
    assert document["type"].endswith("/virtualclusters")


async def test_a_job_that_used_up_its_time_is_not_resumed(arm: Arm):
    """The execution API as ai4s-jobq met it: 400 "exceeded max job execution time",
    whereupon other schedulers cancel it.
    """
    await arm.hire("old", "sleep 600", computeId=virtual_cluster(arm))
    await arm.until("old", "Running")
    arm.azure.control.pause("old")
    await arm.until("old", "Paused")
    path = f"/api/uksouth/execution/v1.0{arm.workspace}/experiments/exp/runId/old/resume"
    token = arm.azure.issuer.mint("https://ml.azure.com", arm.azure.config.client_id).value
    body = await arm.post_as(token, path)
    assert "exceeded max job execution time" in body["error"]["message"]
    response = await arm.send("POST", "/jobs/old/cancel")
    assert response.status_code == 202
    await arm.until("old", "Canceled")


async def test_a_schedule_preempts_simulated_jobs_again_and_again_without_a_process(arm: Arm):
    """AzureML low-priority VMs: the same run is run again, possibly several times."""
    await arm.hire("paper-job", "exit 1", computeId=f"{arm.workspace}/computes/paper")
    await eventually(lambda: [step for step, _ in arm.job("paper-job").history].count("Running") >= 3, "three runs")
    assert arm.job("paper-job").pid is None
    assert not arm.job("paper-job").stdout.exists()


async def test_others_take_a_cluster_when_the_scenario_says_so(arm: Arm):
    await eventually(lambda: arm.azure.control.shared("ws-uksouth", "cluster") == 4, "others to take all nodes")
    await arm.hire("waits", "true")
    await arm.until("waits", "Queued")
