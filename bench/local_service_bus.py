"""Numbers of the local Service Bus: what idle receivers hold, and what goes through. Printed, never asserted.

    python bench/local_service_bus.py

The server runs in a process of its own, on loopback. Idle receivers are bare AMQP clients (as many of the SDK's would
need more memory than a laptop has); messages are sent, received and completed with the real SDK. Counts are fixed, and
each phase ends after `PATIENCE` seconds whatever happens.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import trustme
from azure.core.credentials import AzureNamedKeyCredential
from azure.servicebus import ServiceBusMessage, TransportType
from azure.servicebus.aio import ServiceBusClient
from typing_extensions import override

from workforce_local.servicebus import framing
from workforce_local.servicebus.amqp_types import Described, Symbol, UInt, ULong
from workforce_local.servicebus.framing import Frame, FrameReader
from workforce_local.servicebus.namespaces import Namespaces
from workforce_local.servicebus.server import ServiceBusServer
from workforce_local.servicebus.settings import QueueSettings

HOST = "127.0.0.1"
NAMESPACE = "bench"
IDLE_QUEUE = "idle"
RECEIVERS = 2_000
AT_ONCE = 100
MESSAGES = 20_000
ROUNDS = 3
PATIENCE = 120.0
_BODY = b"x" * 200
_SOURCE = 0x28
_queues = itertools.count()


# -- the server's process


async def serve(folder: Path) -> None:
    """Serve until SIGTERM; write the ports once it listens."""
    namespaces = Namespaces()
    broker = namespaces.declare(NAMESPACE).broker
    for name in (IDLE_QUEUE, *(f"queue-{number}" for number in range(2 * ROUNDS))):
        broker.create_queue(name, QueueSettings(lock_duration=300))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with ServiceBusServer(namespaces, host=HOST, ssl_context=context) as server:
        partial = folder / "ports.partial"
        partial.write_text(f"{server.plain_port} {server.tls_port}", encoding="ascii")
        partial.rename(folder / "ports")
        await stop.wait()


@dataclass(frozen=True)
class Served:
    """A server that runs in another process."""

    process: psutil.Process
    plain_port: int
    tls_port: int
    ca_file: Path

    def memory(self) -> float:
        """Its own memory (USS) in MB."""
        return float(self.process.memory_full_info().uss) / 1e6

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def server() -> Iterator[Served]:
    """Start a server, and end it."""
    with tempfile.TemporaryDirectory(prefix="workforce-bench-") as name:
        folder = Path(name)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        child = subprocess.Popen([sys.executable, __file__, "--serve", name])
        try:
            deadline = time.monotonic() + PATIENCE
            while not (folder / "ports").exists():
                if child.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the server did not start")
                time.sleep(0.02)
            plain, tls = map(int, (folder / "ports").read_text(encoding="ascii").split())
            yield Served(psutil.Process(child.pid), plain, tls, folder / "ca.pem")
        finally:
            child.terminate()
            child.wait(timeout=PATIENCE)


# -- idle receivers


class IdleReceiver(asyncio.Protocol):
    """Attaches to a queue, grants credit for one message and waits."""

    def __init__(self) -> None:
        self.attached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self._reader: FrameReader | None = FrameReader()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say everything at once, as the SDK does after SASL."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        source = Described(ULong(_SOURCE), [f"amqps://{HOST}/{IDLE_QUEUE}"])
        attach = ["idle", UInt(0), True, None, None, source, Described(ULong(0x29), ["here"])]
        flow = [UInt(0), UInt(100), UInt(0), UInt(100), UInt(0), UInt(0), UInt(1)]
        transport.write(
            framing.SASL_HEADER
            + framing.frame(0, framing.SASL_INIT, [Symbol("ANONYMOUS")], sasl=True)
            + framing.AMQP_HEADER
            + framing.frame(0, framing.OPEN, ["idle", HOST, UInt(65536)])
            + framing.frame(0, framing.BEGIN, [None, UInt(0), UInt(100), UInt(100)])
            + framing.frame(0, framing.ATTACH, attach)
            + framing.frame(0, framing.FLOW, flow)
        )

    @override
    def data_received(self, data: bytes) -> None:
        """Wait for the attach."""
        if self._reader is None:
            return
        for item in self._reader.feed(data):
            if isinstance(item, Frame) and item.code == framing.ATTACH and not item.sasl:
                self._reader = None
                self.attached.set_result(None)
                return

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever still waits for the attach."""
        if not self.attached.done():
            self.attached.set_exception(exc or ConnectionError("the server closed the connection"))


async def hold_idle(served: Served, *, tls: bool) -> dict[str, float]:
    """Open the receivers, look at the server, and close them."""
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=str(served.ca_file)) if tls else None
    port = served.tls_port if tls else served.plain_port
    gate = asyncio.Semaphore(AT_ONCE)

    async def connect() -> IdleReceiver:
        async with gate:
            _, receiver = await loop.create_connection(IdleReceiver, HOST, port, ssl=context)
            await receiver.attached
            return receiver

    before = served.memory()
    started = time.monotonic()
    receivers = await asyncio.gather(*(connect() for _ in range(RECEIVERS)))
    opened = time.monotonic() - started
    await asyncio.sleep(1)
    memory, used = served.memory(), served.cpu()
    await asyncio.sleep(5)
    found = {
        "memory": memory, "each": (memory - before) / RECEIVERS * 1000,
        "cpu": (served.cpu() - used) / 5 * 100, "opened": opened,
    }  # fmt: skip
    for receiver in receivers:
        if receiver.transport is not None:
            receiver.transport.abort()
    await asyncio.sleep(0.5)
    return found


