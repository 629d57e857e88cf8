"""The resource manager through azure-mgmt-core's asynchronous pipeline, errors and lists as Azure answers them."""

from __future__ import annotations

import asyncio
import ssl
import time

import aiohttp
import pytest

from tests.contract.azureml.conftest import API_VERSION, Arm, eventually, open_arm
from tests.support.azure import FAST
from workforce_local.azure import LocalAzure
from workforce_local.config import ArmConfig, ComputeConfig, LocalConfig, TimingConfig, WorkspaceConfig
from workforce_local.identity import Issuer

CLIENT = "00000000-0000-4000-8000-0000000000cc"
JOB = (
    "/subscriptions/{subscription}/resourceGroups/{group}"
    "/providers/Microsoft.MachineLearningServices/workspaces/{workspace}/jobs/{name}"
)


def one_workspace(**settings):
    computes = (ComputeConfig(name="cluster", max_nodes=settings.pop("max_nodes", 4)),)
    workspace = WorkspaceConfig(name="ws-uksouth", location="uksouth", computes=computes)
    return LocalConfig(workspaces=(workspace,), **{"timing": FAST, **settings})


async def raw(azure, path, token=None, method="GET", **headers):
    """A request without any SDK: status, headers and JSON."""
    context = ssl.create_default_context(cafile=str(azure.ca_file))
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.request(method, azure.base_url + path, headers=headers) as response,
    ):
        return response.status, response.headers, await response.json()


class TestTokens:
    """Bearer tokens are checked: issuer, audience and expiry."""

    @pytest.fixture
    def path(self, local_azure):
        return f"/subscriptions/{local_azure.config.subscription_id}/x?api-version=1"

    async def test_without_a_token_the_answer_is_401(self, local_azure, path):
        status, headers, body = await raw(local_azure, path)
        assert (status, body["error"]["code"]) == (401, "AuthenticationFailed")
        assert headers["WWW-Authenticate"].startswith("Bearer ")

    async def test_a_token_for_storage_opens_nothing_here(self, local_azure, path):
        token = local_azure.issuer.mint("https://storage.azure.com", CLIENT)
        status, _, body = await raw(local_azure, path, token.value)
        assert (status, body["error"]["code"]) == (401, "InvalidAuthenticationTokenAudience")

    async def test_an_expired_token_is_refused(self, local_azure, path):
        token = local_azure.issuer.mint(local_azure.base_url, CLIENT, lifetime=-10)
        status, _, body = await raw(local_azure, path, token.value)
        assert (status, body["error"]["code"]) == (401, "ExpiredAuthenticationToken")

    async def test_a_token_of_another_issuer_is_refused(self, local_azure, path, tmp_path):
        other = Issuer.load(tmp_path / "other.pem", local_azure.config.tenant_id)
        status, _, body = await raw(local_azure, path, other.mint(local_azure.base_url, CLIENT).value)
        assert (status, body["error"]["code"]) == (401, "InvalidAuthenticationToken")

    async def test_the_public_audience_is_accepted_too(self, local_azure, path):
        token = local_azure.issuer.mint("https://management.azure.com", CLIENT)
        status, _, _ = await raw(local_azure, path, token.value)
        assert status == 404, "let in, but there is no such resource"


