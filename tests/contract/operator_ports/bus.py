"""The control channel's two sides: the fake, and the real adapter against ARM and AMQP endpoints on loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from jobq.cloud import Cloud
from jobq.connect import open_transport, service_bus_client
from jobq.control import Order, State, decode_order, encode_report
from jobq.names import node_queue_name, reports_queue_name
from tests.contract.operator_ports.conftest import SUBSCRIPTION, RealArm
from tests.contract.operator_ports.scripted_arm import ScriptedArm, StaticCredential, scripted_arm
from workforce_local.servicebus.broker import Broker
from workforce_local.servicebus.namespaces import Namespaces
from workforce_local.servicebus.server import ServiceBusServer
from workforce_local.servicebus.settings import QueueSettings
from workforce_operator.adapters.arm.client import ArmClient
from workforce_operator.adapters.arm.governor import Governor
from workforce_operator.adapters.memory import MemoryControlChannel, MemoryGuard
from workforce_operator.adapters.servicebus.control import ServiceBusControl
from workforce_operator.api.spec import Control, ServiceBusNamespace
from workforce_operator.ports.azure import ControlChannel

INSTALLATION = "inst1234"
NAMESPACE = "wf-bus"
SECONDS = 60
NODES, REPORTS = node_queue_name(INSTALLATION), reports_queue_name(INSTALLATION)


def control(namespace: str = NAMESPACE) -> Control:
    at = {"subscription_id": SUBSCRIPTION, "resource_group": "workforce", "namespace": namespace}
    return Control(service_bus=ServiceBusNamespace(**at))


@dataclass
class ControlBench:
    """A `ControlChannel`, and the workers at its other end."""

    channel: ControlChannel
    guard: MemoryGuard
    entities: Callable[[], set[str]]
    received: Callable[[str, int], Awaitable[list[tuple[Order, str]]]]
    """The orders in a job's session, with their message ids: so many of them."""
    report: Callable[[State], Awaitable[None]]

    async def until(self, check: Callable[[], bool]) -> None:
        """Wait until something is true."""
        deadline = asyncio.get_running_loop().time() + SECONDS
        while not check():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.02)


def memory_control() -> ControlBench:
    guard = MemoryGuard()
    channel = MemoryControlChannel(guard=guard)
    channel.namespaces = {NAMESPACE}

    async def received(job: str, number: int) -> list[tuple[Order, str]]:
        return [(sent.order, sent.message_id) for sent in channel.orders_for(job)]

    async def report(state: State) -> None:
        channel.report(NAMESPACE, state)

    return ControlBench(channel, guard, lambda: set(channel.entities.get(NAMESPACE, ())), received, report)


def _worker_side(client: ServiceBusClient, reports: str = REPORTS) -> tuple[Any, Any]:
    """What workers do over AMQP: take a session's orders, and send a text to the reports queue."""

    async def received(job: str, number: int) -> list[tuple[Order, str]]:
        found: list[tuple[Order, str]] = []
        async with client.get_queue_receiver(NODES, session_id=job, max_wait_time=30) as receiver:
            while len(found) < number:
                for message in await receiver.receive_messages(number, max_wait_time=30):
                    found.append((decode_order(b"".join(message.body)), str(message.message_id)))
                    await receiver.complete_message(message)
        return found

    async def report(text: str) -> None:
        async with client.get_queue_sender(reports) as sender:
            await sender.send_messages(ServiceBusMessage(text))

    return received, report


@asynccontextmanager
async def azure_control(real: RealArm) -> AsyncIterator[ControlBench]:
    """The real adapter against the whole local Azure: its identity, its resource manager, its Service Bus."""
    channel = ServiceBusControl(real.cloud, real.credential, real.arm, real.guard)
    workers = service_bus_client(real.cloud, real.cloud.service_bus_host(NAMESPACE), real.credential, try_timeout=10)
    namespace = real.azure.namespaces.get(NAMESPACE)
    assert namespace is not None
    received, send = _worker_side(workers)

    def entities() -> set[str]:
        return {entity.path for entity in (*namespace.broker.queues, *namespace.broker.topics)}

    async def report(state: State) -> None:
        await send(encode_report(state))

    try:
        async with workers:
            yield ControlBench(channel, real.guard, entities, received, report)
    finally:
        await channel.close()


