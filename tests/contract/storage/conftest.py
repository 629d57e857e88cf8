"""Backends under contract: the queue in memory, and both services through the real SDKs against the local ones."""

from collections.abc import AsyncIterator

import pytest

from jobq.address import QueueAddress
from jobq.backends.memory import MemoryQueue
from jobq.backends.port import QueueBackend
from jobq.backends.storage import StorageQueue
from jobq.cloud import PUBLIC_CLOUDS
from jobq.connect import open_transport, queue_service_client
from jobq.opening import open_backend
from tests.support.service_bus import NAMESPACE, AnyToken
from tests.support.storage import ACCOUNT


@pytest.fixture(params=["memory", "storage", "service_bus"])
async def backend(request: pytest.FixtureRequest, queue_name: str) -> AsyncIterator[QueueBackend]:
    """An empty queue that exists."""
    if request.param == "memory":
        yield MemoryQueue(f"{ACCOUNT}/{queue_name}")
        return
    if request.param == "service_bus":
        bus = request.getfixturevalue("service_bus")
        bus.make_queue(queue_name)
        address = QueueAddress(NAMESPACE, queue_name, service_bus=True)
        async with open_backend(address, bus.cloud(), AnyToken()) as opened:
            await opened.create()
            yield opened
        return
    server = request.getfixturevalue("azurite")
    cloud = PUBLIC_CLOUDS["AzureCloud"]
    async with (
        open_transport(cloud) as transport,
        queue_service_client(
            cloud, ACCOUNT, None, transport, connection_string=server.connection_string(ACCOUNT)
        ) as client,
    ):
        queue = StorageQueue(client, queue_name)
        await queue.create()
        yield queue
