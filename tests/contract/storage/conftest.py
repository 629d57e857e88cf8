"""Backends under contract: the queue in memory, and Azure Storage Queue through the real SDK against Azurite."""

from collections.abc import AsyncIterator

import pytest

from jobq.backends.memory import MemoryQueue
from jobq.backends.port import QueueBackend
from jobq.backends.storage import StorageQueue
from jobq.cloud import PUBLIC_CLOUDS
from jobq.connect import open_transport, queue_service_client
from tests.support.storage import ACCOUNT


@pytest.fixture(params=["memory", "storage"])
async def backend(request: pytest.FixtureRequest, queue_name: str) -> AsyncIterator[QueueBackend]:
    """An empty queue that exists."""
    if request.param == "memory":
        yield MemoryQueue(f"{ACCOUNT}/{queue_name}")
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
