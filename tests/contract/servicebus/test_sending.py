"""How messages get in: alone, in batches, large, later, twice, for a limited time."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.exceptions import MessageSizeExceededError

from tests.contract.servicebus.conftest import AIO_ONLY, SDK_LEAVES_SOCKETS, Bus, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), SDK_LEAVES_SOCKETS]


async def test_a_batch_holds_up_to_256_kib_and_arrives_as_single_messages(bus: Bus):
    """Service Bus AMQP guide: message-format 0x80013700; each data section is one message."""
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    batch = await sender.create_message_batch()
    assert batch.max_size_in_bytes == 262144
    for number in range(20):
        batch.add_message(ServiceBusMessage(str(number)))
    await sender.send_messages(batch)
    assert [str(message) for message in await bus.receive(receiver, 20)] == [str(number) for number in range(20)]


async def test_a_large_message_travels_in_several_frames(bus: Bus):
    """AMQP 1.0, 2.6.14: 200 kB, more than the client's frame size of 64 kB in either direction."""
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    body = bytes(range(256)) * 800
    await sender.send_messages(ServiceBusMessage(body))
    (message,) = await bus.receive(receiver)
    assert b"".join(message.body) == body


async def test_a_message_above_the_limit_is_refused_and_the_next_one_is_taken(bus: Bus):
    """Service Bus quotas: 256 kB on the standard tier, announced when the link attaches."""
    queue = bus.queue()
    sender = await bus.sender(queue)
    with pytest.raises(MessageSizeExceededError):
        await sender.send_messages(ServiceBusMessage(b"x" * 300_000))
    await sender.send_messages(ServiceBusMessage("small"))
    assert bus.counts(queue).active == 1


async def test_a_scheduled_message_appears_at_its_time_unless_it_is_cancelled(bus: Bus):
    """Service Bus AMQP operations: schedule-message and cancel-scheduled-message."""
    queue = bus.queue()
    sender, receiver = await bus.pair(queue)
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    kept, taken_back = await sender.schedule_messages([ServiceBusMessage("kept"), ServiceBusMessage("not")], soon)
    assert kept != taken_back
    await sender.cancel_scheduled_messages(taken_back)
    assert bus.counts(queue).scheduled == 1
    (message,) = await bus.receive(receiver)
    assert str(message) == "kept"
    assert message.enqueued_time_utc >= soon.replace(microsecond=soon.microsecond // 1000 * 1000)
    assert bus.counts(queue).total == 1


@AIO_ONLY
async def test_a_message_is_dropped_when_its_own_time_is_over(bus: Bus):
    """Service Bus message expiration: the smaller of message's and entity's; dropped unless the entity dead-letters."""
    queue = bus.queue(default_time_to_live=3600.0)
    sender, receiver = await bus.pair(queue)
    await sender.send_messages(ServiceBusMessage("short", time_to_live=dt.timedelta(seconds=1)))
    await sender.send_messages(ServiceBusMessage("long", time_to_live=dt.timedelta(hours=2)))
    await until(lambda: bus.counts(queue).active == 1)
    (message,) = await bus.receive(receiver)
    assert (str(message), bus.counts(queue).dead_lettered) == ("long", 0)


async def test_a_message_that_outlives_its_entity_s_limit_is_dead_lettered_if_so_wanted(bus: Bus):
    """Service Bus message expiration: dead-lettering on expiration; the dead letter itself does not expire."""
    queue = bus.queue(default_time_to_live=0.5, dead_letter_on_expiration=True)
    sender = await bus.sender(queue)
    await sender.send_messages(ServiceBusMessage("late"))
    (letter,) = await bus.receive(await bus.receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER))
    assert letter.dead_letter_reason == "TTLExpiredException"


@AIO_ONLY
async def test_a_message_id_is_taken_once_within_the_window(bus: Bus):
    """Service Bus duplicate detection: a re-sent order is harmless, also within a batch."""
    queue = bus.queue(duplicate_window=300.0)
    sender = await bus.sender(queue)
    order = str(uuid.uuid4())
    await sender.send_messages(ServiceBusMessage("one", message_id=order))
    await sender.send_messages([ServiceBusMessage("again", message_id=order), ServiceBusMessage("two", message_id="2")])
    assert bus.counts(queue).active == 2
