"""Jobs that really run: environment, folders, signals, limits, and that nothing of them is left."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from jobq.cloud import load_cloud
from tests.contract.azureml.conftest import Arm, eventually, gone, open_arm
from workforce_local.azure import LocalAzure
from workforce_local.imds import ScheduledEvent

DUMP = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"


async def pids(arm: Arm, job: str, count: int) -> list[int]:
    """Process ids that the job's command prints, once they are all there."""
    await eventually(lambda: len(arm.job(job).stdout.read_text().split()) >= count, f"{count} pids of {job}")
    return [int(pid) for pid in arm.job(job).stdout.read_text().split()]


async def test_a_job_sees_azureml_s_environment_and_nothing_of_ours(arm: Arm, monkeypatch):
    """Nothing but PATH comes from the process that runs the local Azure."""
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "x")
    await arm.hire("env", DUMP, environmentVariables={"MINE": "yes"}, experimentName="exp1")
    job = await arm.until("env", "Completed", "Failed")
    seen = json.loads(job.stdout.read_text())
    assert "SECRET_OF_THE_PARENT" not in seen
    assert "VIRTUAL_ENV" not in seen
    expected = {
        "MINE": "yes",
        "AZUREML_RUN_ID": "env",
        "AZUREML_ARM_SUBSCRIPTION": arm.azure.config.subscription_id,
        "AZUREML_ARM_RESOURCEGROUP": "workforce",
        "AZUREML_ARM_WORKSPACE_NAME": "ws-uksouth",
        "AZUREML_ARM_PROJECT_NAME": "exp1",
        "AZ_BATCHAI_CLUSTER_NAME": "cluster",
        "AZ_BATCH_TASK_ID": "env",
        "WORKFORCE_LOCAL_STATE": str(arm.azure.state_dir),
    }
    assert expected.items() <= seen.items()
    assert seen["AZ_BATCH_NODE_ID"] == job.node
    assert Path(seen["HOME"]).is_relative_to(arm.azure.state_dir)
    assert job.environment["MINE"] == "yes"


async def test_a_supervisor_s_tag_is_passed_on_to_the_jobs(tmp_path, monkeypatch):
    """So that it can prove that an orphan is its own."""
    monkeypatch.setenv("WORKFORCE_LOCAL_STATE", "/the/supervisor's")
    async with LocalAzure(tmp_path / "azure") as azure, open_arm(azure) as arm:
        await arm.hire("tagged", "echo $WORKFORCE_LOCAL_STATE")
        job = await arm.until("tagged", "Completed", "Failed")
        assert job.stdout.read_text() == "/the/supervisor's\n"


async def test_a_job_works_in_a_folder_of_its_own(arm: Arm):
    for name in ("w1", "w2"):
        await arm.hire(name, "pwd; ls -A; echo x > file; ls -A $TMPDIR")
    outputs = [(await arm.until(name, "Completed", "Failed")).stdout.read_text().split() for name in ("w1", "w2")]
    assert len({output[0] for output in outputs}) == 2
    assert all(len(output) == 1 for output in outputs), "both folders are empty at the start"


async def test_programs_of_the_virtual_environment_are_found(arm: Arm):
    await arm.hire("path", "command -v python workforce-agent")
    job = await arm.until("path", "Completed", "Failed")
    found = [Path(line).parent for line in job.stdout.read_text().split()]
    assert found == [Path(sys.executable).parent] * 2


async def test_outputs_are_folders_and_one_address_is_one_folder(arm: Arm):
    blob = {"blob": {"uri": "wasbs://c@a.blob.core.windows.net/d/", "jobOutputType": "uri_folder"}}
    await arm.hire("writer", "echo data > ${{outputs.blob}}/f; test -d ${{outputs.default}}", outputs=blob)
    await arm.until("writer", "Completed")
    data = {"in": {"uri": "wasbs://c@a.blob.core.windows.net/d", "jobInputType": "uri_folder"}}
    literal = {"n": {"jobInputType": "literal", "value": "7"}}
    await arm.hire("reader", "cat ${{inputs.in}}/f; echo ${{inputs.n}} $AZURE_ML_INPUT_n", inputs=data | literal)
    job = await arm.until("reader", "Completed", "Failed")
    assert job.stdout.read_text() == "data\n7 7\n"


