"""How deep a Storage queue is. See ``ports.azure.TaskQueueDepth`` for the contract.

Reads only: the length with the queue's properties, and a peek, which claims nothing. The service counts messages that
are being worked on in the length and does not show them to a peek: that tells how many wait as long as they are few.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

from jobq.cloud import Cloud
from jobq.connect import queue_service_client
from workforce_operator.adapters.depth_errors import depth_error
from workforce_operator.api.spec import Queue
from workforce_operator.domain.errors import SpecError, Unavailable
from workforce_operator.domain.observed import QueueDepth

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.storage.queue.aio import QueueServiceClient

TOTAL_SECONDS = 30.0
CONNECT_SECONDS = 10
READ_SECONDS = 15
MOST_PEEKED = 32
"""The service shows no more messages at a time. Where it shows fewer, no others wait."""


class StorageQueueDepth:
    """The port over one client per storage account; all share one transport."""

    def __init__(
        self,
        cloud: Cloud,
        credential: AsyncTokenCredential | None,
        transport: AioHttpTransport,
        *,
        connection_string: str | None = None,
    ) -> None:
        self._cloud = cloud
        self._credential = credential
        self._transport = transport
        self._connection_string = connection_string
        self._clients: dict[str, QueueServiceClient] = {}

    async def read(self, queue: Queue) -> QueueDepth:
        """See ``ports.azure.TaskQueueDepth``."""
        storage = queue.storage
        if storage is None:
            raise SpecError("queue.storage: needed for type Storage", reason="InvalidQueue")
        name = f"{storage.account}/{storage.name}"
        client = self._client(storage.account).get_queue_client(storage.name)
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                properties = await client.get_queue_properties()
                length = properties.approximate_message_count
                if length is None:
                    raise Unavailable(f"read queue {name}: the answer has no count of messages")
                seen = len(await client.peek_messages(max_messages=MOST_PEEKED)) if length else 0
        except (AzureError, OSError, TimeoutError) as error:
            raise depth_error(error, name, made_by="the first push makes it") from error
        return QueueDepth(length, has_visible=seen > 0, visible=seen if seen < MOST_PEEKED else None)

    async def close(self) -> None:
        """Close the clients; the transport is the caller's."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    def _client(self, account: str) -> QueueServiceClient:
        if account not in self._clients:
            self._clients[account] = queue_service_client(
                self._cloud,
                account,
                self._credential,
                self._transport,
                connection_string=self._connection_string,
                retry_total=0,  # the reconcile loop is the retry
                connection_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
            )
        return self._clients[account]
