"""Sessions: one receiver each, in order, with a state and a lock of their own."""

from __future__ import annotations

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    ServiceBusError,
    SessionCannotBeLockedError,
    SessionLockLostError,
)

from tests.contract.servicebus.conftest import AIO_ONLY, PATIENCE, SDK_LEAVES_SOCKETS, Bus

pytestmark = [pytest.mark.asyncio(loop_scope="module"), SDK_LEAVES_SOCKETS]


async def test_a_session_gives_its_messages_in_order_keeps_a_state_and_can_be_renewed(bus: Bus):
    """Service Bus AMQP operations: session filter, locked-until, get/set-session-state, renew-session-lock."""
    queue = bus.queue(requires_session=True, lock_duration=30.0)
    sender = await bus.sender(queue)
    receiver = await bus.receiver(queue, session_id="node-1")
    await sender.send_messages(
        [ServiceBusMessage(text, session_id=node) for text, node in (("a", "node-1"), ("x", "node-2"), ("b", "node-1"))]
    )
    messages = await bus.receive(receiver, 2)
    assert [(str(message), message.session_id) for message in messages] == [("a", "node-1"), ("b", "node-1")]
    session = receiver.session
    assert await session.get_state() is None
    await session.set_state("revision 7")
    assert await session.get_state() == b"revision 7"
    before = session.locked_until_utc
    assert await session.renew_lock() > before
    for message in messages:
        await receiver.complete_message(message)
    assert bus.counts(queue).active == 1


async def test_the_next_session_with_messages_is_given_to_whoever_asks(bus: Bus):
    """Service Bus AMQP guide: a null filter is the next available one, answered with its id."""
    queue = bus.queue(requires_session=True)
    sender = await bus.sender(queue)
    await sender.send_messages(ServiceBusMessage("a", session_id="node-7"))
    receiver = await bus.receiver(queue, session_id=NEXT_AVAILABLE_SESSION)
    assert receiver.session.session_id == "node-7"
    (message,) = await bus.receive(receiver)
    await receiver.complete_message(message)


@AIO_ONLY
async def test_waiting_for_a_session_ends_by_the_client_s_time(bus: Bus):
    """azure-servicebus 7.15: the attach is held until com.microsoft:timeout."""
    queue = bus.queue(requires_session=True)
    receiver = bus.once.get_queue_receiver(queue, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1)
    with pytest.raises(OperationTimeoutError):
        await receiver.__aenter__()
    await receiver.close()


async def test_a_held_session_is_refused_to_others_and_free_once_its_receiver_closes(bus: Bus):
    """Service Bus message sessions: cannot be locked twice; after a clean close it is free at once,
    and its state is still there.
    """
    queue = bus.queue(requires_session=True)
    async with bus.client.get_queue_receiver(queue, session_id="node-1") as first:
        await first.session.set_state(b"7")
        other = bus.once.get_queue_receiver(queue, session_id="node-1")
        with pytest.raises(SessionCannotBeLockedError):
            await other.__aenter__()
        await other.close()
    second = await bus.receiver(queue, session_id="node-1")
    assert await second.session.get_state() == b"7"


@AIO_ONLY
async def test_a_session_of_a_dead_receiver_is_locked_until_its_lock_ends(bus: Bus):
    """Service Bus message sessions: the lock belongs to the session, not to the link; only the clock ends it."""
    queue = bus.queue(requires_session=True, lock_duration=4.0)
    await bus.receiver(queue, session_id="node-1")
    bus.running.run(lambda: bus.running.server.drop_connections("bus"))
    tries = 0
    while True:
        receiver = bus.once.get_queue_receiver(queue, session_id="node-1")
        try:
            await bus.opened(receiver)
            break
        except SessionCannotBeLockedError:
            tries += 1
    assert tries >= 1


async def test_a_session_lock_that_ends_is_lost(bus: Bus):
    """azure-servicebus 7.15, SessionLockLostError: nothing can be done with the session after that,
    and its message comes again, counted.
    """
    queue = bus.queue(requires_session=True, lock_duration=2.0)
    sender = await bus.sender(queue)
    await sender.send_messages(ServiceBusMessage("a", session_id="node-1"))
    first = await bus.receiver(queue, session_id="node-1")
    (message,) = await bus.receive(first)
    second = await bus.receiver(queue, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=PATIENCE)
    (again,) = await bus.receive(second)
    assert (again.session_id, again.delivery_count) == ("node-1", 1)
    with pytest.raises(SessionLockLostError):
        await first.complete_message(message)


async def test_messages_and_receivers_without_a_session_are_refused_where_one_is_required(bus: Bus):
    """Service Bus message sessions: a queue refuses such messages when they are sent."""
    queue = bus.queue(requires_session=True)
    sender = await bus.sender(queue)
    with pytest.raises(ServiceBusError, match="SessionId was not set"):
        await sender.send_messages(ServiceBusMessage("lost"))
    receiver = bus.client.get_queue_receiver(queue)
    with pytest.raises(ServiceBusError, match="requires sessions"):
        await receiver.receive_messages(1, max_wait_time=PATIENCE)
    await receiver.close()
