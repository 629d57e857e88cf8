"""Messages and what receivers do with them."""

from __future__ import annotations

import pytest
from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
)
from azure.servicebus.exceptions import MessageAlreadySettled, MessageLockLostError

from tests.contract.servicebus.conftest import AIO_ONLY, SDK_LEAVES_SOCKETS, Bus

pytestmark = [pytest.mark.asyncio(loop_scope="module"), SDK_LEAVES_SOCKETS]


async def test_a_completed_message_is_gone_and_cannot_be_settled_again(bus: Bus):
    """AMQP 1.0, 2.6.12: the service confirms the outcome with the same state."""
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    await sender.send_messages(ServiceBusMessage("hello", application_properties={"job": "j1"}, subject="drain"))
    (message,) = await bus.receive(receiver)
    assert (str(message), message.delivery_count, message.sequence_number) == ("hello", 0, 1)
    assert (message.application_properties, message.subject) == ({b"job": b"j1"}, "drain")
    await receiver.complete_message(message)
    assert bus.counts(queue).total == 0
    with pytest.raises(MessageAlreadySettled):
        await receiver.complete_message(message)


async def test_an_abandoned_message_comes_again_and_its_delivery_is_counted(bus: Bus):
    """AMQP 1.0, 3.2.1: the delivery count is that of failed deliveries so far."""
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    await sender.send_messages(ServiceBusMessage("hello"))
    (message,) = await bus.receive(receiver)
    await receiver.abandon_message(message)
    (again,) = await bus.receive(receiver)
    assert (again.delivery_count, again.sequence_number) == (1, message.sequence_number)
    assert again.lock_token != message.lock_token


async def test_a_dead_letter_carries_its_reason_and_is_read_from_the_sub_queue(bus: Bus):
    """azure-servicebus 7.15: rejected is answered without an error, or the client would take it for refused."""
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    await sender.send_messages(ServiceBusMessage("bad"))
    (message,) = await bus.receive(receiver)
    await receiver.dead_letter_message(message, reason="Poison", error_description="cannot be read")
    dead = await bus.receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER)
    (letter,) = await bus.receive(dead)
    assert (letter.dead_letter_reason, letter.dead_letter_error_description) == ("Poison", "cannot be read")
    assert (bus.counts(queue).active, bus.counts(queue).dead_lettered) == (0, 1)


async def test_a_deferred_message_is_received_by_its_number_only(bus: Bus):
    """Service Bus AMQP guide: modified with undeliverable-here defers;
    receive-by-sequence-number returns a lock token.
    """
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    await sender.send_messages([ServiceBusMessage("later"), ServiceBusMessage("now")])
    later, now = await bus.receive(receiver, 2)
    await receiver.defer_message(later)
    await receiver.complete_message(now)
    assert await receiver.receive_messages(1, max_wait_time=0.5) == []
    (deferred,) = await receiver.receive_deferred_messages([later.sequence_number])
    assert str(deferred) == "later"
    assert await receiver.renew_message_lock(deferred)
    await receiver.complete_message(deferred)
    assert bus.counts(queue).total == 0


async def test_a_lock_that_ends_makes_the_message_available_and_settling_it_fails(bus: Bus):
    """Service Bus message settlement: another delivery after the lock,
    counted. Since azure-servicebus 7.15 a complete after that is refused.
    """
    queue = bus.queue(lock_duration=2.0)
    sender, receiver = await bus.pair(queue)
    await sender.send_messages(ServiceBusMessage("hello"))
    (message,) = await bus.receive(receiver)
    (again,) = await bus.receive(receiver)
    assert again.delivery_count == 1
    with pytest.raises(MessageLockLostError):
        await receiver.complete_message(message)


@AIO_ONLY
async def test_a_message_that_failed_too_often_is_dead_lettered(bus: Bus):
    """Service Bus dead-letter queues: abandons count; the reason is the service's."""
    queue = bus.queue(max_delivery_count=2)
    sender, receiver = await bus.pair(queue)
    dead = await bus.receiver(queue, sub_queue="deadletter")
    await sender.send_messages(ServiceBusMessage("hello"))
    for _ in range(2):
        (message,) = await bus.receive(receiver)
        await receiver.abandon_message(message)
    (letter,) = await bus.receive(dead)
    assert letter.dead_letter_reason == "MaxDeliveryCountExceeded"


async def test_a_renewed_lock_ends_later(bus: Bus):
    """Service Bus AMQP operations: renew-lock over the management link."""
    queue = bus.queue(lock_duration=30.0)
    sender, receiver = await bus.pair(queue)
    await sender.send_messages(ServiceBusMessage("hello"))
    (message,) = await bus.receive(receiver)
    before = message.locked_until_utc
    renewed = await receiver.renew_message_lock(message)
    assert renewed == message.locked_until_utc
    assert renewed > before
    await receiver.complete_message(message)


async def test_receive_and_delete_takes_messages_for_good(bus: Bus):
    """AMQP 1.0, 2.6.12: settled transfers, no lock."""
    queue = bus.queue()
    sender = await bus.sender(queue)
    receiver = await bus.receiver(queue, receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE)
    await sender.send_messages(ServiceBusMessage("hello"))
    (message,) = await bus.receive(receiver)
    assert str(message) == "hello"
    assert bus.counts(queue).total == 0


async def test_peeking_shows_messages_in_any_state_and_locks_none(bus: Bus):
    """Service Bus AMQP operations: peek-message."""
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    await sender.send_messages([ServiceBusMessage(str(number)) for number in range(3)])
    (first,) = await bus.receive(receiver)
    assert [str(message) for message in await receiver.peek_messages(10, sequence_number=1)] == ["0", "1", "2"]
    assert [str(message) for message in await receiver.peek_messages(10, sequence_number=3)] == ["2"]
    assert bus.counts(queue).locked == 1
    await receiver.complete_message(first)


async def test_an_iterator_gives_one_message_after_the_other_and_ends_by_its_time(bus: Bus):
    """azure-servicebus 7.15: a receiver is an iterator."""
    queue = bus.queue()
    sender, receiver = await bus.sender(queue), await bus.receiver(queue, max_wait_time=1.5)
    await sender.send_messages([ServiceBusMessage(str(number)) for number in range(3)])
    seen = []
    async for message in receiver:
        seen.append(str(message))
        await receiver.complete_message(message)
    assert seen == ["0", "1", "2"]


async def test_prefetched_messages_are_locked_before_anybody_asks(bus: Bus):
    """azure-servicebus 7.15, prefetch: credit without a receive call."""
    queue = bus.queue()
    sender = await bus.sender(queue)
    await sender.send_messages([ServiceBusMessage(str(number)) for number in range(3)])
    receiver = await bus.receiver(queue, prefetch_count=3)
    first = await bus.receive(receiver)
    assert bus.counts(queue).locked == 3
    rest = await bus.receive(receiver, 2)
    assert [str(message) for message in first + rest] == ["0", "1", "2"]


@AIO_ONLY
async def test_a_closed_receiver_keeps_the_lock_until_it_ends(bus: Bus):
    """azure-servicebus 7.15 change log: received, closed without settling: the next one has it after
    the lock, and it counts as a delivery.
    """
    queue = bus.queue(lock_duration=3.0)
    sender = await bus.sender(queue)
    await sender.send_messages(ServiceBusMessage("hello"))
    async with bus.client.get_queue_receiver(queue) as first:
        await bus.receive(first)
    assert bus.counts(queue).locked == 1
    (again,) = await bus.receive(await bus.receiver(queue))
    assert again.delivery_count == 1
