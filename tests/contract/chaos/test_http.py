"""Faults of the resource manager, the identity and the metadata services, met by the real clients."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.identity.aio import ClientSecretCredential

from tests.contract.azureml.conftest import eventually

PUTS = {"service": "arm", "method": "PUT", "path": "*/jobs/*"}
CANCELS = {"service": "arm", "method": "POST", "path": "*/cancel"}


def requests(azure, method, word):
    return [
        entry for entry in azure.requests.document()["requests"] if entry["method"] == method and word in entry["path"]
    ]


async def test_without_the_token_nobody_sets_faults(chaos):
    for method in ("GET", "POST", "DELETE"):
        assert (await chaos.ask(method, token="guessed"))[0] == 401


async def test_a_mistake_in_a_scenario_is_named_and_nothing_of_it_is_set(chaos):
    status, answer = await chaos.ask("POST", body={"faults": [{"kind": "drop"}, {"kind": "throttle", "share": 7}]})
    assert status == 400
    assert "faults[1].share" in answer["error"]
    assert (await chaos.ask("GET"))[1]["faults"] == []


@pytest.mark.parametrize(
    ("fault", "place"),
    [
        ({"kind": "outage", "where": {"region": "nowhere"}}, "faults[0].where.region: there is no region nowhere"),
        ({"kind": "fullClusters", "region": "nowhere"}, "faults[0].region: there is no region nowhere"),
        ({"kind": "loseLocks", "namespace": "no-bus"}, "faults[0].namespace: there is no namespace no-bus"),
    ],
)
async def test_a_fault_for_a_place_that_there_is_not_is_refused(chaos, fault, place):
    """It would never strike, and whoever waited for it would think that all went well."""
    status, answer = await chaos.ask("POST", body={"faults": [fault]})
    assert status == 400
    assert place in answer["error"]
    assert (await chaos.ask("GET"))[1]["faults"] == []


async def test_a_place_is_named_without_regard_to_case(chaos):
    await chaos.set({"kind": "outage", "where": {"region": "UKSouth"}}, {"kind": "loseLocks", "namespace": "WF-Bus"})


@pytest.mark.parametrize("body", [b"{", b"[" * 5_000, b'"text"', b"null"])
async def test_a_scenario_that_is_none_is_refused(chaos, body):
    address = f"{chaos.azure.base_url}/_local/chaos"
    headers = {"Authorization": f"Bearer {chaos.azure.admin_token}"}
    async with chaos.session.post(address, data=body, headers=headers) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]


async def test_faults_are_set_shown_and_taken_away(chaos):
    await chaos.set({"kind": "drop", "name": "a", "where": PUTS}, {"kind": "latency", "name": "b", "share": 0.1})
    assert [fault["name"] for fault in (await chaos.ask("GET"))[1]["faults"]] == ["a", "b"]
    assert (await chaos.ask("DELETE", "?name=a"))[1] == {"removed": 1}
    assert (await chaos.ask("DELETE", "?name=a"))[0] == 404
    assert (await chaos.ask("DELETE"))[1] == {"removed": 1}


async def test_a_hire_outlives_a_storm_of_429(arm, chaos):
    """azure-core's retries: a PUT that gets 429 with Retry-After is sent again after so many seconds."""
    body = await arm.body("true")
    await chaos.set({"kind": "throttle", "name": "storm", "where": PUTS, "times": 2, "retryAfterSeconds": 0})
    assert (await arm.send("PUT", "/jobs/a", body)).status_code == 201
    struck = await chaos.injected(fault="storm")
    assert [each["what"].split()[0] for each in struck] == ["PUT", "PUT"]
    assert len(requests(arm.azure, "PUT", "/jobs/a")) == 1


async def test_a_late_hire_arrives_although_its_client_has_gone_meanwhile(arm, chaos):
    """Azure knows nothing of a client that was killed: what it has sent is carried out."""
    body = await arm.body("true")
    await chaos.set({"kind": "latency", "name": "slow", "where": PUTS, "seconds": 0.5})
    hire = asyncio.create_task(arm.send("PUT", "/jobs/a", body))
    for _ in range(1000):
        if await chaos.injected(fault="slow"):
            break
        await asyncio.sleep(0.01)
    hire.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await hire
    assert arm.azure.jobs() == []
    await eventually(lambda: [job.name for job in arm.azure.jobs()] == ["a"], "the job")


async def test_a_hire_whose_answer_was_lost_is_repeated_and_makes_one_job(arm, chaos):
    """azure-core's retries: a PUT whose connection is cut after the service applied it is replayed;
    there is one job.
    """
    body = await arm.body("true")
    await chaos.set({"kind": "lostResponse", "where": PUTS, "times": 1})
    assert (await arm.send("PUT", "/jobs/a", body)).status_code == 200
    assert [entry["status"] for entry in requests(arm.azure, "PUT", "/jobs/a")] == [201, 200]
    assert [job.name for job in arm.azure.jobs()] == ["a"]