class TestAddresses:
    """ARM resource ids: ids in any case, any api-version, and ARM's own errors for what is missing."""

    async def test_ids_are_read_without_regard_to_case(self, arm: Arm):
        await arm.hire("case")
        upper = arm.azure.base_url + arm.workspace.upper() + "/JOBS/case"
        response = await arm.send("GET", f"{upper}?api-version={API_VERSION}")
        assert (response.status_code, response.json()["name"]) == (200, "case")

    @pytest.mark.parametrize("version", ["2022-10-01", "2024-04-01", "2099-01-01-preview"])
    async def test_any_api_version_is_served(self, arm: Arm, version):
        assert (await arm.get("/jobs", **{"api-version": version}))["value"] == []

    async def test_an_api_version_is_required(self, arm: Arm):
        response = await arm.send("GET", f"{arm.azure.base_url}{arm.workspace}/jobs")
        assert response.json()["error"]["code"] == "MissingApiVersionParameter"

    @pytest.mark.parametrize(
        ("old", "new", "code"),
        [
            ("/workspaces/ws-uksouth", "/workspaces/other", "ResourceNotFound"),
            ("/resourceGroups/workforce", "/resourceGroups/other", "ResourceGroupNotFound"),
            ("/subscriptions/", "/subscriptions/9", "SubscriptionNotFound"),
        ],
    )
    async def test_a_missing_parent_is_named(self, arm: Arm, old, new, code):
        url = arm.azure.base_url + arm.workspace.replace(old, new) + f"/jobs?api-version={API_VERSION}"
        response = await arm.send("GET", url)
        assert (response.status_code, response.json()["error"]["code"]) == (404, code)

    async def test_every_answer_has_arm_s_headers(self, arm: Arm):
        """Recorded traffic: 201 with the expanded job; ARM throttling: what is left of the bucket."""
        reads = (await arm.send("GET", "/jobs")).headers
        assert int(reads["x-ms-ratelimit-remaining-subscription-reads"]) < 250
        assert reads["x-ms-request-id"]
        response = await arm.send("PUT", "/jobs/h", await arm.body())
        assert response.headers["Location"].endswith(f"/jobs/h?api-version={API_VERSION}")
        assert int(response.headers["x-ms-ratelimit-remaining-subscription-writes"]) < 200

    async def test_a_body_that_is_not_json_is_refused(self, arm: Arm):
        token = arm.azure.issuer.mint(arm.azure.base_url, CLIENT).value
        path = f"{arm.workspace}/jobs/x?api-version=1"
        context = ssl.create_default_context(cafile=str(arm.azure.ca_file))
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.put(arm.azure.base_url + path, data=b"{", headers={"Authorization": f"Bearer {token}"}) as response,
        ):
            assert (await response.json())["error"]["code"] == "InvalidRequestContent"


class TestSubmission:
    """AzureML job names, and the error JobPropertyImmutable."""

    async def test_a_new_job_is_201_and_the_same_again_is_200(self, arm: Arm):
        body = await arm.body(tags={"a": "1"})
        assert (await arm.send("PUT", "/jobs/same", body)).status_code == 201
        again = await arm.send("PUT", "/jobs/same", body)
        assert again.status_code == 200
        assert len(arm.azure.jobs()) == 1

    async def test_eight_at_once_are_one_job(self, arm: Arm):
        """ARM, PUT: 201 once and 200 for the others."""
        body = await arm.body()
        answers = await asyncio.gather(*(arm.send("PUT", "/jobs/race", body) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
        assert len(arm.azure.jobs()) == 1

    async def test_only_some_properties_may_change(self, arm: Arm):
        body = await arm.body(tags={"a": "1"}, properties={"p": "1"})
        await arm.send("PUT", "/jobs/fix", body)
        changed = {"tags": {"b": "2"}, "displayName": "new", "description": "text", "properties": {"q": "2"}}
        answer = await arm.send("PUT", "/jobs/fix", {"properties": {**body["properties"], **changed}})
        properties = answer.json()["properties"]
        assert (answer.status_code, properties["tags"]) == (200, {"a": "1", "b": "2"})
        assert (properties["properties"]["p"], properties["properties"]["q"]) == ("1", "2")
        refused = await arm.send("PUT", "/jobs/fix", {"properties": {**body["properties"], "command": "false"}})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "UserError")
        assert "JobPropertyImmutable" in refused.text()

    async def test_a_replay_can_be_refused_although_the_job_exists(self, tmp_path):
        """azure-sdk-for-python #47389: a replay may be refused with JobPropertyImmutable."""
        config = one_workspace(arm=ArmConfig(replay="replay400"))
        async with LocalAzure(tmp_path / "azure", config) as azure, open_arm(azure) as arm:
            body = await arm.body()
            assert (await arm.send("PUT", "/jobs/replay", body)).status_code == 201
            refused = await arm.send("PUT", "/jobs/replay", body)
            assert refused.status_code == 400
            assert "JobPropertyImmutable" in refused.text()
            assert len(azure.jobs()) == 1

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"computeId": "{ws}/computes/none"}, "none"),
            ({"computeId": "cluster"}, "not a compute of workspace"),
            ({"environmentId": "{ws}/environments/none/versions/1"}, "Environment none"),
            ({"environmentId": "azureml:none:1"}, "not an environment version"),
            ({"resources": {"instanceCount": 5}}, "instanceCount"),
            ({"jobType": "Sweep"}, "Command"),
        ],
    )
    async def test_what_cannot_run_is_refused_at_once(self, arm: Arm, change, words):
        filled = {name: value.replace("{ws}", arm.workspace) if isinstance(value, str) else value
                  for name, value in change.items()}  # fmt: skip
        answer = await arm.send("PUT", "/jobs/wrong", await arm.body(**filled))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "UserError")
        assert words in answer.json()["error"]["message"]
        assert arm.azure.jobs() == []

    async def test_a_bad_name_is_refused(self, arm: Arm):
        answer = await arm.send("PUT", "/jobs/a.b", await arm.body())
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "UserError")

    async def test_a_deleted_name_stays_taken(self, arm: Arm):
        await arm.hire("once")
        await arm.until("once", "Completed")
        assert (await arm.send("DELETE", "/jobs/once")).status_code == 204
        assert (await arm.send("GET", "/jobs/once")).status_code == 404
        assert (await arm.send("PUT", "/jobs/once", await arm.body())).status_code == 400

    async def test_a_live_job_is_not_deleted(self, arm: Arm):
        await arm.hire("live", "sleep 600")
        assert (await arm.send("DELETE", "/jobs/live")).status_code == 409

    async def test_the_put_takes_as_long_as_configured(self, tmp_path):
        """Recorded traffic: real ones take 1.7 s to 4 s."""
        config = one_workspace(timing=TimingConfig(**{**FAST.model_dump(), "put_latency_seconds": 0.3}))
        async with LocalAzure(tmp_path / "azure", config) as azure, open_arm(azure) as arm:
            body = await arm.body()
            started = time.monotonic()
            await arm.send("PUT", "/jobs/slow", body)
            assert time.monotonic() - started >= 0.3


