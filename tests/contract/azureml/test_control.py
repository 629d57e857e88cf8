"""What befalls jobs, nodes and credentials: real processes, real sockets, real SDK pipelines."""

import asyncio
import ssl

import aiohttp
import psutil
import pytest

from tests.contract.azureml.conftest import Arm, eventually, gone
from workforce_local.admin import AdminClient, AdminError
from workforce_local.azureml.maintenance import Notice
from workforce_local.azureml.permissions import Denial
from workforce_local.config import ComputeTimes

SLEEP = "echo started; exec sleep 600"


async def running(arm: Arm, name: str, command: str = SLEEP):
    await arm.hire(name, command)
    return await arm.until(name, "Running")


def trusting(arm: Arm) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(arm.azure.ca_file)))


def listed(arm: Arm, node: str):
    return arm.azure.node(node).metadata.events.document()["Events"]


async def studio(arm: Arm, path: str, body=None, audience="https://ml.azure.com"):
    token = arm.azure.issuer.mint(audience, arm.azure.config.client_id).value
    url = f"{arm.azure.base_url}/api/uksouth/{path.format(workspace=arm.workspace)}"
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(connector=trusting(arm), headers=headers) as session,
        session.post(url, json=body or {}) as answer,
    ):
        return answer.status, await answer.json()


INDEX = "index/v1.0{workspace}/entities"


async def test_a_preempted_job_is_announced_killed_and_run_again_elsewhere(arm: Arm):
    """AzureML low-priority VMs: notice by IMDS only, the node goes,
    the same run id goes back to Queued and runs again.
    """
    before = await running(arm, "low")
    event = arm.azure.control.preempt("low", notice_seconds=0.5)
    (shown,) = listed(arm, before.node)
    assert (shown["EventType"], shown["Resources"], shown["EventId"]) == ("Preempt", [before.node], event)
    await eventually(lambda: arm.job("low").status == "Running" and arm.job("low").node != before.node, "a second run")
    assert gone(before.pid)
    statuses = [status for status, _ in arm.job("low").history]
    assert statuses[-3:] == ["Running", "Queued", "Running"]
    assert "started" in arm.job("low").stdout.with_suffix(".1.txt").read_text(), "the first run's log is put aside"


async def test_a_withdrawn_preemption_leaves_no_trace(arm: Arm):
    """Scheduled Events: a cancelled event just disappears."""
    before = await running(arm, "spared")
    event = arm.azure.control.preempt("spared", notice_seconds=600, withdraw_after=0.2)
    assert not await arm.azure.control.wait(event)
    assert listed(arm, before.node) == []
    assert (arm.job("spared").status, gone(before.pid)) == ("Running", False)


async def test_an_approved_event_starts_at_once_and_is_told_to_all_nodes_of_the_cluster(arm: Arm):
    """Scheduled Events: the approval counts for all resources; events go to all VMs, which must look at `Resources`."""
    first, second = await running(arm, "one"), await running(arm, "two")
    event = arm.azure.control.schedule_event("one", Notice("Reboot", 600))
    assert [one["EventId"] for one in listed(arm, second.node)] == [event]
    url = f"{arm.azure.node(second.node).metadata.url}/metadata/scheduledevents?api-version=2020-07-01"
    body = {"StartRequests": [{"EventId": event}]}
    async with aiohttp.ClientSession(headers={"Metadata": "true"}) as session:
        async with session.post(url, json=body) as answer:
            assert answer.status == 200
        async with session.post(url, json={"StartRequests": "x"}) as answer:
            assert answer.status == 400
    await eventually(lambda: gone(first.pid), "the reboot of the first node")
    assert not gone(second.pid)


async def test_a_frozen_machine_stops_and_goes_on(arm: Arm):
    """Scheduled Events: Freeze pauses the machine for a few seconds."""
    view = await running(arm, "cold")
    event = arm.azure.control.schedule_event("cold", Notice("Freeze", 0, duration_seconds=2))
    await eventually(lambda: psutil.Process(view.pid).status() == psutil.STATUS_STOPPED, "the freeze")
    assert await arm.azure.control.wait(event)
    await eventually(lambda: psutil.Process(view.pid).status() != psutil.STATUS_STOPPED, "the thaw")