async def test_a_gateway_that_times_out_after_the_write_makes_one_job(arm, chaos):
    """azure-core's retries: PUT 504 after apply is replayed and gets 200."""
    body = await arm.body("true")
    await chaos.set({"kind": "lostResponse", "where": PUTS, "times": 1, "instead": "504"})
    assert (await arm.send("PUT", "/jobs/a", body)).status_code == 200
    assert len(arm.azure.jobs()) == 1


async def test_a_cancel_whose_connection_is_dropped_is_not_repeated(arm, chaos):
    """azure-core's retries: a POST on a dropped connection raises and is not sent again."""
    await arm.hire("a", "sleep 100")
    await chaos.set({"kind": "drop", "where": CANCELS, "times": 1})
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await arm.send("POST", "/jobs/a/cancel")
    assert requests(arm.azure, "POST", "/cancel") == []


async def test_a_duplicated_hire_makes_one_job(arm, chaos):
    """AzureML job names: a name is one job; the second of two equal PUTs changes nothing."""
    body = await arm.body("true")
    await chaos.set({"kind": "duplicate", "where": PUTS})
    assert (await arm.send("PUT", "/jobs/a", body)).status_code == 200
    assert [entry["status"] for entry in requests(arm.azure, "PUT", "/jobs/a")] == [201, 200]


async def test_a_service_that_falls_silent_never_heard_of_the_request(arm, chaos):
    """azure-core's retries: a PUT that is given up without an answer is sent again under the same name;
    there is one job.
    """
    body = await arm.body("true")
    await chaos.set({"kind": "silence", "name": "mute", "where": PUTS, "seconds": 0.2, "times": 1})
    assert (await arm.send("PUT", "/jobs/a", body)).status_code == 201
    assert [entry["status"] for entry in requests(arm.azure, "PUT", "/jobs/a")] == [201]
    assert [each["kind"] for each in await chaos.injected()] == ["silence"]


async def test_a_page_of_html_is_answered_and_retried(arm, chaos):
    """As ai4s-jobq met it: raw nginx 503 pages under regional load; azure-core repeats them."""
    await chaos.set({"kind": "error", "status": 503, "html": True, "times": 1, "where": {"service": "arm"}})
    assert (await arm.get("/jobs"))["value"] == []
    assert len(await chaos.injected(service="arm")) == 1


async def test_lists_are_stale_and_cut_short(arm, chaos):
    """AzureML, Jobs - List: lists lag behind and page ends are the server's choice;
    clients must not believe in them.
    """
    for name in ("a", "b"):
        await arm.hire(name)
    await chaos.set({"kind": "staleList", "name": "old", "seconds": 3600})
    assert len((await arm.get("/jobs"))["value"]) == 2
    await arm.hire("c")
    assert len((await arm.get("/jobs"))["value"]) == 2
    await chaos.clear()
    assert len((await arm.get("/jobs"))["value"]) == 3
    await chaos.set({"kind": "truncatedList", "keep": 0.5})
    short = await arm.get("/jobs")
    assert len(short["value"]) == 1
    assert "nextLink" not in short


async def test_one_region_is_away_and_the_other_is_not(arm, chaos):
    """As ai4s-jobq met it: what fails is a region's endpoint, and an nginx says so."""
    await chaos.set({"kind": "outage", "where": {"region": "westeurope"}})
    assert (await arm.get("/jobs"))["value"] == []
    arm.name = "ws-westeurope"
    response = await arm.send("GET", "/jobs")
    assert response.status_code == 503
    assert "nginx" in response.text()


async def test_counting_messages_fails_with_the_region_of_their_namespace(chaos):
    """Service Bus counts over HTTPS, at an endpoint of the namespace: it is away when the namespace's region is."""

    async def status():
        address = f"{chaos.azure.base_url}/servicebus-management/wf-bus/orders"
        async with chaos.session.get(address) as answer:
            return answer.status

    await chaos.set({"kind": "outage", "where": {"region": "westeurope"}})
    assert await status() == 401  # It asks for a token: it is there.
    await chaos.set({"kind": "outage", "where": {"region": "uksouth", "service": "serviceBusManagement"}})
    assert await status() == 503
    assert [each["service"] for each in await chaos.injected()] == ["serviceBusManagement"]


async def test_latency_delays_by_what_was_drawn(arm, chaos):
    await chaos.set({"kind": "latency", "seconds": 0.2, "where": {"service": "arm"}})
    await arm.get("/jobs")
    assert [each["detail"] for each in await chaos.injected()] == ["0.200 s"]


