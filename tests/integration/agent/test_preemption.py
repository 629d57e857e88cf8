"""Preemption as Azure announces it, and the walkthrough of the users' documents."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from jobq import batch_enqueue
from tests.support.agent import push, total, until
from workforce_local.imds import ScheduledEvent


@pytest.fixture
def node(local_azure):
    """The environment of a node of AzureML with a metadata service, and its scheduled events."""
    environ = {"WORKFORCE_CLOUD": str(local_azure.cloud_file), "AZ_BATCH_TASK_ID": "task-1"}
    return environ, local_azure.imds


def preempt(imds, machine=None):
    return imds.events.schedule(ScheduledEvent("Preempt", (machine or imds.machine.name,)))


async def test_a_preempted_task_is_returned_and_the_node_works_again_when_the_notice_is_withdrawn(
    queue, agent, files, node
):
    environ, imds = node
    await push(queue, files.checkpointing("a"), files.quick("b"))
    worker = await agent("--eviction-timeout", "1s", **environ)
    await files.started("a")
    notice = preempt(imds)
    await worker.said("task_canceled")
    assert "CHECKPOINTING" in worker.words
    await asyncio.sleep(3)  # the notice is listed again and again, and the eviction timeout is not its end
    assert (files.count("a", "done"), files.count("b", "started"), await total(queue)) == (0, 0, 2)
    assert len(worker.events("preemption_detected")) == 1
    (looked,) = [looked for looked in await queue.peek(2) if "CHECKPOINTING" in looked.text]
    assert looked.task is not None
    assert looked.task.num_retries == 0
    imds.events.withdraw(notice)
    await files.done("a")
    await files.done("b")
    worker.signal(signal.SIGUSR1)
    assert await worker.exit_code() == 0
    assert worker.events("worker_end")[0]["failed"] == 0


async def test_notices_for_other_machines_and_of_other_kinds_mean_nothing(queue, agent, files, node):
    environ, imds = node
    preempt(imds, "another-machine")
    imds.events.schedule(ScheduledEvent("Reboot", (imds.machine.name,)))
    await push(queue, files.gated("a"))
    worker = await agent("--when-empty", "exit", **environ)
    await files.started("a")
    await asyncio.sleep(2)
    files.open_gate("a")
    assert await worker.exit_code() == 0
    assert files.count("a", "done") == 1


async def test_a_draining_worker_that_is_preempted_returns_its_task_and_ends(queue, agent, files, node):
    environ, imds = node
    await push(queue, files.checkpointing("a"))
    worker = await agent(**environ)
    await files.started("a")
    worker.signal(signal.SIGUSR1)
    await worker.said('"mode": "finishing"')
    preempt(imds)
    assert await worker.exit_code() == 0
    assert (await queue.size()).visible == 1


async def test_without_a_metadata_service_or_with_events_switched_off_tasks_run(queue, agent, files, node):
    environ, imds = node
    preempt(imds)
    await push(queue, files.quick("a"))
    switched_off = await agent("--when-empty", "exit", JOBQ_DISABLE_SCHEDULED_EVENTS="1", **environ)
    assert await switched_off.exit_code() == 0
    await imds.__aexit__()
    await push(queue, files.gated("b"))
    unreachable = await agent(node="node-1", **environ)
    await unreachable.said("scheduled_events_unavailable")
    files.open_gate("b")
    await files.done("b")
    unreachable.signal(signal.SIGUSR1)
    assert await unreachable.exit_code() == 0


# The sample script of the users' documents, with a sleep that a test can set.
DUMMY_TASK = """
import os
import signal
import time


def handle_event(
    event: signal.Signals,
    stack_frame,
):
    print(f"CHECKPOINTING Received signal: {event}")


def main():
    print("Starting dummy task, will sleep.")
    signal.signal(signal.SIGTERM, handle_event)
    print("READY")
    time.sleep(float(os.environ["DUMMY_SLEEP"]))
    print("Finished dummy task.")


if __name__ == "__main__":
    main()
"""


async def test_the_preemption_walkthrough(queue, agent, tmp_path, monkeypatch):
    script = tmp_path / "dummy_task.py"
    script.write_text(DUMMY_TASK)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    await batch_enqueue(queue, [f"cd {tmp_path}; set -o monitor && python ./dummy_task.py"] * 40)
    flags = ("--num-workers", "2", "--heartbeat", "--max-consecutive-failures", "5", "--time-limit", "1d")
    first = await agent(*flags, DUMMY_SLEEP="3")
    await until(lambda: first.words.count("READY") == 2, "two running tasks")
    first.signal(signal.SIGINT)
    assert await first.exit_code() == 0
    assert first.words.count("CHECKPOINTING Received signal: 15") == 2
    assert (await queue.size()).total == 40
    second = await agent(*flags, "--when-empty", "exit", node="node-1", DUMMY_SLEEP="0.1")
    assert await second.exit_code() == 0
    assert [worker.events("worker_end")[0]["completed"] for worker in (first, second)] == [0, 40]
    # The two that were returned had finished all the same; nothing else ran twice.
    assert [worker.words.count("Finished dummy task.") for worker in (first, second)] == [2, 40]
    assert await total(queue) == 0
