"""Jobs and clusters by the resource manager: what hiring, counting and cancelling rely on."""

from __future__ import annotations

import asyncio
import uuid

import aiohttp

from jobq.connect import open_transport
from tests.conformance.conftest import MINE, ML_VERSION, Arm, eventually
from tests.contract.azureml.test_recorded_shapes import RECORDED_COMPUTE, RECORDED_ERROR, RECORDED_JOB, differences

ENDED = ("Completed", "Failed", "Canceled")


async def test_without_a_token_the_answer_is_a_challenge(place):
    url = f"{place.cloud.resource_manager}{place.workspace_id}/jobs?api-version={ML_VERSION}"
    async with open_transport(place.cloud) as transport:
        session = transport.session
        assert isinstance(session, aiohttp.ClientSession)
        async with session.get(url) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


async def test_a_put_that_is_repeated_makes_one_job_and_the_job_says_so(arm: Arm, job_name):
    """Whether the repetition is 200 or refused as a change, the name leads to the one job of the first."""
    body = await arm.body("sleep 60")
    first = await arm.job("PUT", job_name, body)
    assert first.status_code == 201, first.text()
    again = await arm.job("PUT", job_name, body)
    assert again.status_code == 200 or (again.status_code == 400 and "JobPropertyImmutable" in again.text())
    read = await arm.job("GET", job_name)
    assert read.json()["systemData"]["createdAt"] == first.json()["systemData"]["createdAt"]


async def test_puts_of_one_name_at_the_same_time_make_one_job(arm: Arm, job_name):
    body = await arm.body("sleep 60")
    answers = await asyncio.gather(*(arm.job("PUT", job_name, body) for _ in range(4)))
    statuses = [answer.status_code for answer in answers]
    assert 201 in statuses
    assert set(statuses) <= {200, 201, 400, 409}
    assert (await arm.job("GET", job_name)).status_code == 200


async def test_the_command_of_a_job_does_not_change(arm: Arm, job_name):
    body = await arm.body("sleep 60")
    await arm.job("PUT", job_name, body)
    changed = {"properties": {**body["properties"], "command": "sleep 61"}}
    refused = await arm.job("PUT", job_name, changed)
    assert refused.status_code == 400
    assert "JobPropertyImmutable" in refused.text()
    assert (await arm.job("GET", job_name)).json()["properties"]["command"] == "sleep 60"


async def test_a_new_job_has_the_recorded_shape(arm: Arm, job_name):
    answer = await arm.job("PUT", job_name, await arm.body("sleep 60", resources={"instanceCount": 1}))
    assert differences(RECORDED_JOB, answer.json()) == []
    assert answer.json()["name"] == job_name


async def test_jobs_are_found_by_a_property_and_its_value(arm: Arm, job_name):
    """Ownership and cohorts are such properties."""
    value = uuid.uuid4().hex
    await arm.job("PUT", job_name, await arm.body("sleep 60", properties={MINE: value}))

    async def listed(wanted: str) -> list[str]:
        page = (await arm.send("GET", f"{arm.place.workspace_id}/jobs", properties=f"{MINE}={wanted}")).json()
        names = [job["name"] for job in page["value"]]
        while page.get("nextLink"):
            page = (await arm.send("GET", page["nextLink"])).json()
            names += [job["name"] for job in page["value"]]
        return names

    async def found() -> bool:
        return await listed(value) == [job_name]

    await eventually(found, arm.place, f"{job_name} to be listed")
    assert await listed(uuid.uuid4().hex) == []


async def test_a_job_runs_to_its_end_and_tells_when_it_ran(arm: Arm, job_name):
    await arm.job("PUT", job_name, await arm.body('test -n "$AZUREML_RUN_ID"'))
    await arm.until(job_name, *ENDED)
    properties = (await arm.job("GET", job_name)).json()["properties"]
    assert properties["status"] == "Completed"
    assert {"StartTimeUtc", "EndTimeUtc"} <= set(properties["properties"])


async def test_a_command_that_fails_is_a_failed_job(arm: Arm, job_name):
    await arm.job("PUT", job_name, await arm.body("exit 3"))
    await arm.until(job_name, *ENDED)
    assert await arm.status(job_name) == "Failed"


async def test_a_cancelled_job_is_canceled_and_cancelling_it_again_changes_nothing(arm: Arm, job_name):
    await arm.job("PUT", job_name, await arm.body("sleep 3600"))
    answer = await arm.job("POST", job_name, action="/cancel")
    assert answer.status_code in (200, 202)
    await arm.until(job_name, *ENDED)
    again = await arm.job("POST", job_name, action="/cancel")
    assert again.status_code in (200, 202)
    assert await arm.status(job_name) == "Canceled"


async def test_a_job_that_does_not_exist_is_404_in_the_recorded_shape(arm: Arm):
    answer = await arm.job("GET", f"{MINE}-{uuid.uuid4().hex}")
    assert answer.status_code == 404
    assert differences(RECORDED_ERROR, answer.json()) == []


async def test_a_compute_that_does_not_exist_is_refused_at_once(arm: Arm, job_name):
    wrong = f"{arm.place.workspace_id}/computes/{uuid.uuid4().hex[:8]}"
    answer = await arm.job("PUT", job_name, await arm.body(computeId=wrong))
    assert 400 <= answer.status_code < 500


async def test_an_environment_that_does_not_exist_is_refused(arm: Arm, job_name):
    wrong = f"{arm.place.workspace_id}/environments/{uuid.uuid4().hex[:8]}/versions/1"
    answer = await arm.job("PUT", job_name, await arm.body(environmentId=wrong))
    assert 400 <= answer.status_code < 500


async def test_ids_are_read_without_regard_to_case(arm: Arm, job_name):
    await arm.job("PUT", job_name, await arm.body("sleep 60"))
    upper = arm.place.workspace_id.replace("resourceGroups", "RESOURCEGROUPS").replace(
        f"/{arm.place.workspace}", f"/{arm.place.workspace.upper()}"
    )
    answer = await arm.send("GET", f"{upper}/jobs/{job_name}")
    assert (answer.status_code, answer.json()["name"]) == (200, job_name)


async def test_a_cluster_has_the_recorded_shape(arm: Arm):
    """Capacity is computed from its counts."""
    answer = await arm.send("GET", f"{arm.place.workspace_id}/computes/{arm.place.compute}")
    assert differences(RECORDED_COMPUTE, answer.json()) == []


async def test_answers_say_how_many_more_requests_are_let_through(arm: Arm, job_name):
    """The governor paces by them."""
    read = await arm.send("GET", f"{arm.place.workspace_id}/computes/{arm.place.compute}")
    assert any(name.lower().startswith("x-ms-ratelimit-remaining-subscription") for name in read.headers)
    write = await arm.job("PUT", job_name, await arm.body("sleep 60"))
    assert any(name.lower().startswith("x-ms-ratelimit-remaining-subscription") for name in write.headers)
