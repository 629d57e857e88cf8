"""The contract of ``ports.azure.TaskQueueDepth``: the fake, and azure-storage-queue against Azurite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from jobq.cloud import PUBLIC_CLOUDS
from jobq.connect import open_transport, queue_service_client
from tests.contract.operator_ports.scripted_arm import StaticCredential, answer, drop, scripted_arm
from workforce_operator.adapters.memory import MemoryTaskQueueDepth
from workforce_operator.adapters.storage_queue.depth import StorageQueueDepth
from workforce_operator.api.spec import Queue, StorageQueue
from workforce_operator.domain.errors import Denied, Missing, Throttled, Unavailable
from workforce_operator.domain.observed import QueueDepth
from workforce_operator.ports.azure import TaskQueueDepth

ACCOUNT = "testaccount"


def queue(name: str) -> Queue:
    return Queue(type="Storage", storage=StorageQueue(account=ACCOUNT, name=name))


@dataclass
class Bench:
    """A reader, and a producer and worker behind its back."""

    depth: TaskQueueDepth
    name: str
    fill: Callable[[int, int], Awaitable[None]]
    """Make the queue with so many tasks, and have a worker take so many of them."""


@pytest_asyncio.fixture(params=["memory", "azurite"])
async def bench(request, queue_name) -> AsyncIterator[Bench]:
    if request.param == "memory":
        fake = MemoryTaskQueueDepth()

        async def fill_fake(tasks: int, taken: int) -> None:
            fake.set(ACCOUNT, queue_name, tasks, visible=tasks > taken)

        yield Bench(fake, queue_name, fill_fake)
        return
    azurite = request.getfixturevalue("azurite")
    cloud, secret = PUBLIC_CLOUDS["AzureCloud"], azurite.connection_string(ACCOUNT)
    async with open_transport(cloud) as transport:
        producer = queue_service_client(cloud, ACCOUNT, None, transport, connection_string=secret)

        async def fill(tasks: int, taken: int) -> None:
            client = await producer.create_queue(queue_name)
            for number in range(tasks):
                await client.send_message(f"task {number}")
            for _ in range(taken):
                assert await client.receive_message(visibility_timeout=300)

        depth = StorageQueueDepth(cloud, None, transport, connection_string=secret)
        yield Bench(depth, queue_name, fill)
        await depth.close()
        await producer.close()


async def test_an_empty_queue_has_nothing(bench: Bench):
    await bench.fill(0, 0)
    assert await bench.depth.read(queue(bench.name)) == QueueDepth(0, has_visible=False)


async def test_the_length_counts_tasks_that_wait_and_tasks_that_are_worked_on(bench: Bench):
    await bench.fill(3, 1)
    assert await bench.depth.read(queue(bench.name)) == QueueDepth(3, has_visible=True)


async def test_tasks_that_are_all_worked_on_are_counted_and_not_visible(bench: Bench):
    await bench.fill(2, 2)
    assert await bench.depth.read(queue(bench.name)) == QueueDepth(2, has_visible=False)


async def test_looking_takes_nothing(bench: Bench):
    await bench.fill(1, 0)
    for _ in range(3):
        assert await bench.depth.read(queue(bench.name)) == QueueDepth(1, has_visible=True)


async def test_a_queue_that_is_not_there_is_missing_and_not_empty(bench: Bench):
    with pytest.raises(Missing):
        await bench.depth.read(queue(bench.name))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(403, "<Error><Code>AuthorizationPermissionMismatch</Code></Error>"), Denied),
        (answer(401, "<Error/>"), Denied),
        (answer(503, "<Error><Code>ServerBusy</Code></Error>", Retry_After="3"), Throttled),
        (answer(500, "<Error><Code>InternalError</Code></Error>"), Unavailable),
        (answer(502, "<html>bad gateway</html>"), Unavailable),
        (drop, Unavailable),
    ],
)
async def test_each_misbehaviour_of_storage_has_one_meaning(tmp_path, reply, expected):
    async with scripted_arm(tmp_path) as server, open_transport(server.cloud()) as transport:
        server.script.extend([reply] * 3)
        depth = StorageQueueDepth(server.cloud(), StaticCredential(), transport)
        with pytest.raises(expected):
            await depth.read(queue("tasks"))
        await depth.close()


async def test_storage_that_is_not_there_is_unavailable(tmp_path):
    async with scripted_arm(tmp_path) as server:
        cloud = replace(server.cloud(), storage_queue="https://127.0.0.1:1/{account}")
        async with open_transport(cloud) as transport:
            depth = StorageQueueDepth(cloud, StaticCredential(), transport)
            with pytest.raises(Unavailable):
                await depth.read(queue("tasks"))
            await depth.close()
