"""Service Bus by the resource manager and the SDK: what orders, reports and tasks rely on."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.exceptions import (
    MessageLockLostError,
    ServiceBusError,
    SessionCannotBeLockedError,
)

from tests.conformance.conftest import Bus

pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning"
)  # the SDK leaves cut sockets to the collector

QUIET_SECONDS = 5


async def send(bus: Bus, queue: str, *messages: ServiceBusMessage) -> None:
    async with bus.client.get_queue_sender(queue) as sender:
        for message in messages:
            await sender.send_messages(message)


async def test_a_queue_is_made_by_an_idempotent_put_and_deleted_once(bus: Bus):
    name = await bus.queue()
    assert await bus.queue() == name
    path = f"{bus.arm.place.bus_id}/queues/{name}"
    read = await bus.arm.send("GET", path)
    assert read.json()["properties"]["lockDuration"] == "PT5S"
    assert [(await bus.arm.send("DELETE", path)).status_code for _ in range(2)] == [200, 204]
    assert (await bus.arm.send("GET", path)).status_code == 404


async def test_whether_a_queue_has_sessions_does_not_change(bus: Bus):
    name = await bus.queue(requiresSession=True)
    path = f"{bus.arm.place.bus_id}/queues/{name}"
    refused = await bus.arm.send("PUT", path, {"properties": {"requiresSession": False}})
    assert refused.status_code in (400, 409)


async def test_the_namespace_tells_its_endpoint(bus: Bus):
    answer = await bus.arm.send("GET", bus.arm.place.bus_id)
    assert f"://{bus.arm.place.service_bus}." in answer.json()["properties"]["serviceBusEndpoint"]


async def test_a_completed_message_is_gone_and_an_abandoned_one_comes_again_counted(bus: Bus):
    queue = await bus.queue(lockDuration="PT1M")
    await send(bus, queue, ServiceBusMessage("hello"))
    async with bus.client.get_queue_receiver(queue) as receiver:
        (first,) = await bus.receive(receiver)
        await receiver.abandon_message(first)
        (second,) = await bus.receive(receiver)
        assert (str(second), second.delivery_count) == ("hello", 1)
        await receiver.complete_message(second)
        assert await receiver.receive_messages(1, max_wait_time=QUIET_SECONDS) == []
    await bus.empties(queue)


async def test_a_lock_that_ends_makes_the_message_available_and_settling_it_fails(bus: Bus):
    queue = await bus.queue(lockDuration="PT5S")
    await send(bus, queue, ServiceBusMessage("hello"))
    async with bus.client.get_queue_receiver(queue) as receiver:
        (first,) = await bus.receive(receiver)
        (second,) = await bus.receive(receiver)
        assert second.delivery_count == 1
        await receiver.complete_message(second)
        with pytest.raises(MessageLockLostError):
            await receiver.complete_message(first)


async def test_a_renewed_lock_ends_later(bus: Bus):
    queue = await bus.queue(lockDuration="PT1M")
    await send(bus, queue, ServiceBusMessage("hello"))
    async with bus.client.get_queue_receiver(queue) as receiver:
        (message,) = await bus.receive(receiver)
        before = message.locked_until_utc
        await asyncio.sleep(0.1)
        assert await receiver.renew_message_lock(message) > before
        await receiver.complete_message(message)


async def test_dead_letters_carry_reason_and_description(bus: Bus):
    queue = await bus.queue(lockDuration="PT1M")
    await send(bus, queue, ServiceBusMessage("bad"))
    async with bus.client.get_queue_receiver(queue) as receiver:
        (message,) = await bus.receive(receiver)
        await receiver.dead_letter_message(message, reason="Malformed", error_description="not JSON")
    async with bus.client.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as dead:
        (letter,) = await bus.receive(dead)
        assert (letter.dead_letter_reason, letter.dead_letter_error_description) == ("Malformed", "not JSON")
        await dead.complete_message(letter)


async def test_a_message_that_failed_too_often_is_dead_lettered(bus: Bus):
    queue = await bus.queue(lockDuration="PT1M", maxDeliveryCount=2)
    await send(bus, queue, ServiceBusMessage("bad"))
    async with bus.client.get_queue_receiver(queue) as receiver:
        for _ in range(2):
            (message,) = await bus.receive(receiver)
            await receiver.abandon_message(message)
    async with bus.client.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as dead:
        (letter,) = await bus.receive(dead)
        assert letter.dead_letter_reason == "MaxDeliveryCountExceeded"


async def test_a_message_id_is_taken_once_within_the_window(bus: Bus):
    queue = await bus.queue(requiresDuplicateDetection=True, duplicateDetectionHistoryTimeWindow="PT5M")
    await send(bus, queue, *(ServiceBusMessage(text, message_id="order-1") for text in ("first", "again")))
    async with bus.client.get_queue_receiver(queue) as receiver:
        (message,) = await bus.receive(receiver)
        await receiver.complete_message(message)
        assert str(message) == "first"
        assert await receiver.receive_messages(1, max_wait_time=QUIET_SECONDS) == []


async def test_a_message_is_dropped_when_its_time_is_over(bus: Bus):
    queue = await bus.queue()
    await send(bus, queue, ServiceBusMessage("short", time_to_live=dt.timedelta(seconds=1)))
    await asyncio.sleep(2)
    await send(bus, queue, ServiceBusMessage("long"))
    async with bus.client.get_queue_receiver(queue) as receiver:
        (message,) = await bus.receive(receiver)
        assert str(message) == "long"


async def test_a_scheduled_message_appears_at_its_time(bus: Bus):
    queue = await bus.queue()
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=5)
    async with bus.client.get_queue_sender(queue) as sender, bus.client.get_queue_receiver(queue) as receiver:
        await sender.schedule_messages(ServiceBusMessage("later"), soon)
        (message,) = await bus.receive(receiver)
        assert message.enqueued_time_utc >= soon - dt.timedelta(seconds=1)


async def test_a_session_gives_its_messages_in_order_to_one_receiver_and_keeps_a_state(bus: Bus):
    queue = await bus.queue(requiresSession=True, lockDuration="PT1M")
    await send(bus, queue, *(ServiceBusMessage(text, session_id="node-1") for text in ("a", "b")))
    async with bus.client.get_queue_receiver(queue, session_id="node-1") as receiver:
        messages = await bus.receive(receiver, 2)
        assert [str(message) for message in messages] == ["a", "b"]
        await receiver.session.set_state(b"7")
        before = receiver.session.locked_until_utc
        await asyncio.sleep(0.1)
        assert await receiver.session.renew_lock() > before
        other = bus.client.get_queue_receiver(queue, session_id="node-1")
        with pytest.raises(SessionCannotBeLockedError):
            await other.__aenter__()
        await other.close()
        for message in messages:
            await receiver.complete_message(message)
    async with bus.client.get_queue_receiver(queue, session_id="node-1") as receiver:
        assert await receiver.session.get_state() == b"7"


async def test_the_next_session_with_messages_is_given_to_whoever_asks(bus: Bus):
    queue = await bus.queue(requiresSession=True, lockDuration="PT1M")
    await send(bus, queue, ServiceBusMessage("a", session_id="node-7"))
    async with bus.client.get_queue_receiver(queue, session_id=NEXT_AVAILABLE_SESSION) as receiver:
        assert receiver.session.session_id == "node-7"


async def test_a_message_without_a_session_is_refused_where_one_is_required(bus: Bus):
    queue = await bus.queue(requiresSession=True)
    with pytest.raises(ServiceBusError):
        await send(bus, queue, ServiceBusMessage("lost"))


async def test_each_subscription_gets_what_its_rule_matches(bus: Bus):
    """The default rule takes everything, so that orders to one node never travel on a topic."""
    sql = {"filterType": "SqlFilter", "sqlFilter": {"sqlExpression": "operation = 'graceful-downscale'"}}
    correlation = {"filterType": "CorrelationFilter", "correlationFilter": {"properties": {"workforce": "md-sims"}}}
    topic = await bus.topic(shutdown=None, downscale=sql, mine=correlation)
    async with bus.client.get_topic_sender(topic) as sender:
        await sender.send_messages(
            [
                ServiceBusMessage("a", application_properties={"operation": "graceful-downscale"}),
                ServiceBusMessage("b", application_properties={"workforce": "md-sims"}),
            ]
        )
    for subscription, expected in (("shutdown", {"a", "b"}), ("downscale", {"a"}), ("mine", {"b"})):
        async with bus.client.get_subscription_receiver(topic, subscription) as receiver:
            messages = await bus.receive(receiver, len(expected))
            assert {str(message) for message in messages} == expected
            assert await receiver.receive_messages(1, max_wait_time=QUIET_SECONDS) == []


async def test_a_batch_holds_at_least_256_kib_and_arrives_as_single_messages(bus: Bus):
    queue = await bus.queue(lockDuration="PT1M")
    async with bus.client.get_queue_sender(queue) as sender, bus.client.get_queue_receiver(queue) as receiver:
        batch = await sender.create_message_batch()
        assert batch.max_size_in_bytes >= 262144
        for number in range(20):
            batch.add_message(ServiceBusMessage(str(number)))
        await sender.send_messages(batch)
        found = {str(message) for message in await bus.receive(receiver, 20)}
        assert found == {str(number) for number in range(20)}