async def test_the_cloud_file_on_a_node_points_to_that_node_s_metadata(arm: Arm):
    """A path in WORKFORCE_CLOUD becomes the node's own copy, whatever the operator's own path was."""
    for name, path in (("c1", str(arm.azure.cloud_file)), ("c2", "/etc/workforce/cloud.json")):
        await arm.hire(name, "cat $WORKFORCE_CLOUD; sleep 600", environmentVariables={"WORKFORCE_CLOUD": path})
        await arm.until(name, "Running")
    ours = load_cloud(str(arm.azure.cloud_file))
    seen = []
    for name in ("c1", "c2"):
        await eventually(lambda job=name: arm.job(job).stdout.read_text().endswith("}"), "the cloud file")
        cloud = load_cloud(arm.job(name).environment["WORKFORCE_CLOUD"])
        assert replace(cloud, imds=ours.imds) == ours
        assert cloud.imds == arm.job(name).environment["AZURE_POD_IDENTITY_AUTHORITY_HOST"]
        seen.append(cloud.imds)
    assert len({*seen, ours.imds}) == 3


async def test_the_name_of_a_public_cloud_is_left_alone(arm: Arm):
    await arm.hire("public", "echo $WORKFORCE_CLOUD", environmentVariables={"WORKFORCE_CLOUD": "AzureCloud"})
    assert (await arm.until("public", "Completed", "Failed")).stdout.read_text() == "AzureCloud\n"


@pytest.mark.parametrize("credential", ["DefaultAzureCredential", "ManagedIdentityCredential"])
async def test_credentials_work_unchanged_inside_a_job(arm: Arm, credential):
    """azure-identity: by MSI_ENDPOINT and MSI_SECRET, as on AzureML's nodes."""
    program = f"from azure.identity import {credential} as C; print(C().get_token('https://storage.azure.com/.default').token)"
    await arm.hire("token", f'python -c "{program}"')
    job = await arm.until("token", "Completed", "Failed")
    assert job.status == "Completed", job.stderr.read_text()
    principal = arm.azure.issuer.verify(job.stdout.read_text().strip(), "https://storage.azure.com")
    assert principal.client_id == arm.azure.config.node_client_id


async def test_a_job_s_own_managed_identity_is_named_to_it(arm: Arm):
    client_id = "aaaaaaaa-0000-0000-0000-000000000001"
    await arm.hire(
        "who", "echo $DEFAULT_IDENTITY_CLIENT_ID", identity={"identityType": "Managed", "clientId": client_id}
    )
    assert (await arm.until("who", "Completed", "Failed")).stdout.read_text().strip() == client_id


async def test_a_cancelled_job_s_session_gets_sigterm_first(arm: Arm):
    """AzureML job cancellation: SIGTERM, then SIGKILL after a grace."""
    command = "trap 'echo bye; exit 0' TERM; echo $$; while :; do sleep 0.05; done"
    await arm.hire("polite", command)
    await pids(arm, "polite", 1)
    await arm.send("POST", "/jobs/polite/cancel")
    job = await arm.until("polite", "Canceled")
    assert job.stdout.read_text().splitlines()[-1] == "bye"
    assert [status for status, _ in job.history][-2:] == ["CancelRequested", "Canceled"]


