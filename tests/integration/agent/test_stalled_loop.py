"""Locks are kept while the worker's event loop stands still."""

import asyncio
import time
from datetime import timedelta
from functools import partial

import pytest
from structlog.testing import capture_logs

from jobq.address import QueueAddress
from jobq.cloud import PUBLIC_CLOUDS
from jobq.opening import open_backend
from jobq.task import Task
from tests.support.agent import total
from tests.support.service_bus import NAMESPACE, AnyToken
from tests.support.storage import ACCOUNT
from workforce_agent.locks import Lock
from workforce_agent.understudy import Understudy


async def hold(queue, visibility):
    """Receive a message, and keep its lock. Returns both."""
    begun = time.monotonic()
    (delivery,) = await queue.receive(1, visibility)
    lock = Lock(queue, delivery, visibility, begun)
    return lock, asyncio.create_task(lock.keep())


async def stall(lock, opened, seconds):
    """Let the event loop stand still, with an understudy."""
    with capture_logs() as told, Understudy(opened) as understudy, understudy.care(lock):
        await asyncio.sleep(0.1)
        time.sleep(seconds)  # noqa: ASYNC251 - that is what is tried
        await asyncio.sleep(0.1)
    assert "event_loop_stalled" in [record["event"] for record in told]


async def test_short_locks_of_a_storage_queue_survive_a_stalled_loop(azurite, queue_name):
    address = QueueAddress(ACCOUNT, queue_name, azurite.connection_string(ACCOUNT))
    opened = partial(open_backend, address, PUBLIC_CLOUDS["AzureCloud"])
    short = timedelta(seconds=4)
    async with opened() as queue:
        await queue.create()
        for body in ("kept", "lost"):
            await queue.send(body)
        lock, keeper = await hold(queue, short)
        (other,) = await queue.receive(1, short)
        await stall(lock, opened, 10)
        # What nobody renews is free meanwhile.
        (again,) = await queue.receive(2, short)
        assert again.message_id == other.message_id
        assert await lock.settle(queue.complete)
        await queue.complete(again)
        keeper.cancel()
        assert (await queue.size()).total == 0


async def test_locks_of_a_service_bus_queue_survive_a_stalled_loop(service_bus, queue_name):
    service_bus.make_queue(queue_name, lock_duration=10.0)
    address = QueueAddress(NAMESPACE, queue_name, service_bus=True)
    opened = partial(open_backend, address, service_bus.cloud(), AnyToken())
    async with opened() as queue:
        await queue.send("kept")
        lock, keeper = await hold(queue, timedelta(seconds=8))
        await stall(lock, opened, 20)
        assert service_bus.counts(queue_name).locked == 1
        assert await lock.settle(queue.complete)
        keeper.cancel()
        assert service_bus.counts(queue_name).active == 0


STALLING = """
import asyncio, gc, pathlib, time

def stall(folder):
    with pathlib.Path(folder, "runs").open("a") as runs:
        runs.write("run\\n")
    loops = [found for found in gc.get_objects() if isinstance(found, asyncio.AbstractEventLoop)]
    for loop in loops:
        loop.call_soon_threadsafe(time.sleep, 12)
    time.sleep(13)
"""


@pytest.mark.slow
async def test_a_task_whose_worker_stands_still_runs_once(queue, agent, tmp_path):
    (tmp_path / "node-0").mkdir()
    (tmp_path / "stalling.py").write_text(STALLING)
    await queue.push_task(Task.new({"folder": str(tmp_path)}, num_retries=0))
    environ = {"PYTHONPATH": str(tmp_path), "JOBQ_VISIBILITY_TIMEOUT": "4s"}
    worker = await agent("--proc", "stalling:stall", "--when-empty", "exit", **environ)
    await worker.said("event_loop_stalled")
    second = await agent("--proc", "stalling:stall", "--idle-timeout", "15s", node="node-1", **environ)
    assert await worker.exit_code() == 0
    assert len(worker.events("task_success")) == 1
    assert await second.exit_code() == 0
    assert (tmp_path / "runs").read_text() == "run\n"
    assert await total(queue) == 0
