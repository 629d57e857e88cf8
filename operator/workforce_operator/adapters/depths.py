"""One port for task queues of every kind: each is asked at the adapter of its service."""

from __future__ import annotations

from workforce_operator.adapters.servicebus.depth import ServiceBusQueueDepth
from workforce_operator.adapters.storage_queue.depth import StorageQueueDepth
from workforce_operator.api.spec import Queue
from workforce_operator.domain.observed import QueueDepth


class QueueDepths:
    """The port ``TaskQueueDepth`` for all kinds of queues."""

    def __init__(self, storage: StorageQueueDepth, service_bus: ServiceBusQueueDepth) -> None:
        self._storage, self._service_bus = storage, service_bus

    async def read(self, queue: Queue) -> QueueDepth:
        """See ``ports.azure.TaskQueueDepth``."""
        return await (self._service_bus if queue.type == "ServiceBus" else self._storage).read(queue)

    async def close(self) -> None:
        """Close both."""
        await self._storage.close()
        await self._service_bus.close()