class TestLists:
    """AzureML REST reference, Jobs - List."""

    async def test_pages_are_chosen_by_the_server_and_linked(self, tmp_path):
        config = one_workspace(arm=ArmConfig(page_size=2))
        async with LocalAzure(tmp_path / "azure", config) as azure, open_arm(azure) as arm:
            for number in range(5):
                await arm.hire(f"p{number}", properties={"fleet": "a" if number else "z"})
            page = await arm.get("/jobs", properties="fleet=a")
            names = [job["name"] for job in page["value"]]
            while page["nextLink"]:
                assert len(page["value"]) == 2
                page = (await arm.send("GET", page["nextLink"])).json()
                names += [job["name"] for job in page["value"]]
            assert names == ["p4", "p3", "p2", "p1"]

    async def test_filters_combine(self, arm: Arm):
        await arm.hire("f1", tags={"t": "1"}, properties={"a": "1", "b": "2"})
        await arm.hire("f2", tags={"t": "2"}, properties={"a": "1"})
        for query, names in (
            ({"properties": "a=1"}, ["f2", "f1"]),
            ({"properties": "a=1,b=2"}, ["f1"]),
            ({"properties": "b"}, ["f1"]),
            ({"tag": "t=2"}, ["f2"]),
            ({"tag": "t", "jobType": "Command"}, ["f2", "f1"]),
            ({"listViewType": "ArchivedOnly"}, []),
        ):
            assert [job["name"] for job in (await arm.get("/jobs", **query))["value"]] == names, query

    async def test_workspaces_do_not_see_each_other_s_jobs(self, arm: Arm):
        await arm.hire("here")
        other = Arm(arm.azure, arm.client, "ws-westeurope")
        assert (await other.get("/jobs"))["value"] == []
        assert (await other.send("GET", "/jobs/here")).status_code == 404


class TestCancel:
    """AzureML REST reference, Jobs - Cancel."""

    async def test_a_job_that_never_ran_ends_without_a_process(self, tmp_path):
        async with LocalAzure(tmp_path / "azure", one_workspace(max_nodes=0)) as azure, open_arm(azure) as arm:
            body = await arm.body()
            answer = await arm.send("PUT", "/jobs/waiting", body)
            assert answer.status_code == 201, answer.text()
            await arm.until("waiting", "Queued")
            cancel = await arm.send("POST", "/jobs/waiting/cancel")
            assert (cancel.status_code, cancel.headers["Retry-After"]) == (202, "1")
            job = await arm.until("waiting", "Canceled")
            assert job.pid is None
            assert "StartTimeUtc" not in job.properties
            result = await arm.send("GET", cancel.headers["Location"])
            assert result.status_code == 200

    async def test_cancelling_what_has_ended_is_200_and_changes_nothing(self, arm: Arm):
        await arm.hire("done")
        await arm.until("done", "Completed")
        answer = await arm.send("POST", "/jobs/done/cancel")
        assert (answer.status_code, answer.content) == (200, b"")
        assert arm.job("done").status == "Completed"

    async def test_cancelling_nothing_is_404(self, arm: Arm):
        assert (await arm.send("POST", "/jobs/none/cancel")).status_code == 404


