"""Ways in, who is let in, and what happens when connections break."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient as AioClient
from azure.servicebus.exceptions import (
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusConnectionError,
    ServiceBusError,
)

from tests.contract.servicebus.conftest import (
    AIO_ONLY,
    HOST,
    KEY,
    KEY_NAME,
    PATIENCE,
    SDK_LEAVES_SOCKETS,
    Bus,
    InThread,
    RunningServer,
    StaticAsyncToken,
    StaticToken,
    until,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), SDK_LEAVES_SOCKETS]


async def test_the_product_s_way_in_is_a_token_and_another_address_for_the_real_name(running: RunningServer):
    """azure-servicebus 7.15: custom_endpoint_address + transport_type=Amqp + connection_verify;
    the scope has a double slash.
    """
    running.run(lambda: running.broker.queue("way-in") or running.broker.create_queue("way-in"))
    credential = StaticAsyncToken()
    async with (
        AioClient(HOST, credential, **running.endpoint()) as client,
        client.get_queue_sender("way-in") as sender,
    ):
        await sender.send_messages(ServiceBusMessage("hello"))
    assert set(credential.scopes) == {"https://servicebus.azure.net//.default"}


async def test_the_host_name_says_which_namespace_is_meant(running: RunningServer):
    """azure-servicebus 7.15: the name in the AMQP open is the real one, whatever address the client connects to."""
    running.run(lambda: running.other.create_queue("elsewhere"))
    async with (
        AioClient("other.servicebus.windows.net", StaticAsyncToken(), **running.endpoint()) as client,
        client.get_queue_sender("elsewhere") as sender,
    ):
        await sender.send_messages(ServiceBusMessage("hello"))
    assert running.run(lambda: running.other.snapshot()["elsewhere"].active) == 1
    assert running.run(lambda: running.broker.queue("elsewhere")) is None


async def test_a_namespace_that_nobody_declared_is_not_served(running: RunningServer):
    """DNS: a real name that does not exist has no address; here the connection is closed."""
    options = {**running.endpoint(), "retry_total": 0}
    async with AioClient("nowhere.servicebus.windows.net", StaticAsyncToken(), **options) as client:
        sender = client.get_queue_sender("any")
        with pytest.raises(ServiceBusError):
            await sender.send_messages(ServiceBusMessage("hello"), timeout=20)
        await sender.close()


async def test_a_shared_key_works_over_tls_too(running: RunningServer):
    """azure-core: AzureNamedKeyCredential, synchronous."""
    from azure.core.credentials import AzureNamedKeyCredential

    running.run(lambda: running.broker.create_queue("named-key"))
    credential = AzureNamedKeyCredential(KEY_NAME, KEY)
    async with (
        InThread(ServiceBusClient(HOST, credential, **running.endpoint())) as client,
        client.get_queue_sender("named-key") as sender,
    ):
        await sender.send_messages(ServiceBusMessage("hello"))
    assert running.run(lambda: running.broker.snapshot()["named-key"].active) == 1


async def test_an_untrusted_certificate_stops_the_client(running: RunningServer):
    """azure-servicebus 7.15: a private authority must be named; the system's store is not looked at."""
    options = {**running.endpoint(), "connection_verify": None, "retry_total": 0}
    async with AioClient(HOST, StaticAsyncToken(), **options) as client:
        sender = client.get_queue_sender("any")
        with pytest.raises((ServiceBusConnectionError, ServiceBusError)):
            await sender.send_messages(ServiceBusMessage("hello"))
        await sender.close()


async def test_an_entity_that_is_not_there_is_not_found(bus: Bus):
    """AMQP 1.0, 2.6.3: attach without source and target, then detach with amqp:not-found."""
    sender = bus.client.get_queue_sender("nothing-here")
    with pytest.raises(MessagingEntityNotFoundError):
        await sender.send_messages(ServiceBusMessage("hello"))
    receiver = bus.client.get_subscription_receiver("nothing-here", "shutdown")
    with pytest.raises(MessagingEntityNotFoundError):
        await receiver.receive_messages(1, max_wait_time=PATIENCE)
    await asyncio.gather(sender.close(), receiver.close())


