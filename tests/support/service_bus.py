"""The local Service Bus for tests of the task queue: one server per test session, in a thread."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme
from azure.core.credentials import AccessToken

from jobq.cloud import PUBLIC_CLOUDS, Cloud
from workforce_local.servicebus.namespaces import Namespaces
from workforce_local.servicebus.server import ServiceBusServer
from workforce_local.servicebus.settings import QueueSettings
from workforce_local.servicebus.tokens import authorizer

T = TypeVar("T")
NAMESPACE, HOST = "bus", "bus.servicebus.windows.net"
KEY_NAME, KEY = "RootManageSharedAccessKey", "a-key-for-tests"


class AnyToken:
    """A credential; this bus accepts its token."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken("a-token", int(time.time()) + 3600)

    async def close(self) -> None:
        """Nothing to close."""


class Bus:
    """A running Service Bus."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        namespaces = Namespaces()
        self.broker = namespaces.declare(NAMESPACE).broker
        self.server = ServiceBusServer(
            namespaces, ssl_context=context, authorize=authorizer({KEY_NAME: KEY}, lambda token: token == "a-token")
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service-bus")

    @property
    def connection_string(self) -> str:
        return (
            f"Endpoint=sb://127.0.0.1:{self.server.plain_port};SharedAccessKeyName={KEY_NAME};SharedAccessKey={KEY};"
            "UseDevelopmentEmulator=true;"
        )

    def cloud(self, **changes: Any) -> Cloud:
        """The cloud that it belongs to."""
        endpoint = {"name": "Local", "service_bus": f"127.0.0.1:{self.server.tls_port}", "ca_bundle": self.ca_file}
        return replace(PUBLIC_CLOUDS["AzureCloud"], **{**endpoint, **changes})

    def make_queue(self, name: str, **settings: Any) -> None:
        """Make a queue as this project makes them, but with the shortest locks that the service has."""
        chosen = {"lock_duration": 5.0, "max_delivery_count": 1000, "duplicate_window": 600.0, **settings}
        self.run(lambda: self.broker.create_queue(name, QueueSettings(**chosen)))

    def counts(self, path: str) -> Any:
        """How many messages a queue holds."""
        return self.run(lambda: self.broker.snapshot()[path])

    def run(self, function: Callable[[], T]) -> T:
        """Call something in the server's thread."""

        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(30)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@pytest.fixture(scope="session")
def service_bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bus]:
    """A local Service Bus with one namespace."""
    bus = Bus(tmp_path_factory.mktemp("service-bus"))
    bus.start()
    yield bus
    bus.stop()
