"""Backends under contract: the queue in memory, and both services through the real SDKs against the local ones."""

from collections.abc import AsyncIterator

import pytest

from jobq.address import QueueAddress
from jobq.backends.memory import MemoryQueue
from jobq.backends.port import QueueBackend
from jobq.cloud import PUBLIC_CLOUDS
from jobq.opening import open_backend
from tests.support import examples  # noqa: F401 - hypothesis tries few, and load is no failure
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
    address = QueueAddress(ACCOUNT, queue_name, server.connection_string(ACCOUNT))
    async with open_backend(address, PUBLIC_CLOUDS["AzureCloud"]) as opened:
        await opened.create()
        yield opened
