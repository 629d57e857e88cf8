"""Messages of Service Bus: what we put there is what the ancestor writes, and each reads the other's.

The ancestor's own code writes and reads the bodies, and gives tasks up; that its worker takes them over REST is Service
Bus's affair.
"""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage

from jobq.address import QueueAddress
from jobq.connect import service_bus_client
from jobq.opening import open_backend
from jobq.queue import JobQ
from jobq.task import Task, decode_task, shell_kwargs
from tests.interop.conftest import NAMESPACE as WF_BUS
from tests.interop.conftest import PROGRAMS, Ancestor, OurAgent
from tests.support.service_bus import HOST, NAMESPACE, AnyToken, Bus

COMMANDS = ["true", 'echo "hi <é> & $NAME"', "python a.py --x '😀'\n"]
WRITE = """
import json, sys
from ai4s.jobq.entities import Task
for given in json.load(sys.stdin):
    print(Task(kwargs=given["kwargs"], num_retries=given["num_retries"]).serialize())
"""
READ = """
import json, sys
from ai4s.jobq.entities import Task
for body in json.load(sys.stdin):
    task = Task.deserialize(body)
    print(json.dumps({"id": task.id, "kwargs": task.kwargs, "num_retries": task.num_retries}))
"""


def ancestor(installed: Path, program: str, given: Any) -> list[str]:
    """What a program of the ancestor prints, line by line."""
    done = subprocess.run(
        [installed / "bin" / "python", "-c", program], input=json.dumps(given), capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def address(service_bus: Bus, queue_name: str) -> QueueAddress:
    service_bus.make_queue(queue_name)
    return QueueAddress(NAMESPACE, queue_name, service_bus=True)


def stored(service_bus: Bus, name: str) -> list[Any]:
    """The messages of a queue as they are."""
    return [found.message for found in service_bus.run(lambda: service_bus.broker.queue(name).peek(1, 10))]


async def test_what_we_put_on_service_bus_is_what_the_ancestor_writes(installed, service_bus, address, queue_name):
    tasks = [{"kwargs": dict(shell_kwargs(command, {"NAME": "bob"})), "num_retries": 2} for command in COMMANDS]
    theirs = ancestor(installed, WRITE, tasks)
    async with open_backend(address, service_bus.cloud(), AnyToken()) as backend:
        for command in COMMANDS:
            await JobQ(backend).push(command, env={"NAME": "bob"}, num_retries=2)
    ours = stored(service_bus, queue_name)
    assert [json.loads(line)["id"] for line in theirs] == [message.message_id for message in ours]
    async with open_backend(address, service_bus.cloud(), AnyToken()) as backend:
        assert [seen.body for seen in await backend.peek(3)] == theirs


async def test_the_ancestor_reads_what_we_retry_and_give_up(installed, service_bus, address):
    task = Task.new(shell_kwargs("exit 1"), num_retries=2)
    async with open_backend(address, service_bus.cloud(), AnyToken()) as backend:
        await JobQ(backend).push_task(task)
        (first,) = await backend.receive(1, timedelta(seconds=30))
        await backend.release(first, body=task.retried().encode())
        (retried,) = await backend.peek(1)
    (line,) = ancestor(installed, READ, [retried.body])
    assert json.loads(line) == {"id": task.id, "kwargs": task.kwargs, "num_retries": 1}


async def test_we_read_what_the_ancestor_puts_there(installed, service_bus, address, queue_name):
    """ai4s-jobq 3.13.1: the body is the task's text, the message's id the task's."""
    given = [{"kwargs": dict(shell_kwargs(command)), "num_retries": 1} for command in COMMANDS]
    theirs = ancestor(installed, WRITE, given)
    async with (
        service_bus_client(service_bus.cloud(), HOST, AnyToken()) as client,
        client.get_queue_sender(queue_name) as sender,
    ):
        for body in theirs:
            await sender.send_messages(ServiceBusMessage(body, message_id=json.loads(body)["id"]))
    async with open_backend(address, service_bus.cloud(), AnyToken()) as backend:
        found = [decode_task(delivery.body) for delivery in await backend.receive(3, timedelta(seconds=30))]
    assert [task.kwargs for task in found] == [task["kwargs"] for task in given]
    assert [task.encode() for task in found] == theirs


def test_the_ancestor_looks_at_our_messages_and_we_read_and_retry_what_it_gives_up(
    ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path
) -> None:
    """ai4s-jobq 3.13.1: its dead letters of Service Bus are native ones, with the error as their reason."""
    address = f"sb://{WF_BUS}/{queue}"
    our_agent("push", address, "-c", f"echo ran > {tmp_path}/one")
    done = json.loads(ancestor.run("python", PROGRAMS / "give_up.py", f"{WF_BUS}.servicebus.windows.net", queue))
    assert done["id"] in json.dumps(done["seen"])
    (line,) = our_agent("failed", "list", address).splitlines()
    assert line.startswith(done["id"])
    assert done["reason"] in line
    our_agent("failed", "retry", address, "--all")
    our_agent("run", address, "--when-empty", "exit")
    assert (tmp_path / "one").read_text() == "ran\n"