class Management:
    """The part of ARM that makes entities, on top of a broker."""

    def __init__(self, arm: ScriptedArm, broker: Broker | None) -> None:
        self.broker = broker
        self.documents: dict[str, dict[str, Any]] = {}
        arm.fallback = self.handle

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.partition("/namespaces/")[2]
        namespace, _, entity = path.partition("/")
        if namespace != NAMESPACE:
            return _error(404, "ParentResourceNotFound" if entity else "ResourceNotFound")
        if not entity:
            host = f"https://{NAMESPACE}.servicebus.local.test:443/"
            return web.json_response({"name": namespace, "properties": {"serviceBusEndpoint": host}})
        if request.method == "PUT":
            properties = json.loads(await request.text())["properties"]
            if self.broker is not None:
                _make(self.broker, entity.split("/"), properties)
            self.documents[entity] = {"name": entity.rsplit("/", 1)[1], "properties": properties}
        if entity not in self.documents:
            return _error(404, "NotFound")
        return web.json_response(self.documents[entity])


def _make(broker: Broker, parts: list[str], properties: dict[str, Any]) -> None:
    match parts:
        case ["topics", name]:
            broker.create_topic(name)
        case ["topics", name, "subscriptions", subscription]:
            broker.create_subscription(name, subscription)
        case ["queues", name]:
            settings = QueueSettings(
                requires_session=properties.get("requiresSession", False),
                duplicate_window=300.0 if properties.get("requiresDuplicateDetection") else None,
            )
            broker.create_queue(name, settings)


def _error(status: int, code: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": "not found"}}, status=status)


@dataclass
class RealBus:
    """Everything of the real side."""

    arm: ScriptedArm
    server: ServiceBusServer
    management: Management
    channel: ServiceBusControl
    cloud: Cloud
    guard: MemoryGuard
    client: ServiceBusClient
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def bench(self) -> ControlBench:
        received, _ = _worker_side(self.client)

        async def report(state: State) -> None:
            await self.send_report(encode_report(state))

        return ControlBench(
            self.channel,
            self.guard,
            lambda: {name.split("/")[1] for name in self.management.documents},
            received,
            report,
        )

    async def send_report(self, text: str, queue: str = REPORTS) -> None:
        await _worker_side(self.client, queue)[1](text)


@asynccontextmanager
async def real_bus(folder: Path) -> AsyncIterator[RealBus]:
    async with AsyncExitStack() as stack:
        arm = await stack.enter_async_context(scripted_arm(folder))
        authority = trustme.CA()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        bundle = folder / "bundle.pem"
        bundle.write_bytes(arm.ca_file.read_bytes() + authority.cert_pem.bytes())
        namespaces = Namespaces(suffix="servicebus.local.test")
        broker = namespaces.declare(NAMESPACE).broker
        server = await stack.enter_async_context(ServiceBusServer(namespaces, ssl_context=context))
        cloud = replace(arm.cloud(), service_bus=f"127.0.0.1:{server.tls_port}", ca_bundle=bundle)
        transport = await stack.enter_async_context(open_transport(cloud))
        guard = MemoryGuard()
        client = ArmClient(cloud, StaticCredential(), transport, Governor(), guard)
        channel = ServiceBusControl(cloud, StaticCredential(), client, guard)
        stack.push_async_callback(channel.close)
        workers = service_bus_client(cloud, f"{NAMESPACE}.servicebus.local.test", StaticCredential(), try_timeout=10)
        await stack.enter_async_context(workers)
        yield RealBus(arm, server, Management(arm, broker), channel, cloud, guard, workers)
