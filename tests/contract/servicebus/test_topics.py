"""Topics: who of the subscribers gets what."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from azure.servicebus import AutoLockRenewer, ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import AutoLockRenewer as AioAutoLockRenewer
from azure.servicebus.exceptions import ServiceBusError

from tests.contract.servicebus.conftest import PATIENCE, SDK_LEAVES_SOCKETS, Bus, until
from workforce_local.servicebus.rules import CorrelationFilter, FalseFilter, Rule, SqlFilter
from workforce_local.servicebus.settings import QueueSettings

_names = itertools.count()
MESSAGES = (
    ServiceBusMessage("j1", subject="drain", application_properties={"job": "j1", "size": 3}),
    ServiceBusMessage("j2", subject="drain", application_properties={"job": "j2", "size": 30}),
    ServiceBusMessage("none", subject="other"),
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), SDK_LEAVES_SOCKETS]


def make_topic(bus: Bus, **filters) -> str:
    topic = f"topic-{next(_names)}"

    def make() -> None:
        bus.broker.create_topic(topic)
        for name, rule in filters.items():
            subscription = bus.broker.create_subscription(topic, name)
            if rule is not None:
                subscription.rules = {"only": Rule("only", rule)}

    bus.running.run(make)
    return topic


async def test_each_subscription_gets_what_its_rules_match(bus: Bus):
    """Service Bus topic filters: true, false, correlation (all equal, user and system properties), SQL;
    no filter sees the body.
    """
    topic = make_topic(
        bus,
        everything=None,
        nothing=FalseFilter(),
        correlated=CorrelationFilter({"subject": "drain"}, {"job": "j1"}),
        sql=SqlFilter("sys.Label = 'drain' AND (job LIKE 'j%' AND size > 10)"),
        missing=SqlFilter("job IS NULL"),
    )
    sender = await bus.opened(bus.client.get_topic_sender(topic))
    await sender.send_messages(list(MESSAGES))
    expected = {"everything": ["j1", "j2", "none"], "correlated": ["j1"], "sql": ["j2"], "missing": ["none"]}
    assert bus.counts(f"{topic}/Subscriptions/nothing").total == 0
    receivers = [await bus.opened(bus.client.get_subscription_receiver(topic, name)) for name in ("sql", "missing")]
    for name, receiver in zip(("sql", "missing"), receivers, strict=True):
        found = await bus.receive(receiver, len(expected[name]))
        assert [str(message) for message in found] == expected[name]
    counts = {name: bus.counts(f"{topic}/Subscriptions/{name}").active for name in expected}
    assert counts == {name: len(found) for name, found in expected.items()}


async def test_a_message_goes_to_one_of_many_waiting_receivers_in_the_order_of_their_credit(bus: Bus):
    """Service Bus subscriptions: competing consumers on `shutdown`; credit is served first come, first served."""
    topic = make_topic(bus, shutdown=None)
    sender = await bus.opened(bus.client.get_topic_sender(topic))
    first, second = [await bus.opened(bus.client.get_subscription_receiver(topic, "shutdown")) for _ in range(2)]
    for receiver in (first, second):
        assert await receiver.receive_messages(1, max_wait_time=0.5) == []
    await sender.send_messages(ServiceBusMessage("for the first"))
    await sender.send_messages(ServiceBusMessage("for the second"))
    found = await asyncio.gather(bus.receive(first), bus.receive(second))
    assert [str(message) for (message,) in found] == ["for the first", "for the second"]


async def test_a_message_without_session_is_a_dead_letter_of_a_subscription_that_needs_one(bus: Bus):
    """The service's text is "Session id is null."."""
    topic = make_topic(bus)
    bus.running.run(lambda: bus.broker.create_subscription(topic, "nodes", QueueSettings(requires_session=True)))
    sender = await bus.opened(bus.client.get_topic_sender(topic))
    await sender.send_messages(ServiceBusMessage("untargeted"))
    options = {"sub_queue": ServiceBusSubQueue.DEAD_LETTER}
    dead = await bus.opened(bus.client.get_subscription_receiver(topic, "nodes", **options))
    (letter,) = await bus.receive(dead)
    assert letter.dead_letter_reason == "Session id is null."


async def test_a_topic_itself_cannot_be_received_from(bus: Bus):
    topic = make_topic(bus)
    receiver = bus.client.get_queue_receiver(topic)
    with pytest.raises(ServiceBusError, match="is a topic"):
        await receiver.receive_messages(1, max_wait_time=PATIENCE)
    await receiver.close()


async def test_the_sdk_s_lock_renewer_holds_a_message_beyond_its_lock(bus: Bus):
    """azure-servicebus 7.15, AutoLockRenewer: locks shorter than five seconds it cannot hold."""
    queue = bus.queue(lock_duration=5.0)
    sender, receiver = await bus.pair(queue)
    await sender.send_messages(ServiceBusMessage("hello"))
    (message,) = await bus.receive(receiver)
    renewer = AioAutoLockRenewer() if bus.flavour == "aio" else AutoLockRenewer()
    renewer.register(receiver if bus.flavour == "aio" else receiver._wrapped, message, max_lock_renewal_duration=60)
    first = message.locked_until_utc
    await until(lambda: message.locked_until_utc > first)
    await receiver.complete_message(message)
    assert bus.counts(queue).total == 0
    await asyncio.to_thread(renewer.close) if bus.flavour == "sync" else await renewer.close()