# -- throughput


def client(served: Served, *, tls: bool) -> ServiceBusClient:
    """The SDK's client, on either port."""
    if tls:
        return ServiceBusClient(
            f"{NAMESPACE}.servicebus.windows.net",
            AzureNamedKeyCredential("any", "any"),
            custom_endpoint_address=f"sb://{HOST}:{served.tls_port}",
            transport_type=TransportType.Amqp,
            connection_verify=str(served.ca_file),
        )
    return ServiceBusClient.from_connection_string(
        f"Endpoint=sb://localhost:{served.plain_port};SharedAccessKeyName=any;SharedAccessKey=any;"
        "UseDevelopmentEmulator=true;"
    )


async def throughput(served: Served, *, tls: bool) -> dict[str, float]:
    """One round over a fresh queue: rates of sending and of receiving with completion."""
    queue = f"queue-{next(_queues)}"
    async with client(served, tls=tls) as sdk:
        async with sdk.get_queue_sender(queue) as sender:
            started, used = time.monotonic(), served.cpu()
            batches = await make_batches(sender)
            making, sent_from = time.monotonic() - started, time.monotonic()
            for batch in batches:
                await sender.send_messages(batch)
            sending, send_cpu = time.monotonic() - sent_from, served.cpu() - used
        async with sdk.get_queue_receiver(queue) as receiver:
            started, used = time.monotonic(), served.cpu()
            received = await receive_all(receiver, MESSAGES // 4)
            receiving, receive_cpu = time.monotonic() - started, served.cpu() - used
    return {
        "sent": MESSAGES / sending, "made": MESSAGES / (making + sending), "received": received / receiving,
        "send cpu": send_cpu / MESSAGES * 1e6, "receive cpu": receive_cpu / received * 1e6,
    }  # fmt: skip


async def make_batches(sender: Any) -> list[Any]:
    """All messages in batches as full as they get, which is most of the SDK's own work."""
    batches = [await sender.create_message_batch()]
    for _ in range(MESSAGES):
        message = ServiceBusMessage(_BODY)
        try:
            batches[-1].add_message(message)
        except ValueError:  # it is full
            batches.append(await sender.create_message_batch())
            batches[-1].add_message(message)
    return batches


async def receive_all(receiver: Any, wanted: int) -> int:
    """Receive and complete so many."""
    done = 0
    while done < wanted:
        messages = await receiver.receive_messages(max_message_count=min(200, wanted - done), max_wait_time=5)
        if not messages:
            raise SystemExit(f"only {done} of {wanted} messages came")
        await asyncio.gather(*map(receiver.complete_message, messages))
        done += len(messages)
    return done


# -- the report


def line(what: str, values: list[float], unit: str, wanted: str = "") -> None:
    """One row: median and range."""
    spread = f"[{min(values):.1f} … {max(values):.1f}], n={len(values)}"
    print(f"{what:<56}{statistics.median(values):>9.1f} {unit:<6}{spread:<34}{wanted}")


async def bounded(measure: Callable[[], Awaitable[dict[str, float]]]) -> dict[str, float]:
    """A measurement that ends."""
    async with asyncio.timeout(PATIENCE):
        return await measure()


def measure_idle(*, tls: bool, budget: str) -> None:
    """Memory and processor time of a server with idle receivers."""
    name = "TLS" if tls else "plain"
    with server() as served:
        found = asyncio.run(bounded(lambda: hold_idle(served, tls=tls)))
    line(f"{RECEIVERS} idle receivers, {name}: memory (USS)", [found["memory"]], "MB", budget)
    line(f"{RECEIVERS} idle receivers, {name}: each", [found["each"]], "kB")
    line(f"{RECEIVERS} idle receivers, {name}: processor", [found["cpu"]], "%")
    line(f"{RECEIVERS} idle receivers, {name}: opening all", [found["opened"]], "s")


def measure_throughput(served: Served, *, tls: bool, budgets: tuple[str, str]) -> None:
    """Rates with the SDK."""
    name = "TLS" if tls else "plain"
    rounds = [asyncio.run(bounded(lambda: throughput(served, tls=tls))) for _ in range(ROUNDS)]
    for key, what, unit, budget in (
        ("sent", "sent in batches by the SDK", "/s", budgets[0]),
        ("made", "the same with the making of the batches", "/s", ""),
        ("send cpu", "the server's share of sending a message", "µs", ""),
        ("received", "received and completed by the SDK", "/s", budgets[1]),
        ("receive cpu", "the server's share of receiving a message", "µs", ""),
    ):
        line(f"{name}: {what}", [one[key] for one in rounds], unit, budget)


def main() -> None:
    """Measure and print."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(Path(sys.argv[2])))
        return
    measure_idle(tls=False, budget="wanted: < 300")
    measure_idle(tls=True, budget="wanted: < 700")
    with server() as served:
        measure_throughput(served, tls=False, budgets=("wanted: >= 10000", "wanted: >= 1300"))
        measure_throughput(served, tls=True, budgets=("", ""))


if __name__ == "__main__":
    main()
