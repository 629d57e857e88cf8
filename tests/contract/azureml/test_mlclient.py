"""azure-ai-ml's MLClient, unchanged, against the local AzureML."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientSecretCredential

from tests.contract.azureml.conftest import Arm
from workforce_local.azure import LocalAzure

pytestmark = [
    # azure-ai-ml's schemas are written for marshmallow 3 and warn at import and at each validation.
    pytest.mark.filterwarnings("ignore::marshmallow.warnings.RemovedInMarshmallow4Warning"),
    pytest.mark.filterwarnings("ignore::marshmallow.warnings.ChangedInMarshmallow4Warning"),
]

T = TypeVar("T")
RP = (
    "/subscriptions/{subscription}/resourceGroups/{group}"
    "/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
)
JOB = RP + "/jobs/{name}"


async def sdk(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """The SDK is synchronous; the local Azure lives in this thread's loop."""
    return await asyncio.to_thread(call, *args, **kwargs)


@pytest.fixture
def ml(local_azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An MLClient that is led to the local cloud by `cloud_metadata`."""
    from azure.ai.ml import MLClient

    # Every MLClient sets it process-wide; let it go with the test.
    monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "AzureCloud")
    base = local_azure.base_url + "/"
    credential = ClientSecretCredential(
        local_azure.config.tenant_id,
        local_azure.config.client_id,
        local_azure.environment()["AZURE_CLIENT_SECRET"],
        authority=local_azure.base_url,
        disable_instance_discovery=True,
        connection_verify=str(local_azure.ca_file),
    )
    transport = RequestsTransport(connection_verify=str(local_azure.ca_file))
    client = MLClient(
        credential,
        local_azure.config.subscription_id,
        "workforce",
        "ws-uksouth",
        cloud=local_azure.cloud()["name"],
        cloud_metadata={
            "azure_portal": "https://portal.local.test/",
            "resource_manager": base,
            "active_directory": base,
            "aml_resource_id": "https://ml.local.test/",
            "storage_endpoint": "core.local.test",
            "registry_discovery_endpoint": base,
        },
        transport=transport,
        show_progress=False,
        enable_telemetry=False,
    )
    assert client._base_url == local_azure.base_url
    yield client
    credential.close()
    transport.close()


def make(name: str, text: str = "true", **options: Any) -> Any:
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    settings: dict[str, Any] = {
        "environment": Environment(image="ghcr.io/x/y:1"),
        "compute": "cluster",
        "experiment_name": "exp1",
    }
    return command(name=name, command=text, **(settings | options))


async def test_workspace_and_cluster_are_read(ml):
    """azure-ai-ml 1.35: workspaces.get, compute.get, compute.list."""
    workspace = await sdk(ml.workspaces.get, "ws-uksouth")
    assert (workspace.name, workspace.location) == ("ws-uksouth", "uksouth")
    compute = await sdk(ml.compute.get, "cluster")
    assert (compute.max_instances, compute.min_instances, compute.tier) == (4, 0, "low_priority")
    assert [found.name for found in await sdk(lambda: list(ml.compute.list()))] == ["cluster"]


async def test_nodes_and_usage_are_read(ml, arm: Arm):
    """azure-ai-ml 1.35: compute.list_nodes and list_usage."""
    await sdk(ml.jobs.create_or_update, make("with-node", "sleep 600"))
    await arm.until("with-node", "Running")
    nodes = await sdk(lambda: list(ml.compute.list_nodes("cluster")))
    # azure-ai-ml 1.35.2 keeps the names of the wire in the entity.
    assert [(vars(node)["nodeState"], vars(node)["runId"]) for node in nodes] == [("running", "with-node")]
    usage = await sdk(lambda: list(ml.compute.list_usage(location="uksouth")))
    assert [line.name for line in usage]


async def test_an_inline_image_is_two_writes(ml, local_azure):
    """azure-ai-ml 1.35: PUT of the anonymous environment, then PUT of the job."""
    job = await sdk(ml.jobs.create_or_update, make("inline"))
    assert (job.name, job.status) == ("inline", "Starting")
    environment = RP + "/environments/{name}/versions/{version}"
    assert local_azure.requests.count("PUT", environment, 201) == 1
    assert local_azure.requests.count("PUT", JOB, 201) == 1


async def test_a_registered_environment_is_one_write(ml, local_azure):
    """azure-ai-ml 1.35: `env:1` is formatted on the client; `env@latest` costs one read."""
    from azure.ai.ml.entities import Environment

    made = await sdk(ml.environments.create_or_update, Environment(name="env", version="1", image="a/b:1"))
    assert (made.name, made.version) == ("env", "1")
    await sdk(ml.jobs.create_or_update, make("by-version", environment="env:1"))
    job = await sdk(ml.jobs.create_or_update, make("by-label", environment="env@latest"))
    assert job.environment == "env:1"
    assert local_azure.requests.count("PUT", JOB, 201) == 2
    assert local_azure.requests.count("GET", RP + "/environments/{name}/versions", 200) == 1


async def test_a_full_command_job_is_accepted_and_comes_back(ml):
    """azure-ai-ml 1.35: every field of the body that the SDK sends."""
    from azure.ai.ml import ManagedIdentityConfiguration, Output

    job = make(
        "full",
        "echo ${{outputs.blobstor}}",
        identity=ManagedIdentityConfiguration(client_id="aaaaaaaa-0000-0000-0000-000000000001"),
        environment_variables={"A": "b"},
        outputs={"blobstor": Output(type="uri_folder", path="wasbs://c@a.blob.core.windows.net/d/", mode="rw_mount")},
        shm_size="256m",
        tags={"fleet": "f1"},
        timeout=3600,
        display_name="disp",
        instance_count=1,
    )
    made = await sdk(ml.jobs.create_or_update, job)
    assert (made.display_name, made.tags, made.experiment_name) == ("disp", {"fleet": "f1"}, "exp1")
    assert (made.environment_variables, made.resources.shm_size) == ({"A": "b"}, "256m")
    assert made.outputs["blobstor"].path == "wasbs://c@a.blob.core.windows.net/d/"
    assert made.limits.timeout == 3600


async def test_a_job_runs_to_its_end(ml, arm: Arm):
    """AzureML JobStatus: Starting first, Completed by exit code 0, Failed by another one."""
    await sdk(ml.jobs.create_or_update, make("good", "echo out; echo err >&2"))
    await sdk(ml.jobs.create_or_update, make("bad", "exit 3"))
    good = await arm.until("good", "Completed")
    assert (good.stdout.read_text(), good.stderr.read_text()) == ("out\n", "err\n")
    await arm.until("bad", "Failed")
    assert (await sdk(ml.jobs.get, "good")).status == "Completed"
    assert (await sdk(ml.jobs.get, "bad")).status == "Failed"


async def test_jobs_are_listed_with_filters(ml):
    """azure-ai-ml 1.35: tag, properties and listViewType are passed through."""
    for name, tags, properties in (("l1", {"k": "a"}, {"p": "1"}), ("l2", {"k": "b"}, {"p": "2"})):
        job = make(name, tags=tags)
        job.properties = properties
        await sdk(ml.jobs.create_or_update, job)
    listed = {query: await sdk(lambda q=query: [job.name for job in ml.jobs.list(**dict(q))]) for query in QUERIES}
    assert listed == {QUERIES[0]: ["l2", "l1"], QUERIES[1]: ["l1"], QUERIES[2]: ["l2"], QUERIES[3]: []}


QUERIES = ((), (("tag", "k=a"),), (("properties", "p=2"),), (("job_type", "Sweep"),))


async def test_cancel_waits_until_the_job_is_canceled(ml, arm: Arm):
    """AzureML, Jobs - Cancel: 202 with a Location, then 200; a job that has ended answers 200 at once."""
    await sdk(ml.jobs.create_or_update, make("to-cancel", "sleep 600"))
    await arm.until("to-cancel", "Running")
    poller = await sdk(ml.jobs.begin_cancel, "to-cancel")
    await sdk(poller.result, 60)
    assert (await sdk(ml.jobs.get, "to-cancel")).status == "Canceled"
    again = await sdk(ml.jobs.begin_cancel, "to-cancel")
    await sdk(again.result, 60)


async def test_an_archived_job_is_hidden(ml, arm: Arm, local_azure):
    """azure-ai-ml 1.35: archive goes to the run history that the workspace's discovery URL names."""
    await sdk(ml.jobs.create_or_update, make("old"))
    await arm.until("old", "Completed")
    await sdk(ml.jobs.archive, "old")
    assert await sdk(lambda: [job.name for job in ml.jobs.list()]) == []
    patch = "/history/v1.0" + RP + "/experiments/{experiment}/runs/{name}"
    assert local_azure.requests.count("PATCH", patch, 200) == 1
    await sdk(ml.jobs.restore, "old")
    assert await sdk(lambda: [job.name for job in ml.jobs.list()]) == ["old"]


async def test_a_job_that_has_ended_can_be_deleted(ml, arm: Arm):
    """azure-ai-ml 1.35: DELETE answers 204; the job is gone."""
    await sdk(ml.jobs.create_or_update, make("gone"))
    await arm.until("gone", "Completed")
    await sdk(lambda: ml.jobs.begin_delete("gone").result(60))
    with pytest.raises(ResourceNotFoundError):
        await sdk(ml.jobs.get, "gone")


async def test_errors_are_read_as_the_service_s(ml):
    """azure-ai-ml 1.35: 404 is ResourceNotFoundError; a missing compute is found by the service only."""
    with pytest.raises(ResourceNotFoundError):
        await sdk(ml.jobs.get, "nobody")
    with pytest.raises(ResourceNotFoundError):
        await sdk(ml.compute.get, "nowhere")
    with pytest.raises(HttpResponseError) as caught:
        await sdk(ml.jobs.create_or_update, make("homeless", compute="nowhere"))
    assert (caught.value.status_code, caught.value.error.code) == (400, "UserError")


async def test_an_immutable_change_is_refused_by_the_service(ml):
    """azure-sdk-for-python #47389: UserError, with JobPropertyImmutable in the text."""
    await sdk(ml.jobs.create_or_update, make("fixed", "echo 1"))
    with pytest.raises(HttpResponseError) as caught:
        await sdk(ml.jobs.create_or_update, make("fixed", "echo 2"))
    assert caught.value.error.code == "UserError"
    assert "JobPropertyImmutable" in str(caught.value)
