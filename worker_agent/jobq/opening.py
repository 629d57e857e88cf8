"""Opens the backend of a queue: the one place that knows which service is which class, and what that needs.

The SDKs are imported where they are used, because a worker of one service need not pay for the other.
"""

# ruff: noqa: PLC0415 - imports inside functions are this module's purpose, see above

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from jobq.address import AddressError, QueueAddress
from jobq.backends.port import QueueBackend
from jobq.cloud import Cloud
from jobq.connect import (
    USER_AGENT,
    open_credential,
    service_bus_admin_client,
    service_bus_client,
)

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.servicebus.aio import ServiceBusClient


@asynccontextmanager
async def open_backend(
    address: QueueAddress, cloud: Cloud, credential: AsyncTokenCredential | TokenCredential | None = None
) -> AsyncIterator[QueueBackend]:
    """Open a queue.

    Args:
        address: Where it is.
        cloud: Which Azure.
        credential: Whose rights to use, asynchronous or not; it stays the caller's. By default this process's
            identity, unless the address has a connection string.

    Raises:
        AddressError: The service cannot have a queue of this name.
    """
    address.check()
    async with AsyncExitStack() as stack:
        own: AsyncTokenCredential | None = None
        if credential is not None:
            own = as_asynchronous(credential)
        elif address.connection_string is None:
            own = await stack.enter_async_context(open_credential(cloud))
        opened = _open_service_bus if address.service_bus else _open_storage
        yield await stack.enter_async_context(opened(address, cloud, own))


@asynccontextmanager
async def _open_storage(
    address: QueueAddress, cloud: Cloud, credential: AsyncTokenCredential | None
) -> AsyncIterator[QueueBackend]:
    from jobq.backends.storage import StorageQueue
    from jobq.backends.storage_rest import Account, QueueService, TokenIdentity, origin, read_connection_string
    from jobq.http import open_http

    if address.connection_string:
        try:
            account = read_connection_string(address.connection_string)
        except ValueError as error:
            raise AddressError(str(error)) from None
    else:
        assert credential is not None  # made by `open_backend` where there is no connection string
        identity = TokenIdentity(credential, cloud.audiences.storage)
        account = Account(address.account, cloud.storage_queue_url(address.account), identity)
    http = open_http(origin(account.url), cloud.ca_bundle)
    try:
        yield StorageQueue(QueueService(account.url, http, account.identity, USER_AGENT), account.name, address.queue)
    finally:
        await http.close()


@asynccontextmanager
async def _open_service_bus(
    address: QueueAddress, cloud: Cloud, credential: AsyncTokenCredential | None
) -> AsyncIterator[QueueBackend]:
    from jobq.backends.service_bus import OPTIONS, SENDING_OPTIONS, ServiceBusQueue
    from jobq.backends.service_bus_admin import Administration

    async with AsyncExitStack() as stack:
        receiving = await stack.enter_async_context(_service_bus(address, cloud, credential, OPTIONS))
        sending = await stack.enter_async_context(_service_bus(address, cloud, credential, SENDING_OPTIONS))
        host = receiving.fully_qualified_namespace
        administration = None
        if credential is not None and not address.connection_string:
            admin_client = service_bus_admin_client(cloud, host, credential)
            if admin_client is not None:
                await stack.enter_async_context(admin_client)
                administration = Administration(admin_client, host)
        queue = ServiceBusQueue(receiving, sending, host, address.queue, administration)
        stack.push_async_callback(queue.close)
        yield queue


def _service_bus(
    address: QueueAddress, cloud: Cloud, credential: AsyncTokenCredential | None, options: dict[str, Any]
) -> ServiceBusClient:
    if address.connection_string:
        from azure.servicebus.aio import ServiceBusClient

        try:
            return ServiceBusClient.from_connection_string(address.connection_string, **options)
        except ValueError as error:  # says what is wrong, without the string
            raise AddressError(f"the connection string of Service Bus cannot be read: {error}") from None
    assert credential is not None  # made by `open_backend` where there is no connection string
    return service_bus_client(cloud, cloud.service_bus_host(address.account), credential, **options)


def as_asynchronous(credential: AsyncTokenCredential | TokenCredential) -> AsyncTokenCredential:
    """A credential of either kind as an asynchronous one: what `azure.identity` itself has will do."""
    if inspect.iscoroutinefunction(credential.get_token):
        return credential  # type: ignore[return-value] # that is what makes it one
    return _InThread(credential)


class _InThread:
    """A synchronous credential that is asked in a thread, because it may wait for a network or a program."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """See the protocol."""
        token: AccessToken = await asyncio.to_thread(self._credential.get_token, *scopes, **options)
        return token

    async def close(self) -> None:
        """Nothing: the credential is its owner's to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing, as above."""