async def test_a_lost_node_kills_the_whole_tree_and_the_job_is_run_again(arm: Arm):
    """AzureML JobStatus: NotResponding may go back to any earlier state; nothing of the first run is left."""
    view = await running(arm, "lost", "trap '' TERM; (setsid sleep 600 & echo $!); sleep 600")
    await eventually(lambda: view.stdout.read_text().strip().isdecimal(), "the child's pid")
    child = int(view.stdout.read_text())
    arm.azure.control.lose_node(view.node)
    await eventually(lambda: gone(view.pid) and gone(child), "the end of both")
    await eventually(lambda: arm.job("lost").node not in (None, view.node), "another node")
    assert "NotResponding" in [status for status, _ in arm.job("lost").history]


async def test_a_paused_job_got_sigterm_and_is_resumed_by_the_execution_service(arm: Arm):
    """Singularity as ai4s-jobq met it: SIGTERM, then the container stops, `Paused`; resume is not in ARM."""
    view = await running(arm, "p", "trap 'echo told; exit 0' TERM; echo up; while :; do sleep 0.1; done")
    await eventually(lambda: "up" in view.stdout.read_text(), "the trap")
    arm.azure.control.pause("p")
    await arm.until("p", "Paused")
    assert "told" in view.stdout.read_text()
    resume = "execution/v1.0{workspace}/experiments/exp/runId/p/resume"
    assert (await studio(arm, resume))[0] == 200
    await arm.until("p", "Running")
    status, body = await studio(arm, resume)
    assert (status, body["error"]["code"]) == (400, "UserError")


async def test_the_index_knows_jobs_late_and_in_its_own_words(arm: Arm):
    """The index of ml.azure.com: eventual consistency; tokens are for ml.azure.com."""
    await running(arm, "seen")
    filters = [{"field": "properties/experimentName", "operator": "eq", "values": ["exp"]}]
    status, body = await studio(arm, INDEX, {"filters": filters, "includeTotalResultCount": True})
    assert (status, body["totalCount"]) == (200, 1)
    assert body["value"][0]["annotations"]["status"] == "Running"
    assert body["value"][0]["properties"]["compute"] == {"target": "cluster"}
    arm.azure.control.set_index_lag(3600)
    assert (await studio(arm, INDEX))[1]["value"] == []
    assert (await studio(arm, INDEX, audience=arm.azure.base_url))[0] == 401


async def test_a_list_that_is_asked_for_again_shows_each_change_at_once(arm: Arm):
    """AzureML, Jobs - List. A page is kept until a job changes, which must not be seen from outside."""

    async def listed() -> list[tuple[str, str]]:
        found = (await arm.get("/jobs"))["value"]
        return [(job["name"], job["properties"]["status"]) for job in found]

    assert await listed() == []
    await running(arm, "a")
    assert await listed() == [("a", "Running")]
    arm.azure.control.report_status("a", "Odd")
    assert await listed() == [("a", "Odd")]
    arm.azure.control.report_status("a", None)
    await arm.send("POST", "/jobs/a/cancel")
    await arm.until("a", "Canceled")
    assert await listed() == [("a", "Canceled")]
    await arm.send("DELETE", "/jobs/a")
    assert await listed() == []


async def test_a_list_may_be_behind_what_a_job_says_itself(arm: Arm):
    """AzureML, Jobs - List: lists are the weak read; a GET of the job is not."""
    await running(arm, "fresh")
    arm.azure.control.set_list_lag(3600)
    assert (await arm.get("/jobs"))["value"] == []
    assert (await arm.get("/jobs/fresh"))["properties"]["status"] == "Running"