async def test_revoked_credentials_get_no_token_and_the_old_one_is_refused(arm, chaos):
    """ARM: 401 with WWW-Authenticate; Entra says AADSTS7000222 for a secret that does not count any more."""
    await arm.get("/jobs")
    await chaos.set({"kind": "revoked", "where": {"service": ["identity", "arm"]}})
    assert (await arm.send("GET", "/jobs")).status_code == 401
    azure = arm.azure
    async with ClientSecretCredential(
        azure.config.tenant_id, azure.config.client_id, azure.environment()["AZURE_CLIENT_SECRET"],
        authority=azure.base_url, disable_instance_discovery=True, connection_verify=str(azure.ca_file),
    ) as credential:  # fmt: skip
        with pytest.raises(ClientAuthenticationError, match="AADSTS7000222"):
            await credential.get_token(f"{azure.base_url}/.default")
        await chaos.clear()
        assert await credential.get_token(f"{azure.base_url}/.default")
    assert (await arm.get("/jobs"))["value"] == []


async def test_a_nodes_metadata_service_fails_in_its_region(arm, chaos):
    """As ai4s-jobq met it: the metadata service can answer `{"error": ...}` without any events."""
    await arm.hire("a", "sleep 100")
    job = await arm.until("a", "Running")
    url = f"{arm.azure.node(job.node).metadata.url}/metadata/scheduledevents?api-version=2020-07-01"
    await chaos.set({"kind": "error", "status": 500, "where": {"service": "imds", "region": "uksouth"}})
    async with chaos.session.get(url, headers={"Metadata": "true"}) as answer:
        assert answer.status == 500
        assert "error" in await answer.json()


async def events(chaos, node):
    url = f"{node.metadata.url}/metadata/scheduledevents?api-version=2020-07-01"
    async with chaos.session.get(url, headers={"Metadata": "true"}) as answer:
        return [event["EventType"] for event in (await answer.json())["Events"]]


async def test_a_preempted_job_is_warned_queued_again_and_started_again(arm, chaos):
    """AzureML low-priority VMs: the same run goes back to Queued and is run again; notice comes by IMDS only."""
    await arm.hire("a", "sleep 100")
    first = await arm.until("a", "Running")
    node = arm.azure.node(first.node)
    await chaos.set({"kind": "preemption", "name": "wave", "noticeSeconds": 1})
    await eventually(lambda: node.metadata.events.document()["Events"], "the announcement")
    assert await events(chaos, node) == ["Preempt"]
    await eventually(lambda: arm.job("a").status == "Running" and arm.job("a").pid != first.pid, "the second start")
    await eventually(lambda: len(arm.azure.chaos.engine.injected(fault="wave")) == 2, "the record")
    assert [each["detail"] for each in await chaos.injected(fault="wave")] == [
        "preemption announced to a", "preempted with a",
    ]  # fmt: skip


async def test_a_withdrawn_preemption_leaves_the_job_alone(arm, chaos):
    """Scheduled Events: an announcement may be withdrawn; it just disappears from the document."""
    await arm.hire("a", "sleep 100")
    first = await arm.until("a", "Running")
    await chaos.set({"kind": "preemption", "name": "wave", "noticeSeconds": 0.2, "withdrawn": 1})
    await eventually(lambda: len(arm.azure.chaos.engine.injected(fault="wave")) == 2, "the withdrawal")
    assert (await chaos.injected(fault="wave"))[1]["detail"] == "announcement withdrawn"
    assert await events(chaos, arm.azure.node(first.node)) == []
    assert arm.job("a").pid == first.pid


async def test_a_lost_node_takes_its_processes_along(arm, chaos):
    """AzureML JobStatus: NotResponding may go back to any earlier state."""
    await arm.hire("a", "sleep 100")
    first = await arm.until("a", "Running")
    await chaos.set({"kind": "nodeLoss"})
    await eventually(lambda: arm.job("a").status == "Running" and arm.job("a").pid != first.pid, "the second start")
    assert [each["kind"] for each in await chaos.injected()] == ["nodeLoss"]


async def test_full_clusters_take_nobody_until_the_fault_is_taken_away(arm, chaos):
    """AmlCompute: what can be hired is what others have left of the cluster's maximum."""
    await chaos.set({"kind": "fullClusters", "name": "full", "region": "uksouth"})
    await eventually(lambda: bool(arm.azure.chaos.engine.injected(fault="full")), "the clusters to be full")
    await arm.hire("a")
    await arm.until("a", "Queued")
    await chaos.clear()
    await arm.until("a", "Completed")