async def test_what_ignores_sigterm_is_killed_after_the_grace(arm: Arm):
    """Also processes that left the session, and those in other process groups of it."""
    command = (
        "trap '' TERM; set -m; echo $$; (trap '' TERM; echo $BASHPID; while :; do sleep 0.1; done) & "
        "setsid bash -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done' & while :; do sleep 0.1; done"
    )
    await arm.hire("stubborn", command)
    found = await pids(arm, "stubborn", 3)
    await arm.send("POST", "/jobs/stubborn/cancel")
    job = await arm.until("stubborn", "Canceled")
    assert job.exit_code == 137
    assert all(gone(pid) for pid in found)


async def test_what_a_job_leaves_behind_ends_with_it(arm: Arm):
    await arm.hire("messy", "sleep 600 & echo $!; setsid sleep 600 & echo $!")
    job = await arm.until("messy", "Completed")
    assert all(gone(int(pid)) for pid in job.stdout.read_text().split())


async def test_orphans_of_a_job_are_collected(arm: Arm):
    """The life cycle manager is their parent: they do not stay as zombies while the job runs."""
    await arm.hire("parent", "(setsid bash -c 'echo $$' &); sleep 600")
    (orphan,) = await pids(arm, "parent", 1)
    await eventually(lambda: not psutil.pid_exists(orphan), "the orphan to be collected")
    assert arm.job("parent").status == "Running"


async def test_a_job_that_is_killed_from_outside_fails(arm: Arm):
    await arm.hire("shot", "echo $$; exec sleep 600")
    (pid,) = await pids(arm, "shot", 1)
    assert pid == (await arm.until("shot", "Running")).pid
    os.kill(pid, signal.SIGKILL)
    assert (await arm.until("shot", "Failed")).exit_code == 137


async def test_a_job_whose_life_cycle_manager_is_killed_fails_and_leaves_nothing(arm: Arm):
    await arm.hire("orphan", "echo $$; while :; do sleep 0.1; done")
    (pid,) = await pids(arm, "orphan", 1)
    psutil.Process(pid).parent().kill()
    await arm.until("orphan", "Failed")
    await eventually(lambda: gone(pid), "the job's process to end")


async def test_a_job_that_exceeds_its_time_is_canceled(arm: Arm):
    """azure-ai-ml 1.35, timeout: the job is *canceled* on expiry."""
    await arm.hire("late", "sleep 600", limits={"jobLimitsType": "Command", "timeout": "PT1S"})
    job = await arm.until("late", "Canceled", "Failed", "Completed")
    assert job.status == "Canceled"


async def test_a_command_that_does_not_exist_fails_with_bash_s_code(arm: Arm):
    await arm.hire("typo", "no-such-program")
    job = await arm.until("typo", "Failed")
    assert job.exit_code == 127
    assert "no-such-program" in job.stderr.read_text()


async def test_nothing_is_left_when_the_local_azure_stops(tmp_path):
    async with LocalAzure(tmp_path / "azure") as azure, open_arm(azure) as arm:
        await arm.hire("left", "trap '' TERM; echo $$; setsid sleep 600 & echo $!; while :; do sleep 0.1; done")
        found = await pids(arm, "left", 2)
    assert all(gone(pid) for pid in found)


async def test_scheduled_events_reach_the_node_that_they_name(arm: Arm):
    """A typed injection is seen by the job through its own endpoint."""
    program = (
        "import json, os, urllib.request as u; r = u.Request(os.environ['AZURE_POD_IDENTITY_AUTHORITY_HOST']"
        "+ '/metadata/scheduledevents?api-version=2020-07-01', headers={'Metadata': 'true'});"
        "print(json.load(u.urlopen(r))['Events'][0]['EventType'])"
    )
    await arm.hire("watch", f'until python -c "{program}" 2>/dev/null; do sleep 0.1; done')
    job = await arm.until("watch", "Running")
    node = arm.azure.node(str(job.node))
    node.metadata.events.schedule(ScheduledEvent("Preempt", (node.node_id,)))
    assert (await arm.until("watch", "Completed")).stdout.read_text() == "Preempt\n"