async def test_a_quota_shows_in_usages_and_in_the_cluster_s_errors(arm: Arm):
    """AzureML, Usages - List: usages carry the limit; the cluster stays as it is and says why."""
    arm.azure.control.set_quota("uksouth", 0)
    await arm.hire("waits", SLEEP)
    await arm.until("waits", "Queued")
    compute = (await arm.get("/computes/cluster"))["properties"]["properties"]
    assert compute["errors"][0]["error"]["code"] == "ClusterCoreQuotaReached"
    assert (compute["allocationState"], compute["currentNodeCount"]) == ("Steady", 0)
    arm.azure.control.set_quota("uksouth", 2)
    await arm.until("waits", "Running")


async def test_a_cluster_shared_with_others_has_less_room(arm: Arm):
    """AmlCompute: maximum less target is what can be hired."""
    arm.azure.control.set_shared("ws-uksouth", "cluster", 4)
    await arm.hire("late", SLEEP)
    await arm.until("late", "Queued")
    compute = (await arm.get("/computes/cluster"))["properties"]["properties"]
    assert compute["nodeStateCounts"]["runningNodeCount"] == compute["targetNodeCount"] == 4
    arm.azure.control.set_shared("ws-uksouth", "cluster", 3)
    await arm.until("late", "Running")


async def test_who_may_not_is_told_the_action_and_the_scope(arm: Arm):
    """ARM's AuthorizationFailed, and reads that are not denied still work."""
    arm.azure.control.deny(Denial("*/jobs/write", arm.workspace))
    response = await arm.send("PUT", "/jobs/x", await arm.body())
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (403, "AuthorizationFailed")
    assert "Microsoft.MachineLearningServices/workspaces/jobs/write" in error["message"]
    assert f"{arm.workspace}/jobs/x" in error["message"]
    assert (await arm.get("/jobs"))["value"] == []
    arm.azure.control.allow_all()
    await arm.hire("x")


async def test_revoked_tokens_are_challenged_and_the_sdk_gets_a_new_one(arm: Arm):
    """azure-mgmt-core: 401 with a claims challenge is handled by ARMChallengeAuthenticationPolicy."""
    await arm.get("/jobs")
    old = arm.azure.issuer.mint(arm.azure.base_url, arm.azure.config.client_id)
    arm.azure.control.revoke_credentials()
    url = f"{arm.azure.base_url}{arm.workspace}?api-version=1"
    headers = {"Authorization": f"Bearer {old.value}"}
    async with aiohttp.ClientSession(connector=trusting(arm), headers=headers) as session, session.get(url) as answer:
        assert answer.status == 401
        assert 'error="insufficient_claims"' in answer.headers["WWW-Authenticate"]
    assert (await arm.get("/jobs"))["value"] == []


async def test_an_overloaded_region_answers_with_a_page_and_the_others_with_json(arm: Arm):
    """As ai4s-jobq met it: raw nginx 503 HTML under regional load."""
    arm.azure.control.set_outage("uksouth")
    response = await arm.send("GET", "/jobs")
    assert (response.status_code, response.content_type.partition(";")[0]) == (503, "text/html")
    other = arm.workspace.replace("ws-uksouth", "ws-westeurope")
    response = await arm.send("GET", f"{arm.azure.base_url}{other}/jobs?api-version=1")
    assert response.status_code == 200


async def test_an_empty_bucket_is_429_with_a_retry_after_in_that_region_only(arm: Arm):
    """ARM throttling: 250 reads; 429 and Retry-After in seconds; another region has a bucket of its own."""
    arm.azure.control.throttle(True)
    arm.azure.arm._buckets._clock = lambda: 0.0
    statuses = {(await arm.send("GET", "/computes")).status_code for _ in range(250)}
    response = await arm.send("GET", "/computes")
    assert statuses == {200}
    assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
    assert response.headers["x-ms-ratelimit-remaining-subscription-reads"] == "0"
    other = arm.workspace.replace("ws-uksouth", "ws-westeurope")
    assert (await arm.send("GET", f"{arm.azure.base_url}{other}/computes?api-version=1")).status_code == 200


