"""Faults of Service Bus, met by the real SDK."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import (
    MessageLockLostError,
    ServiceBusError,
    ServiceBusServerBusyError,
    SessionCannotBeLockedError,
)

from tests.contract.azureml.conftest import eventually
from workforce_local.servicebus.settings import QueueSettings

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
"""The SDK leaves the sockets of connections that were cut to the garbage collector."""


@pytest_asyncio.fixture
async def bus(local_azure) -> AsyncIterator[ServiceBusClient]:
    """A client of a namespace with one queue."""
    namespace = next(iter(local_azure.namespaces))
    namespace.broker.create_queue("orders")
    async with ServiceBusClient.from_connection_string(
        local_azure.service_bus_connection_string(), retry_total=2, retry_backoff_factor=0.05
    ) as client:
        yield client
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()  # While the loop still runs: later they would be somebody else's.


async def send(bus, *texts):
    async with bus.get_queue_sender("orders") as sender:
        for text in texts:
            await sender.send_messages(ServiceBusMessage(text))


async def receive_all(receiver, count):
    """Receive so many. The wait bounds opening the link, too, which takes a loaded machine seconds."""
    found = []
    async with asyncio.timeout(100):
        while len(found) < count:
            for message in await receiver.receive_messages(max_message_count=10, max_wait_time=30):
                found.append(str(message))
                await receiver.complete_message(message)
    return found


@pytest.mark.parametrize("kind", ["dropConnections", "detachLinks"])
async def test_a_receiver_outlives_cut_connections_and_detached_links(local_azure, chaos, bus, kind):
    """azure-servicebus 7.15: the SDK connects again after a close or a reset, and after a forced detach."""
    await send(bus, "one")
    async with bus.get_queue_receiver("orders") as receiver:
        assert await receive_all(receiver, 1) == ["one"]
        await chaos.set({"kind": kind, "name": "cut"})
        await eventually(lambda: bool(local_azure.chaos.engine.injected(fault="cut")), "the cut")
        await send(bus, "two")
        assert await receive_all(receiver, 1) == ["two"]
    assert not (await chaos.injected(fault="cut"))[0]["detail"].startswith("0 ")


async def test_a_lost_lock_refuses_the_settlement_and_the_message_comes_again(local_azure, chaos, bus):
    """azure-servicebus, change log: since 7.15 completing a message whose lock is lost fails; it is delivered again."""
    await send(bus, "one")
    async with bus.get_queue_receiver("orders") as receiver:
        (message,) = await receiver.receive_messages(max_wait_time=30)
        await chaos.set({"kind": "loseLocks", "name": "lost", "entity": "orders"})
        await eventually(lambda: bool(local_azure.chaos.engine.injected(fault="lost")), "the loss")
        with pytest.raises(MessageLockLostError):
            await receiver.complete_message(message)
        (again,) = await receiver.receive_messages(max_wait_time=30)
        assert (str(again), again.delivery_count) == ("one", 1)
        await receiver.complete_message(again)


async def test_a_message_is_there_twice(local_azure, chaos, bus):
    """A sender that repeats itself after a lost answer sends twice: delivery is at least once."""
    await send(bus, "one")
    await chaos.set({"kind": "duplicateMessages", "name": "twice", "entity": "orders"})
    await eventually(lambda: bool(local_azure.chaos.engine.injected(fault="twice")), "the second one")
    async with bus.get_queue_receiver("orders") as receiver:
        assert await receive_all(receiver, 2) == ["one", "one"]


async def test_late_bytes_keep_their_order(chaos, bus):
    await chaos.set(
        {
            "kind": "latency", "distribution": "uniform", "seconds": 0.02, "spread": 0.02,
            "where": {"service": "serviceBus"},
        },
        seed=5,
    )  # fmt: skip
    texts = [str(number) for number in range(20)]
    await send(bus, *texts)
    async with bus.get_queue_receiver("orders") as receiver:
        assert await receive_all(receiver, 20) == texts
    assert len(await chaos.injected(service="serviceBus")) > 40


@pytest.mark.parametrize("kind", ["drop", "outage", "silence"])
async def test_a_bus_that_is_away_comes_back(chaos, bus, kind):
    """azure-servicebus 7.15: a peer that is silent holds nothing for ever; connections that are cut are made again."""
    extra = {"seconds": 0.5} if kind == "silence" else {}
    await chaos.set({"kind": kind, "times": 1, "where": {"service": "serviceBus"}, **extra})
    await send(bus, "one")
    async with bus.get_queue_receiver("orders") as receiver:
        assert await receive_all(receiver, 1) == ["one"]
    assert len(await chaos.injected(service="serviceBus")) == 1


async def test_a_region_without_its_bus_leaves_the_others_theirs(chaos, bus):
    await chaos.set({"kind": "outage", "where": {"service": "serviceBus", "region": "westeurope"}})
    await send(bus, "one")
    assert await chaos.injected() == []


async def test_a_session_whose_connection_was_cut_can_be_held_again_once_its_lock_is_lost(local_azure, chaos, bus):
    """Service Bus message sessions: a lost connection leaves the session locked until its lock ends."""
    namespace = next(iter(local_azure.namespaces))
    namespace.broker.create_queue("nodes", QueueSettings(requires_session=True))
    async with bus.get_queue_receiver("nodes", session_id="a"):
        local_azure.service_bus.drop_connections()
        with pytest.raises(SessionCannotBeLockedError):
            async with bus.get_queue_receiver("nodes", session_id="a"):
                pass
        await chaos.set({"kind": "loseLocks", "name": "lost", "entity": "nodes"})
        await eventually(lambda: bool(local_azure.chaos.engine.injected(fault="lost")), "the loss")
        async with bus.get_queue_receiver("nodes", session_id="a") as again:
            assert again.session.session_id == "a"


def strict(local_azure) -> ServiceBusClient:
    """A client that gives up at the first answer."""
    return ServiceBusClient.from_connection_string(local_azure.service_bus_connection_string(), retry_total=0)


@pytest.mark.parametrize(("kind", "error"), [("throttle", ServiceBusServerBusyError), ("error", ServiceBusError)])
async def test_a_send_is_refused_by_a_service_that_is_busy_or_fails(local_azure, chaos, bus, kind, error):
    """Service Bus exceptions: server-busy and internal errors are transient; the message was not stored."""
    await chaos.set({"kind": kind, "name": "no", "where": {"service": "serviceBus", "path": "wf-bus/orders"}})
    async with strict(local_azure) as client, client.get_queue_sender("orders") as sender:
        with pytest.raises(error):
            await sender.send_messages(ServiceBusMessage("one"))
        struck = [(one["service"], one["what"]) for one in await chaos.injected(fault="no")]
        assert set(struck) == {("serviceBus", "SEND wf-bus/orders")}
        await chaos.clear()
        await sender.send_messages(ServiceBusMessage("two"))
    async with bus.get_queue_receiver("orders") as receiver:
        assert await receive_all(receiver, 1) == ["two"]


async def test_a_client_waits_until_the_service_is_not_busy_any_more(chaos, bus):
    """azure-servicebus 7.15 sends again what was refused by a busy server."""
    await chaos.set({"kind": "throttle", "name": "busy", "where": {"service": "serviceBus"}, "times": 1})
    await send(bus, "one")
    assert len(await chaos.injected(fault="busy")) == 1
    async with bus.get_queue_receiver("orders") as receiver:
        assert await receive_all(receiver, 1) == ["one"]


async def test_a_send_whose_answer_is_lost_was_stored_and_its_repetition_is_there_too(chaos, bus):
    """azure-servicebus 7.15 repeats a send whose outcome it does not hear of: at least once."""
    await chaos.set({"kind": "lostResponse", "name": "lost", "where": {"service": "serviceBus"}, "times": 1})
    await send(bus, "one")
    async with bus.get_queue_receiver("orders") as receiver:
        assert await receive_all(receiver, 2) == ["one", "one"]


async def test_a_send_that_is_delivered_twice_is_there_twice(chaos, bus):
    """Service Bus stores each message that comes, unless its entity looks for duplicates."""
    await chaos.set({"kind": "duplicate", "name": "twice", "where": {"service": "serviceBus"}})
    await send(bus, "one")
    async with bus.get_queue_receiver("orders") as receiver:
        assert await receive_all(receiver, 2) == ["one", "one"]


async def test_revoked_credentials_open_no_link_and_those_that_stand_go_on(local_azure, chaos, bus):
    """Service Bus claims-based security: a token counts when it is presented; put-token is answered with 401."""
    async with bus.get_queue_sender("orders") as sender:
        await sender.send_messages(ServiceBusMessage("one"))
        await chaos.set({"kind": "revoked", "name": "out", "where": {"service": "serviceBus"}})
        async with strict(local_azure) as client:
            with pytest.raises(ServiceBusError):
                async with client.get_queue_sender("orders"):
                    pytest.fail("nobody gets in")
        assert "TOKEN wf-bus/orders" in {one["what"] for one in await chaos.injected(fault="out")}
        await sender.send_messages(ServiceBusMessage("two"))
        await chaos.clear()
    async with bus.get_queue_receiver("orders") as receiver:
        assert await receive_all(receiver, 2) == ["one", "two"]
