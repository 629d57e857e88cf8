"""The control channel's bus on Azure Service Bus, with the asynchronous client.

Prefetch is 0, one message at a time, so that an order never waits in a node that is not ready for it. `try_timeout`
bounds every attempt: without it a peer that accepts a connection and says nothing would hang the client for ever.
Whatever the SDK raises becomes `BusError` or `ReportError` here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from azure.core.exceptions import AzureError
from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import ServiceBusError, SessionCannotBeLockedError

from jobq.names import SHUTDOWN_SUBSCRIPTION
from workforce_agent.control import BusError, Message, Receiver, SessionBusy, SessionReceiver
from workforce_agent.report import ReportError, Sender

TRY_SECONDS = 10.0
OPTIONS: dict[str, Any] = {"try_timeout": TRY_SECONDS, "retry_total": 3}
"""For the client; `jobq.connect.service_bus_client` takes them."""
SESSION_OPTIONS: dict[str, Any] = {"try_timeout": TRY_SECONDS, "retry_total": 0}
"""For the client of the job's session: nobody is to wait for the SDK's own attempts to hear that it is held."""
REASON_LIMIT = 4000

_FAULTS = (ServiceBusError, AzureError, OSError, ValueError)
"""What the SDK raises for trouble outside this process; it lets some errors of sockets and tokens through."""


class ReceivedMessage:
    """An order, with the SDK's message that it is settled by."""

    def __init__(self, raw: ServiceBusReceivedMessage) -> None:
        self.raw = raw

    @property
    def body(self) -> bytes:
        """See the port."""
        return b"".join(self.raw.body)


class BusReceiver:
    """A link to an entity or to a session."""

    def __init__(self, receiver: ServiceBusReceiver) -> None:
        self._receiver = receiver

    async def receive(self, wait: float) -> Message | None:
        """See the port."""
        with _translated():
            messages = await self._receiver.receive_messages(max_message_count=1, max_wait_time=wait)
        return ReceivedMessage(messages[0]) if messages else None

    async def complete(self, message: Message) -> None:
        """See the port."""
        with _translated():
            await self._receiver.complete_message(_raw(message))

    async def dead_letter(self, message: Message, reason: str, description: str) -> None:
        """See the port."""
        with _translated():
            await self._receiver.dead_letter_message(
                _raw(message), reason=reason, error_description=description[:REASON_LIMIT]
            )

    async def abandon(self, message: Message) -> None:
        """See the port."""
        with _translated():
            await self._receiver.abandon_message(_raw(message))

    async def has_message(self) -> bool:
        """See the port."""
        with _translated():
            return bool(await self._receiver.peek_messages(max_message_count=1))

    async def renew(self) -> None:
        """See the port."""
        with _translated():
            await self._receiver.session.renew_lock()

    async def revision(self) -> int:
        """See the port."""
        with _translated():
            state = await self._receiver.session.get_state()
        try:
            return int(bytes(state)) if state else 0
        except ValueError:
            return 0  # somebody else's state: to be overwritten by the next order

    async def set_revision(self, revision: int) -> None:
        """See the port."""
        with _translated():
            await self._receiver.session.set_state(str(revision))


class BusSender:
    """A link that reports go out on."""

    def __init__(self, client: ServiceBusClient, queue: str) -> None:
        self._sender = client.get_queue_sender(queue)

    async def send(self, body: str) -> None:
        """See the port."""
        try:
            await self._sender.send_messages(ServiceBusMessage(body), timeout=TRY_SECONDS)
        except _FAULTS as error:
            raise ReportError(_words(error)) from error

    async def close(self) -> None:
        """Close the link."""
        await self._sender.close()


class ServiceBus:
    """The bus of one namespace.

    Args:
        client: An open client, closed by whoever opened it.
        topic: Of the untargeted orders, if this worker listens to one.
        node_queue: Of the targeted orders, if there is one.
    """

    def __init__(self, client: ServiceBusClient, *, topic: str | None = None, node_queue: str | None = None) -> None:
        self._client = client
        self._topic = topic or ""
        self._node_queue = node_queue or ""

    @asynccontextmanager
    async def topic(self) -> AsyncIterator[Receiver]:
        """See the port."""
        async with self._open(
            lambda: self._client.get_subscription_receiver(self._topic, SHUTDOWN_SUBSCRIPTION, prefetch_count=0)
        ) as receiver:
            yield receiver

    @asynccontextmanager
    async def session(self, job: str) -> AsyncIterator[SessionReceiver]:
        """See the port."""
        async with self._open(
            lambda: self._client.get_queue_receiver(self._node_queue, session_id=job, prefetch_count=0)
        ) as receiver:
            yield receiver

    @asynccontextmanager
    async def _open(self, make: Any) -> AsyncIterator[BusReceiver]:
        async with AsyncExitStack() as stack:
            with _translated():
                raw = make()
                await stack.enter_async_context(raw)
            yield BusReceiver(raw)


@asynccontextmanager
async def open_report_sender(client: ServiceBusClient, queue: str) -> AsyncIterator[Sender]:
    """Open a link to the reports queue."""
    sender = BusSender(client, queue)
    try:
        yield sender
    finally:
        await sender.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SessionCannotBeLockedError as error:
        raise SessionBusy(_words(error)) from error
    except _FAULTS as error:
        raise BusError(_words(error)) from error


def _raw(message: Message) -> ServiceBusReceivedMessage:
    assert isinstance(message, ReceivedMessage)  # only what this link gave comes back to it
    return message.raw


def _words(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
