"""Topics and their subscriptions: a message goes to each subscription that has a rule for it.

No network. Invariants: a topic keeps no message but scheduled ones; a duplicate reaches no subscription.
"""

from __future__ import annotations

import dataclasses
import itertools

from workforce_local.servicebus.duplicates import DuplicateFilter
from workforce_local.servicebus.errors import entity_not_found, message_not_found
from workforce_local.servicebus.message import Message
from workforce_local.servicebus.queue import Queue
from workforce_local.servicebus.rules import DEFAULT_RULE, Rule, TrueFilter
from workforce_local.servicebus.settings import QueueSettings, TopicSettings
from workforce_local.servicebus.stored import Origin
from workforce_local.servicebus.timers import Timers


class Subscription(Queue):
    """What one subscriber of a topic has to read.

    Attributes:
        topic: Where its messages come from.
        name: Its name within the topic.
        rules: By lower-case name; a message is taken if any of them matches.
    """

    def __init__(self, topic: Topic, name: str, settings: QueueSettings) -> None:
        super().__init__(f"{topic.path}/Subscriptions/{name}", settings, topic.timers)
        self.topic = topic
        self.name = name
        self.rules: dict[str, Rule] = {DEFAULT_RULE.lower(): Rule(DEFAULT_RULE, TrueFilter())}

    def wants(self, message: Message) -> bool:
        """Whether a rule matches."""
        return any(rule.filter.matches(message) for rule in self.rules.values())

    def take(self, message: Message, origin: Origin) -> None:
        """Store a message of the topic. One without the session that is required is a dead letter."""
        if self.settings.requires_session and message.session_id is None:
            why = {
                "DeadLetterReason": "Session id is null.",
                "DeadLetterErrorDescription": "Session enabled entity doesn't allow a message whose session "
                "identifier is null.",
            }
            self.dead_letters.put(message, dataclasses.replace(origin, added=why))
        else:
            self.put(message, origin)


class Topic:
    """A topic.

    Attributes:
        subscriptions: By lower-case name.
    """

    def __init__(self, path: str, settings: TopicSettings, timers: Timers) -> None:
        self.path = path
        self.settings = settings
        self.timers = timers
        self.created = self.updated = self.accessed = timers.now()
        self.deleted = False
        self.subscriptions: dict[str, Subscription] = {}
        self._scheduled: dict[int, Message] = {}
        self._sequence = itertools.count(1)
        self._duplicates = DuplicateFilter()

    @property
    def scheduled(self) -> int:
        """How many messages wait for their time."""
        return len(self._scheduled)

    def subscribe(self, name: str, settings: QueueSettings) -> Subscription:
        """Make a subscription that takes every message."""
        subscription = Subscription(self, name, settings)
        self.subscriptions[name.lower()] = subscription
        return subscription

    def unsubscribe(self, name: str) -> bool:
        """Delete a subscription; whether there was one."""
        subscription = self.subscriptions.pop(name.lower(), None)
        if subscription is not None:
            subscription.delete()
        return subscription is not None

    @property
    def used(self) -> float:
        """When anybody had to do with it last."""
        return max(self.accessed, self.updated)

    def in_use(self) -> bool:
        """Whether somebody's waiting keeps it from being idle: nobody waits at a topic."""
        return False

    def delete(self) -> None:
        """Take it out of use, with its subscriptions."""
        self.deleted = True
        self._scheduled.clear()
        for name in list(self.subscriptions):
            self.unsubscribe(name)

    def submit(self, message: Message) -> int:
        """Take a message from a client; return its sequence number, or 0 if it is a duplicate.

        Raises:
            EntityError: The topic is gone.
        """
        if self.deleted:
            raise entity_not_found(self.path)
        now = self.accessed = self.timers.now()
        if self._duplicates.is_duplicate(message.message_id, now, self.settings.duplicate_window):
            return 0
        sequence = next(self._sequence)
        due = message.scheduled_for
        if due is not None and due > now:
            self._scheduled[sequence] = message
            self.timers.at(due, lambda: self._appear(sequence))
        else:
            self._publish(message, sequence)
        return sequence

    def cancel_scheduled(self, sequence: int) -> None:
        """Take back a scheduled message.

        Raises:
            EntityError: There is no such message, or it has appeared already.
        """
        if self._scheduled.pop(sequence, None) is None:
            raise message_not_found("scheduled", sequence)

    def _appear(self, sequence: int) -> None:
        message = self._scheduled.pop(sequence, None)
        if message is not None:
            self._publish(message, sequence)

    def _publish(self, message: Message, sequence: int) -> None:
        origin = Origin(sequence=sequence, time_to_live=self.settings.default_time_to_live)
        for subscription in list(self.subscriptions.values()):
            if subscription.wants(message):
                subscription.take(message, origin)
