"""The contract of a queue backend, which the local services and the memory keep, asked of a place's own services."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jobq.address import QueueAddress
from jobq.backends.port import QueueBackend
from jobq.opening import open_backend
from tests.contract.storage.test_queue_contract import *  # noqa: F403 - the same tests, with the backends below

MOST_DELIVERIES = 1000


@pytest.fixture(params=["storage", "service_bus"])
async def backend(request, place, credential, storage_queue, bus) -> AsyncIterator[QueueBackend]:
    """An empty queue that exists."""
    if request.param == "storage":
        address = QueueAddress(place.account, storage_queue)
    else:
        name = await bus.queue(
            maxDeliveryCount=MOST_DELIVERIES, requiresDuplicateDetection=True,
            duplicateDetectionHistoryTimeWindow="PT10M",
        )  # fmt: skip
        address = QueueAddress(place.service_bus, name, service_bus=True)
    async with open_backend(address, place.cloud, credential) as opened:
        await opened.create()
        yield opened
