"""The entities of one namespace, by name. No network; the clock is given.

Invariants: names are compared without regard to case, and a queue and a topic never share one; what was deleted is
found by nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from workforce_local.servicebus.errors import NOT_ALLOWED, EntityError, entity_not_found
from workforce_local.servicebus.queue import Queue
from workforce_local.servicebus.settings import QueueSettings, TopicSettings
from workforce_local.servicebus.stored import Counts
from workforce_local.servicebus.timers import Timers
from workforce_local.servicebus.topic import Subscription, Topic

_SUBSCRIPTIONS = "/subscriptions/"
_DEAD_LETTERS = ("/$transfer/$deadletterqueue", "/$deadletterqueue")


class Broker:
    """One namespace's queues and topics.

    Args:
        clock: Seconds since the epoch. After the clock of a test was advanced, `run_due` does what became due.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.timers = Timers(clock)
        self._queues: dict[str, Queue] = {}
        self._topics: dict[str, Topic] = {}

    def run_due(self) -> float | None:
        """Do what is due (locks and messages that end, messages that appear); return when the next thing is."""
        return self.timers.run_due()

    # -- making and deleting entities

    @property
    def queues(self) -> list[Queue]:
        """All queues."""
        return list(self._queues.values())

    @property
    def topics(self) -> list[Topic]:
        """All topics."""
        return list(self._topics.values())

    def queue(self, name: str) -> Queue | None:
        """A queue, if there is one of that name."""
        return self._queues.get(_key(name))

    def topic(self, name: str) -> Topic | None:
        """A topic, if there is one of that name."""
        return self._topics.get(_key(name))

    def subscription(self, topic: str, name: str) -> Subscription | None:
        """A subscription, if there is one of that name."""
        found = self.topic(topic)
        return found.subscriptions.get(name.lower()) if found else None

    def create_queue(self, name: str, settings: QueueSettings | None = None) -> Queue:
        """Make a queue.

        Raises:
            EntityError: There is an entity of that name.
        """
        self._check_free(name)
        queue = Queue(name, settings or QueueSettings(), self.timers)
        self._queues[_key(name)] = queue
        self._watch_idleness(queue)
        return queue

    def create_topic(self, name: str, settings: TopicSettings | None = None) -> Topic:
        """Make a topic.

        Raises:
            EntityError: There is an entity of that name.
        """
        self._check_free(name)
        topic = Topic(name, settings or TopicSettings(), self.timers)
        self._topics[_key(name)] = topic
        self._watch_idleness(topic)
        return topic

    def create_subscription(self, topic: str, name: str, settings: QueueSettings | None = None) -> Subscription:
        """Make a subscription with the rule `$Default`.

        Raises:
            EntityError: There is no such topic, or it has such a subscription.
        """
        parent = self.topic(topic)
        if parent is None:
            raise entity_not_found(topic)
        if self.subscription(topic, name) is not None:
            raise EntityError(NOT_ALLOWED, f"The subscription '{name}' of '{topic}' exists already.")
        subscription = parent.subscribe(name, settings or QueueSettings())
        self._watch_idleness(subscription)
        return subscription

    def delete_queue(self, name: str) -> bool:
        """Delete a queue; whether there was one."""
        queue = self._queues.pop(_key(name), None)
        if queue is not None:
            queue.delete()
        return queue is not None

    def delete_topic(self, name: str) -> bool:
        """Delete a topic with its subscriptions; whether there was one."""
        topic = self._topics.pop(_key(name), None)
        if topic is not None:
            topic.delete()
        return topic is not None

    def update(self, entity: Queue | Topic, settings: QueueSettings | TopicSettings) -> None:
        """Give an entity other settings of its kind. Messages keep the times that they have."""
        entity.settings = settings
        entity.updated = self.timers.now()
        self._watch_idleness(entity)

    def _delete(self, entity: Queue | Topic) -> None:
        if isinstance(entity, Subscription):
            entity.topic.unsubscribe(entity.name)
        elif isinstance(entity, Queue):
            self.delete_queue(entity.path)
        else:
            self.delete_topic(entity.path)

    def _watch_idleness(self, entity: Queue | Topic) -> None:
        """See to it that an entity is deleted once nobody has used it for as long as its settings say."""
        patience = entity.settings.auto_delete_on_idle
        if patience is None or entity.deleted:
            return

        def look() -> None:
            now = self.timers.now()
            if entity.in_use():
                entity.accessed = now
            limit = entity.settings.auto_delete_on_idle
            if limit is not None and not entity.deleted and now >= entity.used + limit:
                self._delete(entity)
            else:
                self._watch_idleness(entity)

        self.timers.at(entity.used + patience, look)

    # -- addresses of links

    def target(self, address: str) -> Queue | Topic:
        """What a sender sends to.

        Raises:
            EntityError: There is no such queue or topic.
        """
        found = self.queue(address) or self.topic(address)
        if found is None:
            raise entity_not_found(address)
        return found

    def source(self, address: str) -> Queue:
        """What a receiver reads: a queue, a subscription, or the dead-letter queue of one.

        Raises:
            EntityError: There is no such entity, or it is a topic.
        """
        path = _key(address)
        suffix = next((one for one in _DEAD_LETTERS if path.endswith(one)), "")
        path = path.removesuffix(suffix)
        queue = self.queue(path) or self._subscription_at(path)
        if queue is None and path in self._topics:
            raise EntityError(NOT_ALLOWED, f"'{address}' is a topic: name one of its subscriptions.")
        if queue is None:
            raise entity_not_found(address)
        return queue.dead_letters if suffix else queue

    def snapshot(self) -> dict[str, Counts]:
        """How many messages each queue and each subscription holds, by path."""
        readable = [*self._queues.values(), *(one for topic in self.topics for one in topic.subscriptions.values())]
        return {queue.path: queue.counts() for queue in readable}

    def _subscription_at(self, path: str) -> Subscription | None:
        topic, separator, name = path.rpartition(_SUBSCRIPTIONS)
        return self.subscription(topic, name) if separator else None

    def _check_free(self, name: str) -> None:
        if self.queue(name) or self.topic(name):
            raise EntityError(NOT_ALLOWED, f"The entity '{name}' exists already.")


def _key(name: str) -> str:
    return name.strip("/").lower()
