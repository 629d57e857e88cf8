"""Queues and topics by the clock: locks, deliveries, expiry, sessions, duplicates."""

from __future__ import annotations

import pytest

from tests.unit.local_servicebus.support import FakeConsumer, FakeTime, message
from workforce_local.servicebus.errors import EntityError
from workforce_local.servicebus.queue import Queue
from workforce_local.servicebus.rules import CorrelationFilter, Rule
from workforce_local.servicebus.sessions import SessionRequest
from workforce_local.servicebus.settings import QueueSettings, TopicSettings
from workforce_local.servicebus.stored import Action


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


def make(time: FakeTime, **settings) -> Queue:
    return time.broker.create_queue("q", QueueSettings(**settings))


def next_session(queue: Queue, consumer: FakeConsumer, timeout: float = 60) -> list:
    outcome: list = []
    request = SessionRequest(consumer, lambda name, until: outcome.append((name, until)), outcome.append)
    queue.sessions.accept_next(request, timeout)
    return outcome


class TestDelivery:
    def test_credit_is_served_in_the_order_in_which_it_came_and_what_is_left_of_it_stays(self, time):
        queue = make(time)
        first, second = FakeConsumer(queue, 2), FakeConsumer(queue, 1)
        for body in "abcd":
            queue.submit(message(body))
        assert (first.bodies, second.bodies) == (["a", "c"], ["b"])
        assert queue.counts().active - queue.counts().locked == 1

    def test_without_credit_nothing_is_delivered(self, time):
        queue = make(time)
        consumer = FakeConsumer(queue)
        queue.submit(message())
        assert consumer.messages == []

    def test_a_receiver_that_left_gets_nothing_more(self, time):
        queue = make(time)
        gone, stays = FakeConsumer(queue, 1), FakeConsumer(queue, 1)
        queue.remove_consumer(gone, orderly=True)
        queue.submit(message())
        assert (len(gone.messages), len(stays.messages)) == (0, 1)

    def test_receive_and_delete_leaves_nothing(self, time):
        queue = make(time)
        FakeConsumer(queue, 1, settles_on_send=True)
        queue.submit(message())
        assert queue.counts().total == 0

    def test_an_abandoned_message_comes_back_before_younger_ones(self, time):
        queue = make(time)
        consumer = FakeConsumer(queue, 1)
        for body in "ab":
            queue.submit(message(body))
        consumer.settle(Action.ABANDON)
        consumer.grant(2)
        assert consumer.bodies == ["a", "a", "b"]


