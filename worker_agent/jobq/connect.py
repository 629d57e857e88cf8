"""How everybody reaches a `Cloud`: credentials, HTTP transport, Service Bus and queue clients.

This is the one place that knows how a custom endpoint, a private certificate authority and a token audience are given
to the Azure SDKs. It decides nothing and holds no state. The SDKs are imported where they are used, because they cost
half a second that `workforce-agent --version` and a storage-only start need not pay.
"""

# ruff: noqa: PLC0415 - imports inside functions are this module's purpose, see above

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from jobq.cloud import PUBLIC_CLOUDS, Cloud
from jobq.version import __version__

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.identity.aio import DefaultAzureCredential
    from azure.servicebus.aio import ServiceBusClient
    from azure.servicebus.aio.management import ServiceBusAdministrationClient
    from azure.storage.queue.aio import QueueServiceClient

USER_AGENT = f"workforce/{__version__}"

CLI_CREDENTIAL_SECONDS = 10
"""How long `az` may take to answer before the next credential is tried."""

KEEP_SECONDS = 15.0
"""How long an idle connection is kept, if nobody asks for more: as long as aiohttp keeps it."""

_QUEUE_RETRIES: dict[str, Any] = {"initial_backoff": 0, "increment_base": 2, "random_jitter_range": 1, "retry_total": 2}
"""The SDK's own first pause is 15 s, a long time for a worker that only lost a connection; ours try again above it."""


def open_credential(cloud: Cloud, *, environ: Mapping[str, str] = os.environ) -> DefaultAzureCredential:
    """The identity of this process: environment, workload identity, managed identity, or the person's `az` login.

    Credentials of other developer tools are left out: they start slow programs or windows. The client id of a managed
    identity comes from `AZURE_CLIENT_ID`, or from the variable that AzureML sets on its nodes. Close it after use.
    """
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential(
        authority=cloud.authority,
        # An authority that the public metadata does not list cannot be discovered, as in an air-gapped cloud.
        disable_instance_discovery=cloud.name not in PUBLIC_CLOUDS,
        managed_identity_client_id=environ.get("AZURE_CLIENT_ID") or environ.get("DEFAULT_IDENTITY_CLIENT_ID"),
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_powershell_credential=True,
        exclude_developer_cli_credential=True,
        process_timeout=CLI_CREDENTIAL_SECONDS,
        **_trust(cloud),
    )


@asynccontextmanager
async def open_transport(
    cloud: Cloud, *, connections: int = 0, keep_seconds: float = KEEP_SECONDS
) -> AsyncIterator[AioHttpTransport]:
    """One HTTP transport for any number of azure-core clients: one session, one TLS context.

    Clients that are closed leave it open. Without it each request would build a TLS context and a connection of its
    own, because that is what azure-core's asynchronous transport makes of `connection_verify`.

    Args:
        cloud: Whose certificate authority to trust.
        connections: The most connections at a time; 0 means no limit.
        keep_seconds: How long a connection that nobody uses is kept for the next request.
    """
    import aiohttp
    from azure.core.pipeline.transport import AioHttpTransport

    context = ssl.create_default_context(cafile=str(cloud.ca_bundle) if cloud.ca_bundle else None)
    connector = aiohttp.TCPConnector(ssl=context, limit=connections, keepalive_timeout=keep_seconds)
    session = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=proxied()
    )
    async with session:
        yield AioHttpTransport(session=session, session_owner=False)


def proxied() -> bool:
    """Whether the environment names a proxy. Only then may a session look there: it does so anew at every request.

    That costs two trips to a thread and several attempts to open a `.netrc` file, whose passwords nobody here wants.
    """
    from urllib.request import getproxies

    return not getproxies().keys().isdisjoint({"http", "https"})


def service_bus_client(cloud: Cloud, host: str, credential: AsyncTokenCredential, **options: Any) -> ServiceBusClient:
    """A Service Bus client for a namespace, over AMQP.

    Args:
        cloud: Where Service Bus is.
        host: Fully qualified host name of the namespace (`cloud.service_bus_host(name)`).
        credential: Whose rights to use.
        options: Passed on to the client: `try_timeout`, `retry_total` and so on.
    """
    from azure.servicebus import TransportType
    from azure.servicebus.aio import ServiceBusClient

    endpoint: dict[str, Any] = {}
    if cloud.service_bus is not None:
        # The only way that the SDK keeps a port on TLS; without the transport type it would speak WebSocket.
        endpoint = {"custom_endpoint_address": f"sb://{cloud.service_bus}", "transport_type": TransportType.Amqp}
    return ServiceBusClient(host, credential, user_agent=USER_AGENT, **endpoint, **_trust(cloud), **options)


def service_bus_admin_client(
    cloud: Cloud, host: str, credential: AsyncTokenCredential, **options: Any
) -> ServiceBusAdministrationClient | None:
    """A client that makes and counts a namespace's queues; None where the cloud says nothing of such an endpoint.

    Args:
        cloud: Where Service Bus is.
        host: Fully qualified host name of the namespace.
        credential: Whose rights to use.
        options: Passed on to the client: retry settings, a transport and so on.
    """
    from azure.servicebus.aio.management import ServiceBusAdministrationClient

    if cloud.service_bus is not None and cloud.service_bus_management is None:
        return None
    endpoint = (cloud.service_bus_management or host).replace("{namespace}", host.partition(".")[0])
    return ServiceBusAdministrationClient(
        endpoint, credential, **{"user_agent": USER_AGENT, "retry_total": 2, **_trust(cloud), **options}
    )


def queue_service_client(
    cloud: Cloud,
    account: str,
    credential: AsyncTokenCredential | None,
    transport: AioHttpTransport,
    *,
    connection_string: str | None = None,
    **options: Any,
) -> QueueServiceClient:
    """A client of a storage account's queue service.

    Args:
        cloud: Where storage is.
        account: Name of the storage account; a connection string takes its place.
        credential: Whose rights to use; not needed with a connection string.
        transport: From `open_transport`.
        connection_string: Of the storage account, with a `QueueEndpoint` or an account name.
        options: Passed on to the client: retry settings and so on.
    """
    from azure.storage.queue.aio import QueueServiceClient

    options = {**_QUEUE_RETRIES, **options}
    if connection_string:
        return QueueServiceClient.from_connection_string(
            connection_string, transport=transport, user_agent=USER_AGENT, **options
        )
    return QueueServiceClient(
        cloud.storage_queue_url(account),
        credential=credential,
        audience=cloud.audiences.storage,
        transport=transport,
        user_agent=USER_AGENT,
        **options,
    )


def _trust(cloud: Cloud) -> dict[str, Any]:
    return {"connection_verify": str(cloud.ca_bundle)} if cloud.ca_bundle else {}
