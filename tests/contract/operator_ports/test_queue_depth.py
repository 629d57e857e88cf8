"""The contract of ``ports.azure.TaskQueueDepth``: the fake, azure-storage-queue against Azurite, and azure-servicebus's
management client against the local Service Bus."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
from aiohttp import web

from jobq.cloud import PUBLIC_CLOUDS
from jobq.connect import open_transport, queue_service_client
from tests.contract.operator_ports.scripted_arm import StaticCredential, answer, drop, scripted_arm
from tests.unit.local_servicebus.support import FakeConsumer, message
from workforce_local.servicebus.atom import PREFIX, routes
from workforce_local.servicebus.namespaces import Namespaces
from workforce_local.servicebus.settings import QueueSettings
from workforce_operator.adapters.depths import QueueDepths
from workforce_operator.adapters.memory import MemoryTaskQueueDepth
from workforce_operator.adapters.servicebus.depth import ServiceBusQueueDepth
from workforce_operator.adapters.storage_queue.depth import MOST_PEEKED, StorageQueueDepth
from workforce_operator.api.spec import Queue, ServiceBusQueue, StorageQueue
from workforce_operator.domain.errors import Denied, Missing, Throttled, Unavailable
from workforce_operator.domain.observed import QueueDepth
from workforce_operator.ports.azure import TaskQueueDepth

ACCOUNT = "testaccount"


def queue(name: str) -> Queue:
    return Queue(type="Storage", storage=StorageQueue(account=ACCOUNT, name=name))


def bus_queue(name: str) -> Queue:
    return Queue(type="ServiceBus", service_bus=ServiceBusQueue(namespace="my-bus", name=name))


@dataclass
class Bench:
    """A reader, and a producer and worker behind its back."""

    depth: TaskQueueDepth
    queue: Queue
    fill: Callable[[int, int], Awaitable[None]]
    """Make the queue with so many tasks, and have a worker take so many of them."""
    expected: Callable[[int, int], QueueDepth]
    """What is to be read of so many tasks of which so many were taken."""


@pytest_asyncio.fixture(params=["memory", "azurite", "service bus"])
async def bench(request, queue_name) -> AsyncIterator[Bench]:
    opened = {"memory": _memory, "azurite": _azurite, "service bus": _service_bus}[request.param]
    async with opened(request, queue_name) as made:
        yield made


@asynccontextmanager
async def _memory(_request, queue_name) -> AsyncIterator[Bench]:
    fake = MemoryTaskQueueDepth()

    async def fill(tasks: int, taken: int) -> None:
        fake.set(ACCOUNT, queue_name, tasks, visible=tasks > taken)

    yield Bench(fake, queue(queue_name), fill, lambda tasks, taken: QueueDepth(tasks, has_visible=tasks > taken))


@asynccontextmanager
async def _azurite(request, queue_name) -> AsyncIterator[Bench]:
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

        def expected(tasks: int, taken: int) -> QueueDepth:
            waiting = tasks - taken
            return QueueDepth(tasks, has_visible=waiting > 0, visible=waiting if waiting < MOST_PEEKED else None)

        depth = StorageQueueDepth(cloud, None, transport, connection_string=secret)
        yield Bench(depth, queue(queue_name), fill, expected)
        await depth.close()
        await producer.close()


@asynccontextmanager
async def _service_bus(request, queue_name) -> AsyncIterator[Bench]:
    """Locked messages are active ones to the service, so that what waits is not told apart."""
    namespaces = Namespaces()
    broker = namespaces.declare("my-bus").broker
    app = web.Application()
    app.add_routes(routes(namespaces, lambda token: token == "token"))
    async with https(app, request.getfixturevalue("tmp_path")) as (address, ca_file):
        cloud = replace(
            PUBLIC_CLOUDS["AzureCloud"], service_bus_management=f"{address}{PREFIX}/{{namespace}}", ca_bundle=ca_file
        )
        async with open_transport(cloud) as transport:

            async def fill(tasks: int, taken: int) -> None:
                made = broker.create_queue(queue_name, QueueSettings())
                for number in range(tasks):
                    made.submit(message(f"task {number}"))
                FakeConsumer(made, taken)
                assert made.counts().locked == taken

            depth = ServiceBusQueueDepth(cloud, StaticCredential(), transport)
            yield Bench(
                depth,
                bus_queue(queue_name),
                fill,
                lambda tasks, _: QueueDepth(tasks, has_visible=tasks > 0, told_apart=False),
            )
            await depth.close()


@asynccontextmanager
async def https(app: web.Application, folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """Serve an application; gives host:port and whom to trust."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = folder / "https-ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}", ca_file
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("tasks", "taken"), [(0, 0), (3, 1), (2, 2), (40, 1)])
async def test_the_length_counts_tasks_that_wait_and_tasks_that_are_worked_on(bench: Bench, tasks: int, taken: int):
    await bench.fill(tasks, taken)
    assert await bench.depth.read(bench.queue) == bench.expected(tasks, taken)


async def test_looking_takes_nothing(bench: Bench):
    await bench.fill(1, 0)
    for _ in range(3):
        assert await bench.depth.read(bench.queue) == bench.expected(1, 0)


async def test_a_queue_that_is_not_there_is_missing_and_not_empty(bench: Bench):
    with pytest.raises(Missing):
        await bench.depth.read(bench.queue)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(403, "<Error><Code>AuthorizationPermissionMismatch</Code></Error>"), Denied),
        (answer(401, "<Error/>"), Denied),
        (answer(503, "<Error><Code>ServerBusy</Code></Error>", Retry_After="3"), Throttled),
        (answer(500, "<Error><Code>InternalError</Code></Error>"), Unavailable),
        (answer(502, "<html>bad gateway</html>"), Unavailable),
        (answer(200, ""), Unavailable),  # without the header that says how many: unknown, not none
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


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(401, "<Error><Code>401</Code><Detail>Manage claim is required</Detail></Error>"), Denied),
        (answer(403, "<Error><Code>403</Code></Error>"), Denied),
        (answer(503, "<Error><Code>503</Code></Error>", Retry_After="3"), Throttled),
        (answer(429, "<Error><Code>429</Code></Error>"), Throttled),
        (answer(500, "<Error><Code>500</Code></Error>"), Unavailable),
        (drop, Unavailable),
    ],
)
async def test_each_misbehaviour_of_service_bus_has_one_meaning(tmp_path, reply, expected):
    async with scripted_arm(tmp_path) as server:
        cloud = replace(server.cloud(), service_bus_management=server.url.removeprefix("https://"))
        async with open_transport(cloud) as transport:
            server.script.extend([reply] * 3)
            depth = ServiceBusQueueDepth(cloud, StaticCredential(), transport)
            with pytest.raises(expected, match="read queue my-bus/tasks") as raised:
                await depth.read(bus_queue("tasks"))
            if expected is Denied:
                assert "needs the right to manage: Azure Service Bus Data Owner" in str(raised.value)
            assert len(server.seen) <= 2  # aiohttp repeats a GET whose connection was lost
            await depth.close()


async def test_each_kind_of_queue_is_asked_at_its_own_service():
    storage, service_bus = MemoryTaskQueueDepth(), MemoryTaskQueueDepth()
    storage.set(ACCOUNT, "tasks", 1)
    service_bus.set("my-bus", "tasks", 2)
    depths = QueueDepths(storage, service_bus)
    assert (await depths.read(queue("tasks"))).length == 1
    assert (await depths.read(bus_queue("tasks"))).length == 2