class TestLocks:
    def test_a_lock_ends_by_the_clock_and_the_delivery_counts(self, time):
        queue = make(time, lock_duration=30.0)
        consumer = FakeConsumer(queue, 1)
        queue.submit(message())
        time.pass_by(29)
        assert queue.counts().locked == 1
        time.pass_by(1)
        assert queue.counts().locked == 0
        with pytest.raises(EntityError, match="lock"):
            consumer.settle(Action.COMPLETE)
        consumer.grant()
        assert consumer.messages[-1].delivery_count == 1

    def test_a_closed_link_changes_no_lock(self, time):
        queue = make(time, lock_duration=30.0)
        consumer = FakeConsumer(queue, 1)
        queue.submit(message())
        queue.remove_consumer(consumer, orderly=True)
        assert queue.counts().locked == 1
        consumer.settle(Action.COMPLETE)
        assert queue.counts().total == 0

    def test_a_renewed_lock_holds_from_now_on(self, time):
        queue = make(time, lock_duration=30.0)
        consumer = FakeConsumer(queue, 1)
        queue.submit(message())
        time.pass_by(20)
        assert queue.renew(consumer.tokens[0]) == time.now + 30
        time.pass_by(29)
        consumer.settle(Action.COMPLETE)

    def test_a_released_message_counts_no_delivery(self, time):
        queue = make(time, max_delivery_count=1)
        consumer = FakeConsumer(queue, 1)
        queue.submit(message())
        for _ in range(3):
            consumer.settle(Action.RELEASE)
            consumer.grant()
        assert [one.delivery_count for one in consumer.messages] == [0] * 4

    def test_the_last_allowed_failure_makes_a_dead_letter(self, time):
        queue = make(time, max_delivery_count=2, lock_duration=30.0)
        consumer = FakeConsumer(queue, 2)
        queue.submit(message())
        consumer.settle(Action.ABANDON)
        time.pass_by(30)
        assert (queue.counts().active, queue.counts().dead_lettered) == (0, 1)
        letters = FakeConsumer(queue.dead_letters, 1)
        assert letters.messages[0].added["DeadLetterReason"] == "MaxDeliveryCountExceeded"
        for _ in range(5):
            letters.settle(Action.ABANDON)
            letters.grant()
        assert queue.counts().dead_lettered == 1

    def test_a_dead_letter_cannot_be_dead_lettered(self, time):
        queue = make(time)
        consumer = FakeConsumer(queue, 1)
        queue.submit(message())
        consumer.settle(Action.DEAD_LETTER, reason="Poison")
        letters = FakeConsumer(queue.dead_letters, 1)
        with pytest.raises(EntityError, match="dead-letter"):
            letters.settle(Action.DEAD_LETTER)

    def test_deferred_messages_are_received_all_or_none(self, time):
        queue = make(time)
        consumer = FakeConsumer(queue, 2)
        for body in "ab":
            queue.submit(message(body))
        consumer.settle(Action.DEFER, 0)
        with pytest.raises(EntityError, match="number 2"):
            queue.receive_deferred([1, 2], settles_on_send=False)
        (again,) = queue.receive_deferred([1], settles_on_send=False)
        assert again.token is not None
        with pytest.raises(EntityError, match="number 1"):
            queue.receive_deferred([1], settles_on_send=False)
        time.pass_by(60)
        assert queue.receive_deferred([1], settles_on_send=True)[0].delivery_count == 1
        assert queue.counts().deferred == 0


class TestTime:
    def test_the_smaller_of_message_s_and_entity_s_time_to_live_counts(self, time):
        queue = make(time, default_time_to_live=10.0)
        queue.submit(message(ttl=5))
        queue.submit(message(ttl=500))
        queue.submit(message())
        time.pass_by(5)
        assert queue.counts().active == 2
        time.pass_by(5)
        assert queue.counts().total == 0

    def test_expired_messages_are_dead_lettered_where_wanted_and_stay_there(self, time):
        queue = make(time, default_time_to_live=10.0, dead_letter_on_expiration=True)
        queue.submit(message())
        time.pass_by(100_000)
        assert queue.counts().dead_lettered == 1

    def test_a_locked_message_may_be_completed_after_its_time_but_does_not_come_again(self, time):
        queue = make(time, lock_duration=30.0)
        consumer = FakeConsumer(queue, 3)
        queue.submit(message(ttl=5))
        queue.submit(message(ttl=5))
        time.pass_by(10)
        consumer.settle(Action.COMPLETE, 0)
        consumer.settle(Action.ABANDON, 1)
        assert (queue.counts().total, len(consumer.messages)) == (0, 2)

    def test_a_scheduled_message_appears_at_its_time_and_lives_from_then(self, time):
        queue = make(time)
        consumer = FakeConsumer(queue, 1)
        sequence = queue.submit(message(at=time.now + 60, ttl=10))
        cancelled = queue.submit(message(at=time.now + 60))
        queue.cancel_scheduled(cancelled)
        assert (queue.counts().scheduled, consumer.messages) == (1, [])
        assert [one.sequence for one in queue.peek(1, 10)] == [sequence]
        time.pass_by(60)
        assert [one.sequence for one in consumer.messages] == [sequence]
        with pytest.raises(EntityError):
            queue.cancel_scheduled(sequence)

    def test_a_duplicate_is_swallowed_within_the_window_only(self, time):
        queue = make(time, duplicate_window=300.0)
        assert queue.submit(message(message_id="order-1-0")) == 1
        time.pass_by(299)
        assert queue.submit(message(message_id="order-1-0")) == 0
        assert queue.submit(message()) == 2
        assert queue.submit(message()) == 3
        time.pass_by(1)
        assert queue.submit(message(message_id="order-1-0")) == 4

    def test_an_unused_queue_is_deleted_when_its_idle_time_is_over_but_a_waiting_receiver_keeps_it(self, time):
        queue = make(time, auto_delete_on_idle=300.0)
        consumer = FakeConsumer(queue, 1)
        time.pass_by(3000)
        assert time.broker.queue("q") is queue
        queue.remove_consumer(consumer, orderly=True)
        time.pass_by(299)
        assert time.broker.queue("q") is queue
        time.pass_by(601)
        assert time.broker.queue("q") is None
        with pytest.raises(EntityError, match="could not be found"):
            queue.submit(message())


