"""How deep a Service Bus queue is. See ``ports.azure.TaskQueueDepth`` for the contract.

One request of the namespace's management endpoint, which the right to manage is needed for. The service counts active
messages, locked ones included, and does not tell how many of them are locked; a peek shows locked ones too. So what
waits is not told apart here from what is being run.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

from jobq.cloud import Cloud
from jobq.connect import service_bus_admin_client
from workforce_operator.adapters.depth_errors import depth_error
from workforce_operator.api.spec import Queue
from workforce_operator.domain.errors import SpecError, Unavailable
from workforce_operator.domain.observed import QueueDepth

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.servicebus.aio.management import ServiceBusAdministrationClient

TOTAL_SECONDS = 30.0
RIGHT = "counting messages needs the right to manage: Azure Service Bus Data Owner on the namespace"


class ServiceBusQueueDepth:
    """The port over one management client per namespace; all share one transport."""

    def __init__(self, cloud: Cloud, credential: AsyncTokenCredential, transport: AioHttpTransport) -> None:
        self._cloud = cloud
        self._credential = credential
        self._transport = transport
        self._clients: dict[str, ServiceBusAdministrationClient] = {}

    async def read(self, queue: Queue) -> QueueDepth:
        """See ``ports.azure.TaskQueueDepth``."""
        place = queue.service_bus
        if place is None:
            raise SpecError("queue.serviceBus: needed for type ServiceBus", reason="InvalidQueue")
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                found = await self._client(place.namespace).get_queue_runtime_properties(place.name)
        except (AzureError, OSError, TimeoutError) as error:
            raise depth_error(error, f"{place.namespace}/{place.name}", right=RIGHT) from error
        if found.active_message_count is None:
            raise Unavailable(f"read queue {place.namespace}/{place.name}: the answer has no count of active messages")
        active = found.active_message_count
        return QueueDepth(active, has_visible=active > 0, told_apart=False)

    async def close(self) -> None:
        """Close the clients; the transport is the caller's."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    def _client(self, namespace: str) -> ServiceBusAdministrationClient:
        if namespace not in self._clients:
            client = service_bus_admin_client(
                self._cloud,
                self._cloud.service_bus_host(namespace),
                self._credential,
                transport=self._transport,
                retry_total=0,  # the reconcile loop is the retry
            )
            if client is None:
                raise Unavailable(f"the cloud {self._cloud.name} names no endpoint to count Service Bus messages at")
            self._clients[namespace] = client
        return self._clients[namespace]
