"""A hire's body is what azure-ai-ml would have sent; and the program that asks azure-ai-ml fails in our words."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from jobq.connect import open_transport
from tests.contract.operator_ports.conftest import name_of, place, real_arm
from tests.contract.operator_ports.scripted_arm import ScriptedArm, Seen, StaticCredential, answer, drop, scripted_arm
from tests.support.workforces import IDENTITY
from workforce_operator.adapters.arm.client import ArmClient
from workforce_operator.adapters.arm.governor import Governor
from workforce_operator.adapters.azureml.child_process import ChildProcess
from workforce_operator.adapters.azureml.templates import ChildTemplates
from workforce_operator.adapters.azureml.worker_jobs import ArmWorkerJobs, workspace_path
from workforce_operator.adapters.memory import MemoryGuard, MemoryTemplates
from workforce_operator.api.template import Environment, Identity, Template
from workforce_operator.domain.errors import Denied, Fenced, SpecError, Throttled, Unavailable
from workforce_operator.ports.azure import Workplace

HERE = place()
SECONDS = 60
IMAGE = Environment(type="Image", image="ghcr.io/x/worker:1")
REGISTERED = Environment(type="Registered", name="worker", version="3")
PLAIN = Template(environment=REGISTERED, timeout_seconds=3600)
FULL = Template(
    command="workforce-agent run --heartbeat",
    environment=IMAGE,
    identity=Identity(
        type="Managed",
        resource_id=IDENTITY,
        client_id="1b0d0000-0000-0000-0000-0",
    ),
    shm_size="256Mi",
    timeout_seconds=1_209_600,
    tags={"ProjectID": "p1", "team": "chem"},
)
VARIABLES = {"A": "1", "SECRET": "ünïcode", "JOBQ_TIME_LIMIT": "3600s"}
VIRTUAL = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/virtualclusters/vc"
CODE = (
    "/subscriptions/{0.subscription_id}/resourceGroups/{0.resource_group}/providers/Microsoft.MachineLearningServices"
)
CODE = (CODE + "/workspaces/{0.workspace}/codes/agent/versions/7").format(HERE.coordinates)
BLOB = "wasbs://data@account.blob.core.windows.net"
AISC = {"AISuperComputer": {"slaTier": "Premium", "interactive": False, "scalePolicy": {"autoScaleIntervalInSec": 180}}}


def changed(**changes: Any) -> Template:
    """The plain template with other fields, as they are in a Workforce."""
    return Template.model_validate(PLAIN.model_dump(by_alias=True, exclude_unset=True) | changes)


@dataclass(frozen=True)
class Feature:
    """One field: as a Workforce has it, and as a person tells azure-ai-ml."""

    template: Template
    words: dict[str, Any]
    compute: str = HERE.coordinates.compute

    @property
    def place(self) -> Workplace:
        return replace(HERE, coordinates=HERE.coordinates.model_copy(update={"compute": self.compute}))


FEATURES = {
    "registered environment, no tags": Feature(PLAIN, {}),
    "command": Feature(changed(command="mkdir -p /a && true"), {"command": "mkdir -p /a && true"}),
    "image": Feature(changed(environment={"type": "Image", "image": "x/y:1"}), {"image": "x/y:1"}),
    "timeout": Feature(changed(timeoutSeconds=1_209_600), {"timeout": 14 * 24 * 3600}),
    "tags": Feature(changed(tags={"ProjectID": "p1", "a": "b"}), {"tags": {"ProjectID": "p1", "a": "b"}}),
    "shared memory": Feature(changed(shmSize="256Mi"), {"shm_size": "256m"}),
    "managed identity": Feature(
        changed(identity={"type": "Managed", "resourceId": IDENTITY, "clientId": "1b0d0000-0000-0000-0000-0"}),
        {"identity": {"resource_id": IDENTITY, "client_id": "1b0d0000-0000-0000-0000-0"}},
    ),
    "the compute's identity": Feature(changed(identity={"type": "Managed"}), {"identity": {}}),
    "submitter's identity": Feature(changed(identity={"type": "User"}), {"identity": "user"}),
    "code by name": Feature(changed(code="azureml:agent:7"), {"code": CODE}),
    "code by id": Feature(changed(code=CODE), {"code": CODE}),
    "inputs": Feature(
        changed(
            command="run ${{inputs.folder}} ${{inputs.file}} ${{inputs.asset}} ${{inputs.number}}",
            inputs={
                "folder": {"type": "uri_folder", "path": f"{BLOB}/in/", "mode": "ro_mount"},
                "file": {"type": "uri_file", "path": "azureml://datastores/d/paths/x.csv", "mode": "download"},
                "asset": {"type": "uri_folder", "path": "azureml:set:3"},
                "number": {"type": "literal", "value": "3"},
            },
        ),
        {
            "command": "run ${{inputs.folder}} ${{inputs.file}} ${{inputs.asset}} ${{inputs.number}}",
            "inputs": {
                "folder": {"type": "uri_folder", "path": f"{BLOB}/in/", "mode": "ro_mount"},
                "file": {"type": "uri_file", "path": "azureml://datastores/d/paths/x.csv", "mode": "download"},
                "asset": {"type": "uri_folder", "path": "azureml:set:3"},
                "number": "3",
            },
        },
    ),
    "mounted blob container": Feature(
        changed(
            command='ln -s "${{outputs.blobstor}}" /cache && run',
            outputs={"blobstor": {"path": BLOB, "mode": "rw_mount"}, "own": {"type": "uri_file"}},
        ),
        {
            "command": 'ln -s "${{outputs.blobstor}}" /cache && run',
            "outputs": {"blobstor": {"path": BLOB, "mode": "rw_mount"}, "own": {"type": "uri_file"}},
        },
    ),
    "resources": Feature(
        changed(resources={"instanceType": "STANDARD_D2", "properties": AISC}),
        {"instance_type": "STANDARD_D2", "resource_properties": AISC},
    ),
    "resources of singularity": Feature(
        changed(resources={"properties": {"singularity": {"slaTier": "Basic"}}}),
        {"resource_properties": {"singularity": {"slaTier": "Basic"}}},
    ),
    "virtual cluster": Feature(
        changed(resources={"instanceType": "Singularity.ND40"}, queueSettings={"jobTier": "Spot", "priority": "High"}),
        {"instance_type": "Singularity.ND40", "job_tier": "Spot", "priority": "High", "compute": VIRTUAL},
        compute=VIRTUAL,
    ),
}
_KEPT: dict[str, Any] = {}
"""What both sides said, asked once: each costs seconds before its first answer."""


@pytest_asyncio.fixture
async def arm(tmp_path):
    async with scripted_arm(tmp_path) as server:
        yield server


@pytest_asyncio.fixture
async def templates(arm):
    it = ChildTemplates(arm.cloud(), StaticCredential(), Governor(), MemoryGuard())
    yield it
    await it.close()


async def submitted_by_the_sdk(arm: ScriptedArm) -> dict[str, Seen]:
    """The PUTs that azure-ai-ml sends when a person submits the jobs, by feature."""
    at = HERE.coordinates
    common = {
        "command": "workforce-agent run",
        "environment": "worker:3",
        "timeout": 3600,
        "tags": {},
        "compute": at.compute,
        "experiment_name": at.experiment,
        "environment_variables": VARIABLES,
        "instance_count": 1,
    }
    names = {feature: f"reference-{number:02}" for number, feature in enumerate(FEATURES)}
    given = {
        "url": arm.url,
        "ca": str(arm.ca_file),
        "subscription": at.subscription_id,
        "group": at.resource_group,
        "workspace": at.workspace,
        "jobs": [common | {"name": names[feature]} | it.words for feature, it in FEATURES.items()],
    }
    program = Path(__file__).with_name("sdk_reference.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), stdin=-1, stdout=-1, stderr=-1, cwd="/", env={"PATH": os.environ["PATH"]}
    )
    _, said = await asyncio.wait_for(process.communicate(json.dumps(given).encode()), SECONDS)
    assert process.returncode == 0, said.decode()[-2000:]
    calls = {feature: arm.calls("PUT", f"/jobs/{name}")[-1] for feature, name in names.items()}
    for feature, name in names.items():
        assert calls[feature].body["properties"].pop("displayName") == name
    return calls


async def hired_by_us(arm: ScriptedArm, templates: ChildTemplates) -> dict[str, Seen]:
    """The PUTs of hires with the same templates, by feature."""
    calls = {}
    async with open_transport(arm.cloud()) as transport:
        jobs = ArmWorkerJobs(ArmClient(arm.cloud(), StaticCredential(), transport, Governor(), MemoryGuard()))
        for number, (feature, it) in enumerate(FEATURES.items()):
            body = await templates.resolve(it.template, it.place, environment=VARIABLES, template_hash="v1:test")
            await jobs.hire(it.place, name_of(HERE, number), number, body)
            calls[feature] = arm.calls("PUT", f"/jobs/{name_of(HERE, number)}")[-1]
            assert calls[feature].body["properties"].pop("displayName") == name_of(HERE, number)
    return calls


@pytest.mark.parametrize("feature", FEATURES)
async def test_a_hire_sends_field_by_field_what_azure_ai_ml_would_have_sent(arm, templates, feature):
    if not _KEPT:
        _KEPT["theirs"] = await submitted_by_the_sdk(arm)
        _KEPT["ours"] = await hired_by_us(arm, templates)
    theirs, ours = _KEPT["theirs"][feature], _KEPT["ours"][feature]
    expected, sent = copy.deepcopy(theirs.body["properties"]), copy.deepcopy(ours.body["properties"])

    assert set(sent.pop("properties")) - set(expected.pop("properties")) == {
        "workforce-owner",
        "workforce-installation",
        "workforce-cohort",
        "workforce-template",
    }
    limit = int(sent["environmentVariables"].pop("JOBQ_TIME_LIMIT").removesuffix("s"))
    assert 0.9 * 3600 <= limit <= 3600
    assert expected["environmentVariables"].pop("JOBQ_TIME_LIMIT") == "3600s"
    assert sent == expected
    assert {"command", "computeId", "environmentId", "environmentVariables", "limits", "tags"} <= set(sent)
    assert ("x-azureml-token" in ours.headers) == ("x-azureml-token" in theirs.headers)


def test_the_features_together_have_every_field_that_a_template_can_have():
    said = set().union(*(it.template.model_fields_set for it in FEATURES.values()))
    assert said | {"environment_variables", "slots"} == set(Template.model_fields)


async def test_resolving_submits_no_job_and_registers_nothing_but_an_image_and_that_once(arm, templates):
    await templates.resolve(PLAIN, HERE, environment=VARIABLES, template_hash="v1:test")
    assert arm.seen == []
    await templates.resolve(FULL, HERE, environment=VARIABLES, template_hash="v1:test")
    await templates.resolve(FULL, HERE, environment=VARIABLES, template_hash="v1:test")
    assert arm.calls("PUT", "/jobs/") == []
    assert len(arm.calls("PUT", "/environments/")) == 1


async def test_workforces_with_equal_templates_share_a_resolution_and_no_names_or_variables(arm, templates):
    other = HERE.coordinates.model_copy(update={"experiment": "another"})
    first = await templates.resolve(FULL, HERE, environment=VARIABLES, template_hash="v1:a")
    second = await templates.resolve(
        FULL, replace(HERE, coordinates=other), environment={"B": "2"}, template_hash="v1:b"
    )
    assert len(arm.seen) == 1
    own = {"experimentName": "another", "environmentVariables": {"B": "2"}}
    assert second.properties == first.properties | own
    assert first.properties["environmentVariables"] == VARIABLES


@pytest.mark.parametrize("make", [MemoryTemplates, None])
async def test_every_input_that_differs_is_resolved_anew(templates: ChildTemplates, make):
    it = make() if make else templates
    elsewhere = place("west", workspace="ws-westeurope")
    first = await it.resolve(PLAIN, HERE, environment=VARIABLES, template_hash="v1:a")
    region = await it.resolve(PLAIN, elsewhere, environment=VARIABLES, template_hash="v1:a")
    variables = await it.resolve(PLAIN, HERE, environment={"A": "2"}, template_hash="v1:a")
    hashed = await it.resolve(PLAIN, HERE, environment=VARIABLES, template_hash="v1:b")
    assert first.properties["experimentName"] != region.properties["experimentName"]
    assert variables.properties["environmentVariables"] == {"A": "2"}
    assert (first.template_hash, hashed.template_hash) == ("v1:a", "v1:b")
    assert first.properties["command"] == "workforce-agent run"


@pytest.mark.parametrize("environment", [Environment(type="Image"), Environment(type="Registered", name="worker")])
async def test_a_template_that_is_incomplete_is_the_user_s_to_mend(templates: ChildTemplates, environment):
    with pytest.raises(SpecError) as caught:
        await templates.resolve(Template(environment=environment), HERE, environment={}, template_hash="v1:a")
    assert caught.value.reason == "InvalidTemplate"


async def test_a_template_that_azure_ai_ml_refuses_is_the_user_s_to_mend(templates: ChildTemplates):
    broken = PLAIN.model_copy(update={"command": "run ${{inputs.nothing}}"})
    with pytest.raises(SpecError) as caught:
        await templates.resolve(broken, HERE, environment={}, template_hash="v1:a")
    assert caught.value.reason == "InvalidTemplate"


async def test_what_azure_says_to_azure_ai_ml_reaches_us_in_our_words(arm, templates):
    for reply, expected in (
        (answer(503, "<html>busy</html>"), Unavailable),
        (answer(403, {"error": {"code": "AuthorizationFailed", "message": "x"}}), Denied),
        (answer(400, {"error": {"code": "UserError", "message": "no such image"}}), SpecError),
        (answer(429, {"error": {"code": "TooManyRequests", "message": "x"}}), Throttled),
        (drop, Unavailable),
    ):
        arm.script.append(reply)
        with pytest.raises(expected):
            await templates.resolve(FULL, HERE, environment={}, template_hash="v1:a")
        arm.script.clear()
    await templates.resolve(FULL, HERE, environment={}, template_hash="v1:a")


async def test_an_image_is_not_registered_without_the_lease(arm: ScriptedArm):
    templates = ChildTemplates(arm.cloud(), StaticCredential(), Governor(), MemoryGuard(held=False))
    with pytest.raises(Fenced):
        await templates.resolve(FULL, HERE, environment={}, template_hash="v1:a")
    assert arm.seen == []
    await templates.close()


async def test_azure_ai_ml_never_calls_another_host_than_the_one_configured(arm, monkeypatch):
    monkeypatch.setenv("AZUREML_DEV_URL_MFE", "https://127.0.0.1:1/")
    monkeypatch.setenv("ARM_CLOUD_METADATA_URL", "https://127.0.0.1:1/metadata")
    templates = ChildTemplates(arm.cloud(), StaticCredential(), Governor(), MemoryGuard())
    await templates.resolve(FULL, HERE, environment={}, template_hash="v1:a")
    assert len(arm.seen) == 1
    await templates.close()


async def test_a_program_that_dies_is_started_again(templates: ChildTemplates):
    broken = ChildProcess((sys.executable, "-c", "import sys; sys.stderr.write('out of memory'); sys.exit(3)"))
    with pytest.raises(Unavailable, match="out of memory"):
        await broken.ask({})
    with pytest.raises(Unavailable, match="out of memory"):
        await broken.ask({})


async def test_a_program_that_hangs_is_ended():
    hanging = ChildProcess((sys.executable, "-c", "import time; time.sleep(600)"), answer_seconds=0.5)
    with pytest.raises(Unavailable, match="did not answer"):
        await hanging.ask({})


async def test_a_program_that_cannot_be_started_is_told():
    with pytest.raises(Unavailable, match="cannot start"):
        await ChildProcess(("/nonexistent/python",)).ask({})


async def ended(pid: int) -> None:
    deadline = asyncio.get_running_loop().time() + SECONDS
    while psutil.pid_exists(pid):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)


async def test_an_idle_program_ends_by_itself_and_comes_back_when_needed():
    echo = "import sys, os, json\nfor line in sys.stdin: print(json.dumps({'pid': os.getpid()}), flush=True)"
    child = ChildProcess((sys.executable, "-c", echo), idle_seconds=0.2)
    first = (await child.ask({}))["pid"]
    await ended(first)
    second = (await child.ask({}))["pid"]
    again = (await child.ask({}))["pid"]
    await child.close()
    assert second == again != first


async def test_the_newest_version_of_an_environment_is_what_azure_ai_ml_takes_for_its_label(tmp_path, monkeypatch):
    async with real_arm(tmp_path, monkeypatch) as real:
        templates = ChildTemplates(real.cloud, real.credential, real.governor, real.guard)
        try:
            assert await templates.latest_version(HERE, "worker") == "1"
            path = f"{workspace_path(HERE)}/environments/worker/versions/2"
            properties = {"properties": {"image": "x/y:2"}}
            await real.arm.write(
                "PUT", path, api_version="2023-04-01", what="register", turn="somebody", body=properties
            )
            assert await templates.latest_version(HERE, "worker") == "2"
            with pytest.raises(SpecError) as caught:
                await templates.latest_version(HERE, "nothing")
            assert caught.value.reason == "InvalidTemplate"
        finally:
            await templates.close()


async def test_the_daemon_never_imports_azure_ai_ml():
    program = (
        "import sys, importlib, pkgutil, workforce_operator.adapters as package\n"
        "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    if not module.name.endswith('resolve_child'): importlib.import_module(module.name)\n"
        "found = sorted(name for name in sys.modules if name.startswith('azure.ai'))\n"
        "print(found)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=-1)
    said, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 0
    assert said.decode().strip() == "[]"


async def test_a_resolved_template_is_hired_on_the_local_azure(tmp_path, monkeypatch):
    async with real_arm(tmp_path, monkeypatch) as real:
        templates = ChildTemplates(real.cloud, real.credential, real.governor, real.guard)
        try:
            template = FULL.model_copy(update={"command": "sleep 60"})
            body = await templates.resolve(template, HERE, environment=VARIABLES, template_hash="v1:test")
        finally:
            await templates.close()
        job = await ArmWorkerJobs(real.arm).hire(HERE, name_of(HERE, 0), 0, body)
        assert job.template_hash == "v1:test"
        assert [view.name for view in real.azure.jobs()] == [job.name]