class TestSessions:
    def test_a_session_s_messages_go_to_its_holder_only_and_in_order(self, time):
        queue = make(time, requires_session=True)
        holder, other = FakeConsumer(queue), FakeConsumer(queue)
        queue.sessions.accept("n1", holder)
        queue.sessions.accept("n2", other)
        holder.grant(5)
        other.grant(5)
        for body, session in (("a", "n1"), ("x", "n2"), ("b", "n1")):
            queue.submit(message(body, session=session))
        assert (holder.bodies, other.bodies) == (["a", "b"], ["x"])

    def test_a_held_session_is_refused(self, time):
        queue = make(time, requires_session=True)
        queue.sessions.accept("n1", FakeConsumer(queue))
        with pytest.raises(EntityError) as refused:
            queue.sessions.accept("n1", FakeConsumer(queue))
        assert refused.value.condition == "com.microsoft:session-cannot-be-locked"

    def test_a_lost_receiver_holds_its_session_until_the_lock_ends_a_closed_one_gives_it_back(self, time):
        queue = make(time, requires_session=True, lock_duration=300.0)
        lost, closed = FakeConsumer(queue), FakeConsumer(queue)
        queue.sessions.accept("n1", lost)
        queue.sessions.accept("n2", closed)
        queue.remove_consumer(lost, orderly=False)
        queue.remove_consumer(closed, orderly=True)
        queue.sessions.accept("n2", FakeConsumer(queue))
        time.pass_by(299)
        with pytest.raises(EntityError):
            queue.sessions.accept("n1", FakeConsumer(queue))
        time.pass_by(1)
        queue.sessions.accept("n1", FakeConsumer(queue))

    def test_closing_counts_no_delivery_and_a_lock_that_ends_does(self, time):
        queue = make(time, requires_session=True, lock_duration=30.0)
        queue.submit(message(session="n1"))
        counts = []
        for ending in ("close", "lapse", "read"):
            consumer = FakeConsumer(queue)
            queue.sessions.accept("n1", consumer)
            consumer.grant()
            counts.append(consumer.messages[0].delivery_count)
            if ending == "close":
                queue.remove_consumer(consumer, orderly=True)
            elif ending == "lapse":
                time.pass_by(30)
                assert consumer.detached.condition == "com.microsoft:session-lock-lost"
        assert counts == [0, 0, 1]

    def test_a_renewed_session_renews_its_messages(self, time):
        queue = make(time, requires_session=True, lock_duration=30.0)
        consumer = FakeConsumer(queue)
        queue.sessions.accept("n1", consumer)
        consumer.grant()
        queue.submit(message(session="n1"))
        time.pass_by(20)
        queue.sessions.renew("n1")
        time.pass_by(20)
        consumer.settle(Action.COMPLETE)
        time.pass_by(10)
        with pytest.raises(EntityError, match="session lock"):
            queue.sessions.renew("n1")

    def test_the_state_outlives_its_holder_and_only_a_holder_sees_it(self, time):
        queue = make(time, requires_session=True)
        consumer = FakeConsumer(queue)
        queue.sessions.accept("n1", consumer)
        queue.sessions.set_state("n1", b"7")
        queue.remove_consumer(consumer, orderly=True)
        with pytest.raises(EntityError):
            queue.sessions.state("n1")
        queue.sessions.accept("n1", FakeConsumer(queue))
        assert queue.sessions.state("n1") == b"7"

    def test_whoever_waits_for_the_next_session_gets_the_one_with_the_oldest_message(self, time):
        queue = make(time, requires_session=True)
        queue.submit(message(session="n2"))
        queue.submit(message(session="n1"))
        assert next_session(queue, FakeConsumer(queue))[0][0] == "n2"
        assert next_session(queue, FakeConsumer(queue))[0][0] == "n1"
        third = next_session(queue, FakeConsumer(queue))
        assert third == []
        queue.submit(message(session="n3"))
        assert third[0][0] == "n3"

    def test_waiting_for_a_session_ends(self, time):
        queue = make(time, requires_session=True)
        outcome = next_session(queue, FakeConsumer(queue), timeout=5)
        time.pass_by(5)
        assert outcome[0].condition == "com.microsoft:timeout"
        queue.submit(message(session="n1"))
        assert len(outcome) == 1

    def test_a_queue_refuses_messages_without_the_session_that_it_needs(self, time):
        with pytest.raises(EntityError, match="SessionId was not set"):
            make(time, requires_session=True).submit(message())


