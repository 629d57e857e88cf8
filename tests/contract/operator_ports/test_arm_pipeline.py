"""The ARM pipeline and the worker jobs over it, against a service that misbehaves: real sockets, real azure-core."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import pytest_asyncio

from jobq.connect import open_transport
from tests.contract.operator_ports.conftest import body_for, name_of, place
from tests.contract.operator_ports.scripted_arm import ScriptedArm, StaticCredential, answer, drop, scripted_arm
from workforce_operator.adapters.arm import client as client_module
from workforce_operator.adapters.arm.client import ArmClient
from workforce_operator.adapters.arm.governor import Governor
from workforce_operator.adapters.azureml.worker_jobs import ArmWorkerJobs
from workforce_operator.adapters.memory import MemoryGuard
from workforce_operator.domain.errors import Denied, Fenced, Missing, SpecError, Throttled, Unavailable

HERE = place()
NAME = name_of(HERE, 0)
HTML = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"
IMMUTABLE = {
    "error": {
        "code": "UserError",
        "message": "exists",
        "additionalInfo": [
            {
                "type": "InnerError",
                "info": {"value": {"code": "Immutable", "innerError": {"code": "JobPropertyImmutable"}}},
            }
        ],
    }
}


@pytest_asyncio.fixture
async def arm(tmp_path):
    async with scripted_arm(tmp_path) as server:
        yield server


@pytest_asyncio.fixture
async def jobs(arm):
    async with open_transport(arm.cloud()) as transport:
        yield ArmWorkerJobs(ArmClient(arm.cloud(), StaticCredential(), transport, Governor(), MemoryGuard()))


def document(state: str = "Running") -> dict:
    own = {"workforce-owner": HERE.owner, "workforce-template": "v1:test"}
    return {"name": NAME, "properties": {"status": state, "properties": own}}


async def test_whoever_loses_the_lease_while_its_token_is_fetched_sends_nothing(arm: ScriptedArm):
    guard = MemoryGuard()

    class Slow(StaticCredential):
        async def get_token(self, *scopes, **options):
            guard.held = False
            return await super().get_token(*scopes, **options)

    async with open_transport(arm.cloud()) as transport:
        jobs = ArmWorkerJobs(ArmClient(arm.cloud(), Slow(), transport, Governor(), guard))
        with pytest.raises(Fenced):
            await jobs.hire(HERE, NAME, 0, body_for(HERE))
    assert arm.seen == []


async def test_a_hire_is_exactly_one_put_and_nothing_else(arm: ScriptedArm, jobs: ArmWorkerJobs):
    await jobs.hire(HERE, NAME, 0, body_for(HERE))
    assert [(seen.method, seen.path.rsplit("/", 1)[1]) for seen in arm.seen] == [("PUT", NAME)]
    assert arm.seen[0].headers["Authorization"] == "Bearer token"


@pytest.mark.parametrize("reply", [answer(200, document()), answer(400, IMMUTABLE)])
async def test_an_answer_that_the_job_exists_is_settled_by_reading_it(arm: ScriptedArm, jobs: ArmWorkerJobs, reply):
    arm.script.extend([reply, answer(200, document("Completed"))])
    job = await jobs.hire(HERE, NAME, 0, body_for(HERE))
    assert job.state == "Completed"
    assert [seen.method for seen in arm.seen] == ["PUT", "GET"]


async def test_a_job_that_exists_and_cannot_be_found_is_no_hire(arm: ScriptedArm, jobs: ArmWorkerJobs):
    arm.script.extend([answer(400, IMMUTABLE), answer(404, {"error": {"code": "UserError", "message": "no run"}})])
    with pytest.raises(Unavailable):
        await jobs.hire(HERE, NAME, 0, body_for(HERE))


async def test_a_refused_body_is_the_user_s_to_mend(arm: ScriptedArm, jobs: ArmWorkerJobs):
    arm.script.append(answer(400, {"error": {"code": "UserError", "message": "bad compute"}}))
    with pytest.raises(SpecError, match="bad compute") as caught:
        await jobs.hire(HERE, NAME, 0, body_for(HERE))
    assert caught.value.reason == "InvalidTemplate"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(503, HTML), Unavailable),
        (answer(500, {"error": {"code": "InternalServerError", "message": "x"}}), Unavailable),
        (answer(200, HTML), Unavailable),
        (answer(200, ["not", "a", "job"]), Unavailable),
        (answer(404, HTML), Unavailable),
        (answer(302, None, Location="https://elsewhere.local.test/"), Unavailable),
        (answer(401, {"error": {"code": "InvalidAuthenticationToken", "message": "x"}}), Denied),
        (answer(403, {"error": {"code": "AuthorizationFailed", "message": "x"}}), Denied),
        (answer(404, {"error": {"code": "ResourceNotFound", "message": "x"}}), Missing),
        (answer(429, {"error": {"code": "TooManyRequests", "message": "x"}}, Retry_After="2"), Throttled),
        (drop, Unavailable),
    ],
)
async def test_each_misbehaviour_has_one_meaning_and_none_is_absence(arm, jobs, reply, expected):
    arm.script.extend([reply, reply])
    with pytest.raises(expected):
        await jobs.get(HERE, NAME)


async def test_a_compute_that_is_not_there_is_told_by_its_code(arm: ScriptedArm, jobs: ArmWorkerJobs):
    inner = [{"type": "InnerError", "info": {"value": {"code": "NotFound", "innerError": {"code": "ComputeNotFound"}}}}]
    arm.script.append(answer(400, {"error": {"code": "UserError", "message": "x", "additionalInfo": inner}}))
    with pytest.raises(SpecError, match=f"compute {HERE.coordinates.compute} is not in workspace") as caught:
        await jobs.hire(HERE, NAME, 0, body_for(HERE))
    assert caught.value.reason == "ComputeNotFound"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("SubscriptionNotFound", Missing),
        ("ResourceGroupNotFound", Missing),
        ("ResourceNotFound", Missing),
        ("UserError", Unavailable),
        ("InvalidResourceType", Unavailable),
    ],
)
async def test_only_a_workspace_that_is_said_not_to_exist_is_missing(arm, jobs, code, expected):
    """A deletion counts such a region as empty: any other 404 of a list must not read like it."""
    arm.script.append(answer(404, {"error": {"code": code, "message": "x"}}))
    with pytest.raises(expected):
        await jobs.list_owned(HERE)


async def test_a_service_that_says_nothing_is_unavailable(arm: ScriptedArm, jobs: ArmWorkerJobs, monkeypatch):
    monkeypatch.setattr(client_module, "READ_SECONDS", 0.2)

    async def stall(_):
        await asyncio.sleep(30)

    arm.script.append(stall)
    with pytest.raises(Unavailable):
        await jobs.get(HERE, NAME)


async def test_a_service_that_is_not_there_is_unavailable(arm: ScriptedArm):
    cloud = replace(arm.cloud(), resource_manager="https://127.0.0.1:1")
    async with open_transport(cloud) as transport:
        jobs = ArmWorkerJobs(ArmClient(cloud, StaticCredential(), transport, Governor(), MemoryGuard()))
        with pytest.raises(Unavailable):
            await jobs.get(HERE, NAME)


async def test_a_refusal_to_serve_silences_writes_of_the_subscription_and_not_reads(
    arm: ScriptedArm, jobs: ArmWorkerJobs
):
    arm.script.append(answer(429, {"error": {"code": "TooManyRequests", "message": "x"}}, Retry_After="600"))
    for _ in range(3):
        with pytest.raises(Throttled) as caught:
            await jobs.hire(HERE, NAME, 0, body_for(HERE))
        assert 500 < caught.value.retry_after <= 600
    assert len(arm.calls("PUT")) == 1
    arm.script.append(answer(200, document()))
    assert await jobs.get(HERE, NAME) is not None


async def test_a_list_follows_the_service_s_links(arm: ScriptedArm, jobs: ArmWorkerJobs):
    link = f"{arm.url}/more?page=2"
    arm.script.extend([answer(200, {"value": [], "nextLink": link}), answer(200, {"value": [document()]})])
    (job,) = await jobs.list_owned(HERE)
    assert job.name == NAME
    assert arm.seen[0].query["properties"] == f"workforce-owner={HERE.owner}"
    assert arm.seen[1].query == {"page": "2"}


@pytest.mark.parametrize("link", ["https://evil.local.test/steal", "itself"])
async def test_a_list_s_link_to_elsewhere_or_to_itself_is_not_followed(arm: ScriptedArm, jobs: ArmWorkerJobs, link):
    link = f"{arm.url}/more" if link == "itself" else link
    arm.script.extend(answer(200, {"value": [], "nextLink": link}) for _ in range(5))
    with pytest.raises(Unavailable):
        await jobs.list_owned(HERE)


async def test_half_a_list_is_no_list(arm: ScriptedArm, jobs: ArmWorkerJobs):
    arm.script.extend([answer(200, {"value": [document()], "nextLink": f"{arm.url}/more"}), answer(503, HTML)])
    with pytest.raises(Unavailable):
        await jobs.list_owned(HERE)


async def test_connections_are_used_again(arm: ScriptedArm, jobs: ArmWorkerJobs):
    for _ in range(5):
        await jobs.hire(HERE, NAME, 0, body_for(HERE))
    assert len({seen.peer for seen in arm.seen}) == 1


async def test_the_number_of_remaining_writes_is_learned(arm: ScriptedArm):
    governor = Governor()
    async with open_transport(arm.cloud()) as transport:
        jobs = ArmWorkerJobs(ArmClient(arm.cloud(), StaticCredential(), transport, governor, MemoryGuard()))
        arm.script.append(answer(201, document(), **{"x-ms-ratelimit-remaining-subscription-writes": "0"}))
        await jobs.hire(HERE, NAME, 0, body_for(HERE))
        loop = asyncio.get_running_loop()
        before = loop.time()
        await jobs.hire(HERE, NAME, 0, body_for(HERE))
        assert loop.time() - before >= 0.05
