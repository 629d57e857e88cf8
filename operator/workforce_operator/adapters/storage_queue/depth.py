"""How deep a Storage queue is. See ``ports.azure.TaskQueueDepth`` for the contract.

Reads only: the length with the queue's properties, and a peek, which claims nothing. The service counts messages that
are being worked on in the length and does not show them to a peek: that tells how many wait as long as they are few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)

from jobq.cloud import Cloud
from jobq.connect import queue_service_client
from workforce_operator.adapters.arm.errors import DEFAULT_RETRY_AFTER, retry_after
from workforce_operator.api.spec import Queue, StorageQueue
from workforce_operator.domain.errors import Denied, Missing, OperatorError, SpecError, Throttled, Unavailable
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
        client = self._client(storage.account).get_queue_client(storage.name)
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                properties = await client.get_queue_properties()
                length = properties.approximate_message_count or 0
                seen = len(await client.peek_messages(max_messages=MOST_PEEKED)) if length else 0
        except (AzureError, OSError, TimeoutError) as error:
            raise _error(error, storage) from error
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


def _error(error: BaseException, storage: StorageQueue) -> OperatorError:
    name = f"{storage.account}/{storage.name}"
    reason = str(getattr(error, "message", error)).splitlines()
    text = f"read queue {name}: {reason[0] if reason else type(error).__name__}"
    match error:
        case ResourceNotFoundError():
            return Missing(text)
        case ClientAuthenticationError():
            return Denied(text, scope=name)
        case HttpResponseError(status_code=401 | 403):
            return Denied(text, scope=name)
        case HttpResponseError(status_code=429 | 503) if error.response is not None:
            headers: Mapping[str, str] = getattr(error.response, "headers", {})
            return Throttled(text, retry_after=retry_after(headers) or DEFAULT_RETRY_AFTER)
        case _:
            return Unavailable(text)
