"""A control channel for tests: a local Service Bus over TLS with the entities of the protocol, and its other end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from jobq.cloud import Cloud
from jobq.connect import service_bus_client
from jobq.control import decode_report
from workforce_local.azure import LocalAzure
from workforce_local.servicebus.broker import Broker
from workforce_local.servicebus.namespaces import Namespaces
from workforce_local.servicebus.server import ServiceBusServer
from workforce_local.servicebus.settings import QueueSettings, TopicSettings

NAMESPACE, TOPIC, NODES, REPORTS = "wf-bus", "orders", "workforce-inst1234-nodes", "workforce-inst1234-reports"


class AnyToken:
    """The test's own credential; this bus lets everybody in."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken("test", int(time.time()) + 3600)

    async def close(self) -> None:
        """Nothing to close."""


class ControlBus:
    """What a test does with the control channel."""

    def __init__(self, client: ServiceBusClient, broker: Broker, environ: dict[str, str]) -> None:
        self.client = client
        self.broker = broker
        self._environ = environ

    def environ(self, job: str, **more: str) -> dict[str, str]:
        """The environment of an agent on the node of a job."""
        return {**self._environ, "WORKFORCE_JOB_NAME": job, **more}

    async def broadcast(self, body: object) -> None:
        """Send an untargeted order, as in the users' documents."""
        async with self.client.get_topic_sender(TOPIC) as sender:
            await sender.send_messages(ServiceBusMessage(body if isinstance(body, str) else json.dumps(body)))

    async def order(self, job: str, **fields: Any) -> None:
        """Send a targeted order."""
        body = {"operation": "graceful-downscale", "id": "o1", "revision": 1, **fields}
        async with self.client.get_queue_sender(NODES) as sender:
            await sender.send_messages(ServiceBusMessage(json.dumps(body), session_id=job))

    async def reports(self, kind: str, seconds: float = 60) -> list[Any]:
        """Take reports until one of a kind has come; returns all that came."""
        found: list[Any] = []
        async with asyncio.timeout(seconds), self.client.get_queue_receiver(REPORTS) as receiver:
            while not any(report.kind == kind for report in found):
                for message in await receiver.receive_messages(10, max_wait_time=30):
                    found.append(decode_report(b"".join(message.body)))
                    await receiver.complete_message(message)
        return found

    def counts(self, path: str) -> Any:
        """How many messages an entity holds."""
        return self.broker.snapshot()[path]

    def waits(self, path: str) -> int:
        """How many messages of an entity nobody has settled."""
        counts = self.counts(path)
        return int(counts.active)


@asynccontextmanager
async def control_bus(azure: LocalAzure, folder: Path) -> AsyncIterator[ControlBus]:
    """Start it, with short locks so that tests need not wait for long ones."""
    namespaces = Namespaces()
    broker = namespaces.declare(NAMESPACE).broker
    orders = QueueSettings(lock_duration=10, max_delivery_count=100, default_time_to_live=900)
    broker.create_topic(TOPIC, TopicSettings(default_time_to_live=900))
    broker.create_subscription(TOPIC, "shutdown", orders)
    nodes = QueueSettings(
        lock_duration=8, max_delivery_count=100, default_time_to_live=900, requires_session=True, duplicate_window=300
    )
    broker.create_queue(NODES, nodes)
    broker.create_queue(REPORTS)
    async with ServiceBusServer(namespaces, ssl_context=azure.certificates.server_context()) as server:
        document = {**azure.cloud(), "serviceBus": f"127.0.0.1:{server.tls_port}"}
        cloud_file = folder / "cloud.json"
        cloud_file.write_text(json.dumps(document))
        cloud = Cloud.read(document)
        environ = {
            **azure.managed_identity_environment(),
            "WORKFORCE_CLOUD": str(cloud_file),
            "WORKFORCE_BACK_CHANNEL_FULLY_QUALIFIED_NAMESPACE": cloud.service_bus_host(NAMESPACE),
            "WORKFORCE_CONTROL_TOPIC_NAME": TOPIC,
            "WORKFORCE_NODE_QUEUE_NAME": NODES,
            "WORKFORCE_REPORTS_QUEUE_NAME": REPORTS,
        }
        async with service_bus_client(cloud, cloud.service_bus_host(NAMESPACE), AnyToken()) as client:
            yield ControlBus(client, broker, environ)
