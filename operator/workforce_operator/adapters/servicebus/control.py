"""The control channel over Service Bus. See ``ports.azure.ControlChannel`` for the contract.

Entities are made over ARM, orders are sent over AMQP by one sender per namespace, and one task per namespace reads
what workers report. The AMQP links are opened when they are first needed and opened anew after a fault.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from azure.servicebus import ServiceBusMessage

from jobq.cloud import Cloud
from jobq.connect import service_bus_client
from jobq.control import ORDER_TTL, DrainFinished, Exit, Order, encode_order
from jobq.names import node_queue_name, reports_queue_name
from workforce_operator.adapters.arm.client import ArmClient
from workforce_operator.adapters.servicebus.entities import Entities, namespace_path
from workforce_operator.adapters.servicebus.errors import EXPECTED, error_of
from workforce_operator.adapters.servicebus.receiver import ReportReceiver
from workforce_operator.adapters.servicebus.reports import Reports
from workforce_operator.api.spec import Control, ControlDialect, ServiceBusNamespace
from workforce_operator.domain.errors import Missing, OperatorError
from workforce_operator.domain.observed import LastReport
from workforce_operator.ports.azure import WriteGuard

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

SEND_SECONDS = 20.0
TRY_SECONDS = 10.0
"""Without it a peer that accepts connections and says nothing holds the client for ever."""
RETRIES = 1
"""The SDK's own: enough for a link that was closed while it was idle. More is the reconcile loop's business."""


class _Bus:
    """One namespace: client, sender and receiver of one installation."""

    def __init__(self, cloud: Cloud, credential: AsyncTokenCredential, host: str, installation_id: str) -> None:
        self.host = host
        self.reports = Reports()
        self._cloud = cloud
        self._credential = credential
        self._installation_id = installation_id
        self._lock = asyncio.Lock()
        self._sending: AsyncExitStack | None = None
        self._sender: ServiceBusSender | None = None
        self._receiver = ReportReceiver(reports_queue_name(installation_id), self.reports, self._open_receiver)

    def listen(self) -> None:
        """Read reports from now on."""
        self._receiver.start()

    async def send(self, message: ServiceBusMessage, guard: WriteGuard) -> None:
        """Send, and return when it is stored. One at a time: a link of the SDK is not made for more.

        Waiting for one's turn counts: behind a bus that says nothing all give up together, not one after the other.
        """
        async with asyncio.timeout(SEND_SECONDS) as limit, self._lock:
            left = (limit.when() or 0.0) - asyncio.get_running_loop().time()
            if left < SEND_SECONDS / 10:
                # The SDK does not hear of a cancellation at every moment of connecting, and would try for longer.
                raise TimeoutError("no turn to send in time: the sends before it were not answered")
            try:
                sender = self._sender or await self._open_sender()
                guard.check()
                await sender.send_messages(message, timeout=SEND_SECONDS)
            except OperatorError:
                raise
            except BaseException:
                await self._close_sender()
                raise

    async def close(self) -> None:
        """Close all links."""
        await self._receiver.close()
        async with self._lock:
            await self._close_sender()

    async def _open_sender(self) -> ServiceBusSender:
        stack = AsyncExitStack()
        self._sending = stack
        client = await stack.enter_async_context(self._client())
        self._sender = await stack.enter_async_context(client.get_queue_sender(node_queue_name(self._installation_id)))
        return self._sender

    async def _close_sender(self) -> None:
        stack, self._sending, self._sender = self._sending, None, None
        if stack is not None:
            with contextlib.suppress(*EXPECTED):  # It may be closed because it is broken.
                await stack.aclose()

    @asynccontextmanager
    async def _open_receiver(self) -> AsyncIterator[ServiceBusReceiver]:
        queue = reports_queue_name(self._installation_id)
        async with self._client() as client, client.get_queue_receiver(queue, prefetch_count=0) as receiver:
            yield receiver

    def _client(self) -> ServiceBusClient:
        return service_bus_client(
            self._cloud, self.host, self._credential, try_timeout=TRY_SECONDS, retry_total=RETRIES
        )


class ServiceBusControl:
    """The port for any number of namespaces."""

    def __init__(self, cloud: Cloud, credential: AsyncTokenCredential, arm: ArmClient, guard: WriteGuard) -> None:
        self._cloud = cloud
        self._credential = credential
        self._guard = guard
        self._entities = Entities(arm)
        self._buses: dict[tuple[str, str], _Bus] = {}

    async def ensure(self, control: Control, topics: frozenset[str], installation_id: str) -> None:
        """See ``ports.azure.ControlChannel``."""
        named = control.dialect is ControlDialect.WORKFORCE
        await self._entities.ensure(control.service_bus, topics, installation_id, queues=named)
        if not named:
            return
        (await self._bus(control.service_bus, installation_id)).listen()

    async def send(self, control: Control, installation_id: str, job: str, order: Order, message_id: str) -> None:
        """See ``ports.azure.ControlChannel``."""
        self._guard.check()
        bus = await self._bus(control.service_bus, installation_id)
        message = order_message(job, order, message_id)
        try:
            await bus.send(message, self._guard)
        except EXPECTED as error:
            scope = f"{namespace_path(control.service_bus)}/queues/{node_queue_name(installation_id)}"
            found = error_of(error, what=f"send {order.operation} to {job}", scope=scope)
            if isinstance(found, Missing):
                self._entities.forget(control.service_bus)
            raise found from error

    async def send_to_any(self, control: Control, topic: str, order: Order, message_id: str) -> None:
        """See ``ports.azure.ControlChannel``."""
        self._guard.check()
        host = await self._entities.host(control.service_bus, turn=order.workforce or topic)
        message = ServiceBusMessage(
            encode_order(order), message_id=message_id, content_type="application/json", time_to_live=ORDER_TTL
        )
        try:
            # The SDK's own attempts would send twice what was stored with its answer lost.
            client = service_bus_client(self._cloud, host, self._credential, try_timeout=TRY_SECONDS, retry_total=0)
            async with asyncio.timeout(SEND_SECONDS), client, client.get_topic_sender(topic) as sender:
                self._guard.check()
                await sender.send_messages(message, timeout=SEND_SECONDS)
        except EXPECTED as error:
            scope = f"{namespace_path(control.service_bus)}/topics/{topic}"
            found = error_of(error, what=f"send {order.operation} to topic {topic}", scope=scope)
            if isinstance(found, Missing):
                self._entities.forget(control.service_bus)
            raise found from error

    def reports(self, control: Control, jobs: Collection[str]) -> Mapping[str, LastReport]:
        """See ``ports.azure.ControlChannel``."""
        return {job: state for bus in self._all(control) for job, state in bus.reports.states(jobs).items()}

    def last_words(self, control: Control, jobs: Collection[str]) -> Mapping[str, Exit]:
        """See ``ports.azure.ControlChannel``."""
        return {job: words for bus in self._all(control) for job, words in bus.reports.last_words(jobs).items()}

    def take_finished(self, control: Control) -> tuple[DrainFinished, ...]:
        """See ``ports.azure.ControlChannel``."""
        return tuple(finished for bus in self._all(control) for finished in bus.reports.take_finished())

    def recall_confirmed(self, control: Control, job: str, revision: int) -> bool:
        """See ``ports.azure.ControlChannel``."""
        return any(bus.reports.recall_confirmed(job, revision) for bus in self._all(control))

    async def close(self) -> None:
        """Close all links, those of all namespaces at once: each takes up to a second."""
        buses, self._buses = self._buses, {}
        await asyncio.gather(*(bus.close() for bus in buses.values()), return_exceptions=True)

    def _all(self, control: Control) -> list[_Bus]:
        """The namespace's links of all installations that are acted for; no two have a job of the same name."""
        path = namespace_path(control.service_bus).lower()
        return [bus for (namespace, _), bus in self._buses.items() if namespace == path]

    async def _bus(self, namespace: ServiceBusNamespace, installation_id: str) -> _Bus:
        host = await self._entities.host(namespace, turn=installation_id)
        key = (namespace_path(namespace).lower(), installation_id)
        bus = self._buses.get(key)
        if bus is None:
            bus = self._buses[key] = _Bus(self._cloud, self._credential, host, installation_id)
        return bus


def order_message(job: str, order: Order, message_id: str) -> ServiceBusMessage:
    """A targeted order as it travels: to the job's session, with its main fields repeated for filters."""
    properties = {"operation": order.operation.value, "id": order.id, "workforce": order.workforce}
    return ServiceBusMessage(
        encode_order(order),
        session_id=job,
        message_id=message_id,
        subject=order.operation.value,
        content_type="application/json",
        time_to_live=ORDER_TTL,
        application_properties={name: value for name, value in properties.items() if value is not None},
    )