class TestTopics:
    def test_subscriptions_get_copies_of_what_their_rules_match(self, time):
        time.broker.create_topic("t", TopicSettings(default_time_to_live=10.0))
        everything = time.broker.create_subscription("t", "all")
        some = time.broker.create_subscription("t", "some")
        some.rules = {"r": Rule("r", CorrelationFilter({"subject": "drain"}))}
        topic = time.broker.target("T")
        topic.submit(message(subject="drain"))
        topic.submit(message(subject="other"))
        assert (everything.counts().active, some.counts().active) == (2, 1)
        time.pass_by(10)
        assert everything.counts().total == 0

    def test_duplicates_and_scheduled_messages_are_the_topic_s_matter(self, time):
        topic = time.broker.create_topic("t", TopicSettings(duplicate_window=60.0))
        subscription = time.broker.create_subscription("t", "s")
        assert (topic.submit(message(message_id="1")), topic.submit(message(message_id="1"))) == (1, 0)
        kept, cancelled = [topic.submit(message(at=time.now + 5)) for _ in range(2)]
        topic.cancel_scheduled(cancelled)
        assert (subscription.counts().active, topic.scheduled, kept) == (1, 1, 2)
        time.pass_by(5)
        assert (subscription.counts().active, topic.scheduled) == (2, 0)

    def test_a_message_without_session_is_a_dead_letter_of_a_session_subscription(self, time):
        time.broker.create_topic("t")
        nodes = time.broker.create_subscription("t", "nodes", QueueSettings(requires_session=True))
        time.broker.target("t").submit(message())
        assert (nodes.counts().active, nodes.counts().dead_lettered) == (0, 1)


class TestNames:
    def test_entities_are_found_without_regard_to_case(self, time):
        broker = time.broker
        queue = broker.create_queue("Orders")
        broker.create_topic("Events")
        subscription = broker.create_subscription("events", "Shutdown")
        assert broker.source("/ORDERS") is queue
        assert broker.source("orders/$DeadLetterQueue") is queue.dead_letters
        assert broker.source("Events/Subscriptions/shutdown") is subscription
        assert broker.source("events/subscriptions/shutdown/$deadletterqueue") is subscription.dead_letters

    def test_what_is_not_there_is_not_found_and_a_topic_is_not_read(self, time):
        time.broker.create_topic("t")
        for path in ("nothing", "t/subscriptions/nothing", "nothing/subscriptions/s"):
            with pytest.raises(EntityError, match="could not be found"):
                time.broker.source(path)
        with pytest.raises(EntityError, match="is a topic"):
            time.broker.source("t")

    def test_a_queue_and_a_topic_do_not_share_a_name(self, time):
        time.broker.create_queue("x")
        with pytest.raises(EntityError, match="exists already"):
            time.broker.create_topic("X")

    def test_a_deleted_entity_detaches_its_receivers(self, time):
        consumer = FakeConsumer(make(time), 1)
        letters = FakeConsumer(consumer.queue.dead_letters, 1)
        assert time.broker.delete_queue("Q")
        assert consumer.detached.condition == letters.detached.condition == "amqp:not-found"
        assert not time.broker.delete_queue("q")

    def test_the_snapshot_names_every_readable_entity(self, time):
        make(time).submit(message())
        time.broker.create_topic("t")
        time.broker.create_subscription("t", "s")
        snapshot = time.broker.snapshot()
        assert {path: counts.active for path, counts in snapshot.items()} == {"q": 1, "t/Subscriptions/s": 0}
