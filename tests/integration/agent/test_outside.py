"""What a real worker shows: telemetry that arrives at Application Insights, metrics, progress on a terminal."""

import asyncio
import json
import os
import pty
import socket
import ssl
import sys

import aiohttp

from jobq.task import Task, shell_kwargs
from tests.integration.agent.bus import control_bus
from tests.support.agent import push, until
from tests.support.storage import ACCOUNT


async def arrived(azure, **query):
    context = ssl.create_default_context(cafile=str(azure.ca_file))
    headers = {"Authorization": f"Bearer {azure.admin_token}"}
    connector = aiohttp.TCPConnector(ssl=context)
    client = aiohttp.ClientSession(azure.base_url, connector=connector, headers=headers)
    async with client as session, session.get("/_local/insights", params=query) as answer:
        return (await answer.json())["items"]


def properties(items):
    return [item["data"].get("properties", {}) for item in items]


async def test_traces_requests_and_metrics_arrive_at_application_insights(queue, agent, files, local_azure, tmp_path):
    good, bad = await push(queue, files.quick("a"), "echo last words; exit 3")
    node = {
        **local_azure.managed_identity_environment(),
        **local_azure.insights.environment(local_azure.base_url),
        "JOBQ_ENVIRONMENT_NAME": "blue",
        "AZUREML_RUN_ID": "run-1",
        "SECRET_OF_THE_NODE": "tell-nobody",
    }
    worker = await agent("--when-empty", "exit", "-q", **node)
    assert await worker.exit_code() == 0
    assert worker.events("task_start") == []

    told = [
        (found["event"], found.get("task_id"))
        for found in properties(await arrived(local_azure, type="traces", limit="1000"))
    ]
    for event in ("task_start", "task_success"):
        assert (event, good) in told
    for event in ("task_start", "task_failure", "task_give_up"):
        assert (event, bad) in told
    assert ("worker_end", None) in told
    (failure,) = (item for item in await arrived(local_azure, name="task_failure") if item["type"] == "traces")
    fields = failure["data"]["properties"]
    assert (fields["queue"], fields["environment"], fields["azureml_run_id"]) == (queue.full_name, "blue", "run-1")
    assert (fields["log"], fields["error"]) == ("last words", "exit code 3")
    assert float(fields["duration_s"]) > 0

    requests = {item["data"]["properties"]["task_id"]: item for item in await arrived(local_azure, type="requests")}
    assert {requests[good]["data"]["success"], requests[bad]["data"]["success"]} == {True, False}
    assert requests[good]["role"] == "workforce-agent"
    assert requests[bad]["operation"] == failure["operation"]
    metrics = {item["name"] for item in await arrived(local_azure, type="customMetrics", limit="1000")}
    assert {"workforce.agent.tasks", "workforce.agent.task.duration", "workforce.agent.slots"} <= metrics
    everything = str(await arrived(local_azure, limit="1000"))
    assert "tell-nobody" not in everything
    assert local_azure.insights.key not in worker.words


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def test_a_task_and_a_drain_belong_to_the_traces_that_their_senders_named(
    queue, agent, files, local_azure, tmp_path
):
    body = json.loads(Task.new(shell_kwargs(files.quick("a")), id="traced").encode())
    await queue.backend.send(json.dumps({**body, "traceparent": f"00-{TRACE[::-1]}-{PARENT}-01"}))
    await queue.backend.send(json.dumps({**body, "id": "untraced", "traceparent": "nonsense"}))
    async with control_bus(local_azure, tmp_path) as bus:
        insights = local_azure.insights.environment(local_azure.base_url)
        worker = await agent(**bus.environ("j0"), **insights)
        await files.done("a", 2)
        await bus.order("j0", traceparent=f"00-{TRACE}-{PARENT}-01")
        assert await worker.exit_code() == 0
    drain = next(item for item in await arrived(local_azure, type="dependencies") if item["name"] == "drain")
    assert drain["operation"] == TRACE
    (told,) = await arrived(local_azure, name="drain_finished")
    assert told["operation"] == TRACE
    runs = {item["data"]["properties"]["task_id"]: item for item in await arrived(local_azure, type="requests")}
    assert runs["traced"]["operation"] == TRACE[::-1]
    assert runs["untraced"]["operation"] not in {TRACE, TRACE[::-1]}


async def test_an_ingestion_endpoint_that_is_down_costs_the_telemetry_only(queue, agent, files):
    await push(queue, files.quick("a"))
    nowhere = "InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint=http://127.0.0.1:9/"
    worker = await agent("--when-empty", "exit", APPLICATIONINSIGHTS_CONNECTION_STRING=nowhere)
    assert await worker.exit_code() == 0
    assert files.count("a", "done") == 1


async def test_a_connection_string_that_is_none_is_said_once_and_work_goes_on(queue, agent, files):
    await push(queue, files.quick("a"))
    worker = await agent("--when-empty", "exit", APPLICATIONINSIGHTS_CONNECTION_STRING="nonsense")
    assert await worker.exit_code() == 0
    assert files.count("a", "done") == 1
    assert len(worker.events("telemetry_unavailable")) == 1


def free_port():
    with socket.socket() as listener:
        listener.bind(("", 0))
        return listener.getsockname()[1]


async def test_metrics_are_served_and_a_port_in_use_is_said_in_one_line(queue, agent, files):
    await push(queue, files.gated("a"))
    port = free_port()
    worker = await agent(JOBQ_METRICS_PORT=str(port))
    await files.started("a")
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    assert "workforce_agent_slots_busy 1.0" in text
    assert 'workforce_agent_events_total{event="task_start"} 1.0' in text
    second = await agent("--metrics-port", str(port), node="node-1")
    assert await second.exit_code() == 1
    assert f"Error: metrics cannot be served on port {port}: Address already in use" in second.words
    files.open_gate("a")
    await until(lambda: worker.events("task_success"), "the end of the task")


async def test_a_person_at_a_terminal_sees_progress_logs_and_output(queue, azurite, files, tmp_path):
    await push(queue, f"printf 'an \\033[31mawkward\\033[0m line\\n'; {files.gated('a')}")
    ours, theirs = pty.openpty()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "COLUMNS": "80",
        "JOBQ_CONNECTION_STRING": azurite.connection_string(ACCOUNT),
    }
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workforce_agent", "run", queue.full_name, "--when-empty", "exit",
        env=environ, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = bytearray()
    reading = asyncio.create_task(asyncio.to_thread(read_all, ours, seen))
    await until(lambda: b"1/1 running" in seen and b"queue 1" in seen, "progress")
    files.open_gate("a")
    assert await worker.wait() == 0
    await reading
    text = seen.decode()
    assert "task_start" in text
    assert '"event"' not in text
    assert "awkward" in text
    assert "1 done" in text[text.rindex("running") :]


def read_all(descriptor, seen):
    try:
        while data := os.read(descriptor, 65536):
            seen.extend(data)
    except OSError:
        os.close(descriptor)  # how a terminal ends