async def test_a_word_that_nobody_expects_can_be_answered(arm: Arm):
    """azure-ai-ml 1.35: unknown status strings pass through the SDK as they are."""
    await running(arm, "odd")
    arm.azure.control.report_status("odd", "Unknown")
    assert (await arm.get("/jobs/odd"))["properties"]["status"] == "Unknown"
    assert (await arm.get("/jobs"))["value"][0]["properties"]["status"] == "Unknown"
    arm.azure.control.report_status("odd", None)
    assert (await arm.get("/jobs/odd"))["properties"]["status"] == "Running"


async def test_a_job_that_the_service_ends_is_failed_with_the_error_and_its_process_gone(arm: Arm):
    before = await running(arm, "doomed")
    arm.azure.control.fail("doomed", ["SystemError", "NodeLost"], "the node did not come back")
    ended = await arm.until("doomed", "Failed")
    assert gone(before.pid)
    assert [status for status, _ in ended.history][-2:] == ["Running", "Failed"]
    assert (await arm.get("/jobs/doomed"))["properties"]["error"] == {
        "error": {"code": "SystemError", "innerError": {"code": "NodeLost"}, "message": "the node did not come back"}
    }
    with pytest.raises(LookupError, match="Failed: it cannot fail any more"):
        arm.azure.control.fail("doomed", ["SystemError"], "again")


async def test_a_job_can_fail_before_it_has_run(arm: Arm):
    arm.azure.control.set_times(ComputeTimes(workspace="ws-uksouth", preparing=(600, 600)))
    await arm.hire("no-image")
    await arm.until("no-image", "Preparing")
    arm.azure.control.fail("no-image", ["UserError", "ImagePullFailed"], "no such image")
    ended = await arm.until("no-image", "Failed")
    assert "Running" not in [status for status, _ in ended.history]


async def test_other_programs_can_do_the_same_with_the_admin_token(arm: Arm):
    view = await running(arm, "by-http")
    client = AdminClient.of(arm.azure.state_dir)
    post = lambda *arguments: asyncio.to_thread(client.post, *arguments)  # noqa: E731
    found = await asyncio.to_thread(client.get, "nodes")
    assert [(node["node_id"], node["job"]) for node in found] == [(view.node, "by-http")]
    assert (await post("set-times", {"compute": "cluster", "finalizing": [0, 1]}))["computes"] == 2
    event = (await post("preempt", {"target": "ws-uksouth/by-http", "noticeSeconds": 600}))["event"]
    assert [one["EventId"] for one in listed(arm, view.node)] == [event]
    assert (await post("withdraw", {"event": event}))["withdrawn"]
    for name, body in (
        ("set-index-lag", {"seconds": 1}), ("set-list-lag", {"seconds": 0}), ("throttle", {"on": False}),
        ("set-quota", {"location": "uksouth"}), ("set-outage", {"on": False}), ("allow-all", {}),
        ("set-token-lifetime", {"seconds": 60}), ("revoke-credentials", {}), ("restore-credentials", {}),
        ("deny", {"action": "none"}), ("report-status", {"job": "by-http"}),
        ("set-shared", {"workspace": "ws-uksouth", "compute": "cluster", "nodes": 0}),
        ("lose-node", {"target": view.node}), ("fail", {"job": "by-http", "codes": ["SystemError"]}),
    ):  # fmt: skip
        assert await post(name, body) == {}
    for name, body, words in (
        ("preempt", {}, "target: Field required"), ("lose-node", {"target": "nobody"}, "neither a node nor a job"),
        ("set-shared", {"compute": "x", "nodes": 1}, "no compute 'x'"), ("resume", {"job": "by-http"}, "not Paused"),
        ("fail", {"job": "by-http", "codes": []}, "codes: "),
    ):  # fmt: skip
        with pytest.raises(AdminError, match=words):
            await post(name, body)


async def test_times_can_be_changed_while_it_runs(arm: Arm):
    assert arm.azure.control.set_times(ComputeTimes(workspace="ws-uksouth", preparing=(600, 600))) == 1
    await arm.hire("slow")
    await arm.until("slow", "Preparing")
