"""Task queues of the local Service Bus, opened as the product opens them."""

from collections.abc import AsyncIterator, Callable

import pytest

from jobq.address import QueueAddress
from jobq.backends.service_bus import ServiceBusQueue
from jobq.opening import open_backend
from tests.support.service_bus import NAMESPACE, AnyToken, Bus


@pytest.fixture
def address(service_bus: Bus, queue_name: str) -> QueueAddress:
    """An empty queue that exists."""
    service_bus.make_queue(queue_name)
    return QueueAddress(NAMESPACE, queue_name, service_bus=True)


@pytest.fixture
async def backend(service_bus: Bus, address: QueueAddress) -> AsyncIterator[ServiceBusQueue]:
    """The same, opened."""
    async with open_backend(address, service_bus.cloud(), AnyToken()) as opened:
        assert isinstance(opened, ServiceBusQueue)
        yield opened


@pytest.fixture
def counts(service_bus: Bus, queue_name: str) -> Callable[[], dict[str, int]]:
    """What the service itself counts."""

    def count() -> dict[str, int]:
        found = service_bus.counts(queue_name)
        return {
            "active": found.active,
            "locked": found.locked,
            "scheduled": found.scheduled,
            "dead": found.dead_lettered,
        }

    return count
