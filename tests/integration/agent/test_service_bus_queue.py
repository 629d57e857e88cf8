"""A real worker process on a Service Bus queue: tasks, retries, dead letters, returns."""

import asyncio
import json
import signal

import pytest

from jobq.queue import JobQ
from tests.support.agent import AgentProcess, TaskFiles, push


@pytest.fixture
async def queue(service_bus, queue_name):
    service_bus.make_queue(queue_name)
    async with JobQ.from_connection_string(queue_name, connection_string=service_bus.connection_string) as opened:
        yield opened


@pytest.fixture
async def agent(service_bus, queue, queue_name, tmp_path):
    started = []

    async def start(*arguments):
        environ = {"JOBQ_CONNECTION_STRING": service_bus.connection_string}
        process = await AgentProcess.start(tmp_path / "node", environ, f"sb://bus/{queue_name}", *arguments)
        started.append(process)
        return process

    yield start
    for process in started:
        await process.close()


async def test_a_worker_runs_retries_gives_up_and_returns_tasks_of_a_service_bus_queue(
    queue, queue_name, agent, service_bus, tmp_path
):
    files = TaskFiles(tmp_path / "tasks")
    ids = await push(queue, files.quick("one"), files.quick("two"))
    (failing,) = await push(queue, f"{files.quick('failing')}; echo boom; exit 3", num_retries=1)
    worker = await agent("--num-workers", "2", "--max-consecutive-failures", "5")
    await files.done("one")
    await files.done("two")
    await files.done("failing", 2)
    async with asyncio.timeout(60):
        while not (letters := await queue.failed()):  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.2)
    (letter,) = letters
    assert letter.id == failing
    assert letter.failure is not None
    assert (letter.failure.exit_code, letter.failure.attempts, letter.failure.last_lines) == (3, 2, ["boom"])

    (kept,) = await push(queue, files.checkpointing("long"))
    await files.started("long")
    worker.signal(signal.SIGINT)
    assert await worker.exit_code() == 0
    assert service_bus.counts(queue_name).active == 1
    (looked,) = await queue.peek(1)
    assert looked.task is not None
    assert looked.task.id == kept
    assert len(ids) == 2
    assert len(worker.events("task_success")) == 2
    assert json.dumps(service_bus.connection_string) not in worker.words
