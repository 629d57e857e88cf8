"""One server for all tests of a worker process, and the SDK's two clients behind one asynchronous face.

The server runs in a thread with a loop of its own, because the synchronous SDK blocks the loop of its test.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
import trustme
from azure.servicebus import ServiceBusClient as SyncClient
from azure.servicebus import TransportType
from azure.servicebus.aio import ServiceBusClient as AioClient

from workforce_local.servicebus.broker import Broker
from workforce_local.servicebus.namespaces import Namespaces
from workforce_local.servicebus.server import ServiceBusServer
from workforce_local.servicebus.settings import QueueSettings
from workforce_local.servicebus.stored import Counts
from workforce_local.servicebus.tokens import authorizer

T = TypeVar("T")
KEY_NAME, KEY = "RootManageSharedAccessKey", "a-key-for-tests"
GOOD_TOKEN = "a-token-that-is-accepted"
HOST = "bus.servicebus.windows.net"
PATIENCE = 30
"""Seconds that a loaded machine may need; nothing waits so long when all is well."""

SDK_LEAVES_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
"""The SDK leaves the sockets of connections that were cut, or refused, to the garbage collector."""

AIO_ONLY = pytest.mark.parametrize("bus", ["aio"], indirect=True)
"""For what takes long and depends on the service alone: the client that the product uses is enough."""

_names = itertools.count()


class RunningServer:
    """A Service Bus in a thread."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.namespaces = Namespaces()
        self.broker: Broker = self.namespaces.declare("bus").broker
        self.other: Broker = self.namespaces.declare("other").broker
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        self.server = ServiceBusServer(
            self.namespaces,
            ssl_context=context,
            authorize=authorizer({KEY_NAME: KEY}, lambda token: token == GOOD_TOKEN),
            **options,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service-bus")

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(PATIENCE)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def run(self, function: Callable[[], T]) -> T:
        """Call something in the server's thread."""

        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(PATIENCE)

    def connection_string(self, key: str = KEY) -> str:
        return (
            f"Endpoint=sb://localhost:{self.server.plain_port};SharedAccessKeyName={KEY_NAME};SharedAccessKey={key};"
            "UseDevelopmentEmulator=true;"
        )

    def endpoint(self) -> dict[str, Any]:
        """How the product reaches it: the real host name, another address, our own authority."""
        return {
            "custom_endpoint_address": f"sb://127.0.0.1:{self.server.tls_port}",
            "transport_type": TransportType.Amqp,
            "connection_verify": str(self.ca_file),
        }


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("servicebus"))
    server.start()
    yield server
    server.stop()


_threads = ThreadPoolExecutor(max_workers=64, thread_name_prefix="sync-sdk")


async def in_thread(function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Call something that blocks; closing takes the SDK a second, and much may be closing at a time."""
    call = functools.partial(function, *args, **options)
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


class InThread:
    """An object of the synchronous SDK with the face of the asynchronous one: its methods run in threads."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._wrapped, name)
        if name == "session":
            return InThread(attribute)
        if not callable(attribute):
            return attribute
        if name.startswith(("get_queue_", "get_topic_", "get_subscription_")):
            return lambda *args, **options: InThread(attribute(*args, **options))

        async def call(*args: Any, **options: Any) -> Any:
            return await in_thread(attribute, *args, **options)

        return call

    async def __aenter__(self) -> Any:
        await in_thread(self._wrapped.__enter__)
        return self

    async def __aexit__(self, *error: object) -> None:
        await in_thread(self._wrapped.__exit__, *error)

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        message = await in_thread(next, self._wrapped, None)
        if message is None:
            raise StopAsyncIteration
        return message


class StaticToken:
    """A credential with one token, for either client; it remembers what it was asked for."""

    def __init__(self, token: str = GOOD_TOKEN) -> None:
        self.token = token
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> Any:
        from azure.core.credentials import AccessToken

        self.scopes += scopes
        return AccessToken(self.token, 9999999999)


class StaticAsyncToken(StaticToken):
    async def get_token(self, *scopes: str, **_: Any) -> Any:
        return super().get_token(*scopes)

    async def close(self) -> None:
        pass


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens by itself."""
    async with asyncio.timeout(PATIENCE):
        while not await in_thread(condition):  # noqa: ASYNC110 - what is awaited happens in another thread
            await asyncio.sleep(0.1)


class Bus:
    """What a test needs: fresh entities, senders and receivers that are closed together in the end."""

    def __init__(self, running: RunningServer, flavour: str) -> None:
        self.running = running
        self.broker = running.broker
        self.flavour = flavour
        self.client = self.connect()
        self.once = self.connect(retry_total=0)
        self._open: list[Any] = []

    def connect(self, credential: Any = None, **options: Any) -> Any:
        """The asynchronous client over TLS, as the product uses it; the synchronous one over plain TCP."""
        options = {"retry_total": 2, "retry_backoff_factor": 0.1, **options}
        if self.flavour == "aio":
            return AioClient(HOST, credential or StaticAsyncToken(), **self.running.endpoint(), **options)
        if credential is not None:
            return InThread(SyncClient(HOST, credential, **self.running.endpoint(), **options))
        return InThread(SyncClient.from_connection_string(self.running.connection_string(), **options))

    def queue(self, **settings: Any) -> str:
        name = f"queue-{next(_names)}"
        self.running.run(lambda: self.broker.create_queue(name, QueueSettings(**settings)))
        return name

    def counts(self, path: str) -> Counts:
        return self.running.run(lambda: self.broker.snapshot()[path])

    async def pair(self, queue: str) -> tuple[Any, Any]:
        """A sender and a receiver."""
        sender, receiver = await asyncio.gather(self.sender(queue), self.receiver(queue))
        return sender, receiver

    async def sender(self, queue: str) -> Any:
        return await self.opened(self.client.get_queue_sender(queue))

    async def receiver(self, queue: str, **options: Any) -> Any:
        return await self.opened(self.client.get_queue_receiver(queue, **options))

    async def opened(self, thing: Any) -> Any:
        self._open.append(thing)
        return await thing.__aenter__()

    async def receive(self, receiver: Any, count: int = 1) -> list[Any]:
        """Receive exactly so many messages."""
        found: list[Any] = []
        while len(found) < count:
            more = await receiver.receive_messages(count - len(found), max_wait_time=PATIENCE)
            assert more, f"only {len(found)} of {count} messages came"
            found += more
        return found

    async def close(self) -> None:
        await asyncio.gather(*(thing.__aexit__(None, None, None) for thing in self._open))
        await asyncio.gather(self.client.close(), self.once.close())


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def closing() -> AsyncIterator[list[asyncio.Task[None]]]:
    """What is being closed: the SDK takes a second for it, in which the next test can run."""
    tasks: list[asyncio.Task[None]] = []
    yield tasks
    await asyncio.gather(*tasks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest_asyncio.fixture(loop_scope="module", params=["aio", "sync"])
async def bus(
    running: RunningServer, closing: list[asyncio.Task[None]], request: pytest.FixtureRequest
) -> AsyncIterator[Bus]:
    bus = Bus(running, request.param)
    yield bus
    closing.append(asyncio.create_task(bus.close()))