class TestThrottling:
    """ARM throttling: 200 writes and 10 more per second."""

    async def test_an_empty_bucket_is_429_with_a_time_to_come_back(self, tmp_path):
        config = one_workspace(arm=ArmConfig(throttle=True))
        async with LocalAzure(tmp_path / "azure", config) as azure, open_arm(azure) as arm:
            statuses: list[int] = []
            retry_after = None
            while retry_after is None and len(statuses) < 1000:
                answers = await asyncio.gather(*(arm.send("POST", "/jobs/x/cancel") for _ in range(20)))
                statuses += [answer.status_code for answer in answers]
                retry_after = next((a.headers["Retry-After"] for a in answers if a.status_code == 429), None)
            assert statuses[:200] == [404] * 200
            assert retry_after is not None
            assert int(retry_after) >= 1


class TestInspection:
    """Tests and the demo count from outside the product."""

    async def test_requests_are_counted_by_route_and_status(self, arm: Arm):
        await arm.hire("counted")
        status, _, body = await raw(arm.azure, "/_local/requests", arm.azure.admin_token)
        assert status == 200
        assert {"method": "PUT", "route": JOB, "status": 201, "count": 1} in body["counts"]
        assert any(entry["path"].endswith("/jobs/counted") and entry["at"] for entry in body["requests"])

    async def test_jobs_are_shown_as_they_are(self, arm: Arm):
        await arm.hire("shown", "echo x")
        await arm.until("shown", "Completed")
        _, _, body = await raw(arm.azure, "/_local/jobs", arm.azure.admin_token)
        steps = [step["status"] for step in body[0]["history"]]
        assert steps == ["Starting", "Preparing", "Queued", "Running", "Finalizing", "Completed"]
        assert (body[0]["name"], body[0]["exitCode"]) == ("shown", 0)

    async def test_only_who_can_read_the_state_folder_may_inspect(self, local_azure):
        for token in (None, "wrong", local_azure.issuer.mint(local_azure.base_url, CLIENT).value):
            status, _, _ = await raw(local_azure, "/_local/jobs", token)
            assert status == 401


class TestCapacity:
    """AzureML REST reference, Compute - Get."""

    async def test_node_counts_follow_the_jobs(self, tmp_path):
        async with LocalAzure(tmp_path / "azure", one_workspace(max_nodes=2)) as azure, open_arm(azure) as arm:

            async def counts():
                return (await arm.get("/computes/cluster"))["properties"]["properties"]

            assert (await counts())["currentNodeCount"] == 0
            for number in range(3):
                await arm.hire(f"n{number}", "sleep 600")
            await arm.until("n0", "Running")
            await arm.until("n1", "Running")
            await arm.until("n2", "Queued")
            full = await counts()
            assert (full["currentNodeCount"], full["targetNodeCount"]) == (2, 2)
            assert full["nodeStateCounts"]["runningNodeCount"] == 2
            await arm.send("POST", "/jobs/n0/cancel")
            await arm.until("n2", "Running")
            assert arm.job("n0").status == "Canceled"

    async def test_usage_counts_cores_per_region(self, arm: Arm):
        url = (
            f"{arm.azure.base_url}/subscriptions/{arm.azure.config.subscription_id}/providers"
            f"/Microsoft.MachineLearningServices/locations/uksouth/usages?api-version={API_VERSION}"
        )
        assert (await arm.send("GET", url)).json()["value"][0]["limit"] == 8
        await arm.hire("busy", "sleep 600")
        await arm.until("busy", "Running")
        assert (await arm.send("GET", url)).json()["value"][0]["currentValue"] == 2


async def test_history_tells_the_metadata_of_the_cloud(local_azure):
    """azure-ai-ml 1.35: the document behind ARM_CLOUD_METADATA_URL."""
    status, _, body = await raw(local_azure, "/metadata/endpoints?api-version=2019-05-01")
    assert status == 200
    assert body[0]["resourceManager"] == local_azure.base_url + "/"
    assert body[0]["authentication"]["loginEndpoint"] == local_azure.base_url


async def test_nothing_waits_for_ever_at_the_end(arm: Arm):
    """Leaving with jobs in every state ends them all."""
    for number in range(6):
        await arm.hire(f"left{number}", "sleep 600")
    await eventually(lambda: any(job.status == "Running" for job in arm.azure.jobs()), "a running job")