async def test_a_refused_token_is_called_a_connection_error_behind_a_custom_address(bus: Bus):
    """Service Bus claims-based security: put-token is answered with 401. The SDK names that by the address,
    not by the answer: see below.
    """
    token = StaticAsyncToken("forged") if bus.flavour == "aio" else StaticToken("forged")
    client = bus.connect(token, retry_total=0)
    sender = client.get_queue_sender(bus.queue())
    with pytest.raises(ServiceBusConnectionError):
        await sender.send_messages(ServiceBusMessage("hello"))
    await asyncio.gather(sender.close(), client.close())


async def test_a_wrong_key_in_a_connection_string_is_an_authentication_error(running: RunningServer):
    """azure-servicebus 7.15 calls a signature a JWT; it is told apart by its prefix."""
    wrong = running.connection_string("another-key")
    async with InThread(ServiceBusClient.from_connection_string(wrong, retry_total=0)) as client:
        sender = client.get_queue_sender("any")
        with pytest.raises(ServiceBusAuthenticationError):
            await sender.send_messages(ServiceBusMessage("hello"))
        await sender.close()


async def test_senders_and_receivers_come_back_after_their_connection_was_cut(bus: Bus):
    """azure-servicebus 7.15: the SDK opens a new connection and goes on."""
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    await sender.send_messages(ServiceBusMessage("before"))
    await bus.receive(receiver)
    assert bus.running.run(bus.running.server.drop_connections) >= 2
    await sender.send_messages(ServiceBusMessage("after"))
    (message,) = await bus.receive(receiver)
    assert str(message) == "after"


@AIO_ONLY
async def test_a_message_is_settled_over_the_management_link_after_a_reconnect(bus: Bus):
    """Service Bus message settlement: the lock token is enough; the lock outlives the connection."""
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    await sender.send_messages(ServiceBusMessage("hello"))
    (message,) = await bus.receive(receiver)
    bus.running.run(bus.running.server.drop_connections)
    await sender.send_messages(ServiceBusMessage("next"))
    (following,) = await bus.receive(receiver)
    assert str(following) == "next"
    await receiver.complete_message(message)
    await receiver.complete_message(following)
    assert bus.counts(queue).total == 0


@AIO_ONLY
async def test_a_link_that_the_service_detaches_is_attached_again(bus: Bus):
    """Service Bus AMQP errors: amqp:link:detach-forced is retried by the receive call."""
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    assert await receiver.receive_messages(1, max_wait_time=1) == []
    assert bus.running.run(lambda: bus.running.server.close_links(queue, "bus")) == 2
    await sender.send_messages(ServiceBusMessage("hello"))
    (message,) = await bus.receive(receiver)
    assert str(message) == "hello"


async def test_credit_of_a_receive_that_timed_out_stays_granted(bus: Bus):
    """AMQP 1.0, 2.6.7, credit stays: the next message goes to that link although nobody waits in receive."""
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    assert await receiver.receive_messages(1, max_wait_time=0.5) == []
    await sender.send_messages(ServiceBusMessage("hello"))
    assert bus.counts(queue).locked == 1


@AIO_ONLY
async def test_a_deleted_entity_ends_its_links(bus: Bus):
    """Receivers of an entity that goes learn that it is not there any more."""
    queue = bus.queue()
    receiver = await bus.receiver(queue)
    assert await receiver.receive_messages(1, max_wait_time=1) == []
    bus.running.run(lambda: bus.broker.delete_queue(queue))
    with pytest.raises(MessagingEntityNotFoundError):
        await receiver.receive_messages(1, max_wait_time=PATIENCE)


@pytest.fixture
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that detaches links after three seconds without use."""
    server = RunningServer(tmp_path_factory.mktemp("impatient"), link_idle_seconds=3.0)
    server.start()
    yield server
    server.stop()


async def test_idle_links_are_detached_and_a_loop_of_short_receives_lives_on(impatient: RunningServer):
    """Service Bus AMQP errors: the service detaches a link without use, also one with credit;
    each receive call is a use.
    """
    impatient.run(lambda: impatient.broker.create_queue("quiet"))
    options = {**impatient.endpoint(), "retry_backoff_factor": 0.1}
    async with (
        AioClient(HOST, StaticAsyncToken(), **options) as client,
        client.get_queue_sender("quiet") as sender,
        client.get_queue_receiver("quiet") as receiver,
    ):
        for _ in range(3):
            assert await receiver.receive_messages(1, max_wait_time=1) == []
        await until(lambda: not impatient.run(impatient.server.links))
        await sender.send_messages(ServiceBusMessage("hello"))
        (message,) = await receiver.receive_messages(1, max_wait_time=30)
        assert str(message) == "hello"
