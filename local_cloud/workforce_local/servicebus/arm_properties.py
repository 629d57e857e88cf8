"""Properties of Service Bus resources: from a request's JSON to settings, and from entities to JSON. Pure.

A PUT states the whole resource: what it leaves out gets the service's default, but for what can never change, which
stays. Invariant: what is refused is refused with the property's name, before anything has changed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from workforce_local.azureml.errors import ArmError
from workforce_local.servicebus import durations
from workforce_local.servicebus.queue import Queue
from workforce_local.servicebus.rules import (
    CorrelationFilter,
    FalseFilter,
    Filter,
    Rule,
    SqlFilter,
)
from workforce_local.servicebus.settings import QueueSettings, TopicSettings
from workforce_local.servicebus.sql_filter import SqlFilterError
from workforce_local.servicebus.stored import Counts
from workforce_local.servicebus.topic import Subscription, Topic

_DEFAULT_DUPLICATE_WINDOW = 600.0
_MAX_DELIVERIES = 2000
_FOREVER = float("inf")
_UNSUPPORTED = ("forwardTo", "forwardDeadLetteredMessagesTo", "enablePartitioning", "isClientAffine")
_CORRELATION_NAMES = {
    "contentType": "content_type",
    "correlationId": "correlation_id",
    "label": "subject",
    "messageId": "message_id",
    "replyTo": "reply_to",
    "replyToSessionId": "reply_to_session_id",
    "sessionId": "session_id",
    "to": "to",
}


def bad_request(message: str) -> ArmError:
    """The service's answer to properties that it does not take."""
    return ArmError(400, "MessagingGatewayBadRequest", f"SubCode=40000. {message}")


def read_queue(properties: Mapping[str, Any], existing: QueueSettings | None, kind: str) -> QueueSettings:
    """Settings of a queue or a subscription.

    Args:
        properties: Of the request.
        existing: The present settings, on an update.
        kind: "Queue" or "Subscription", for messages.

    Raises:
        ArmError: A property has a wrong value, cannot change, or is not implemented here.
    """
    reader = _Reader(properties, kind)
    return QueueSettings(
        lock_duration=reader.duration("lockDuration", 60.0, 5, 300) or 60.0,
        max_delivery_count=reader.integer("maxDeliveryCount", 10, 1, _MAX_DELIVERIES),
        default_time_to_live=reader.duration("defaultMessageTimeToLive", None, 1, _FOREVER),
        requires_session=reader.fixed("requiresSession", existing=existing.requires_session if existing else None),
        duplicate_window=reader.duplicate_window(existing),
        dead_letter_on_expiration=reader.flag("deadLetteringOnMessageExpiration"),
        auto_delete_on_idle=reader.duration("autoDeleteOnIdle", None, 300, _FOREVER),
    )


def read_topic(properties: Mapping[str, Any], existing: TopicSettings | None) -> TopicSettings:
    """Settings of a topic.

    Raises:
        ArmError: A property has a wrong value, cannot change, or is not implemented here.
    """
    reader = _Reader(properties, "Topic")
    return TopicSettings(
        default_time_to_live=reader.duration("defaultMessageTimeToLive", None, 1, _FOREVER),
        duplicate_window=reader.duplicate_window(existing),
        auto_delete_on_idle=reader.duration("autoDeleteOnIdle", None, 300, _FOREVER),
    )


def read_rule(name: str, properties: Mapping[str, Any]) -> Rule:
    """A rule.

    Raises:
        ArmError: The filter is not valid, or the rule has an action.
    """
    action = properties.get("action") or {}
    if not isinstance(action, Mapping) or action.get("sqlExpression"):
        raise bad_request("Actions of rules are not implemented by the local Service Bus: leave 'action' out.")
    kind = properties.get("filterType") or ("CorrelationFilter" if "correlationFilter" in properties else "SqlFilter")
    if kind == "SqlFilter":
        return Rule(name, _sql_filter(properties.get("sqlFilter") or {}))
    if kind == "CorrelationFilter":
        return Rule(name, _correlation_filter(properties.get("correlationFilter") or {}))
    raise bad_request(f"The filterType must be SqlFilter or CorrelationFilter, not '{kind}'.")


def queue_properties(queue: Queue) -> dict[str, Any]:
    """Properties of a queue."""
    window = queue.settings.duplicate_window
    return _readable(queue) | {
        "maxSizeInMegabytes": 1024,
        "maxMessageSizeInKilobytes": 256,
        "requiresDuplicateDetection": window is not None,
        "duplicateDetectionHistoryTimeWindow": durations.write(window or _DEFAULT_DUPLICATE_WINDOW),
        "enablePartitioning": False,
        "enableExpress": False,
        "sizeInBytes": 0,
    }


def subscription_properties(subscription: Subscription) -> dict[str, Any]:
    """Properties of a subscription."""
    return _readable(subscription) | {"deadLetteringOnFilterEvaluationExceptions": True, "isClientAffine": False}


def topic_properties(topic: Topic) -> dict[str, Any]:
    """Properties of a topic."""
    window = topic.settings.duplicate_window
    return _common(topic) | {
        "maxSizeInMegabytes": 1024,
        "maxMessageSizeInKilobytes": 256,
        "requiresDuplicateDetection": window is not None,
        "duplicateDetectionHistoryTimeWindow": durations.write(window or _DEFAULT_DUPLICATE_WINDOW),
        "enablePartitioning": False,
        "enableExpress": False,
        "supportOrdering": True,
        "sizeInBytes": 0,
        "subscriptionCount": len(topic.subscriptions),
        "countDetails": _count_details(Counts(scheduled=topic.scheduled)),
    }


def rule_properties(rule: Rule) -> dict[str, Any]:
    """Properties of a rule."""
    if isinstance(rule.filter, CorrelationFilter):
        held = rule.filter.system
        named = {name: held[key] for name, key in _CORRELATION_NAMES.items() if key in held}
        filter_ = {**named, "properties": dict(rule.filter.user)}
        return {"action": {}, "filterType": "CorrelationFilter", "correlationFilter": filter_}
    sql = {"sqlExpression": _expression(rule.filter), "compatibilityLevel": 20}
    return {"action": {}, "filterType": "SqlFilter", "sqlFilter": sql}


def time(seconds: float) -> str:
    """A time as the resource manager writes it."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _Reader:
    """Checked access to the properties of a request."""

    def __init__(self, properties: Mapping[str, Any], kind: str) -> None:
        self._properties = properties
        self._kind = kind
        for name in _UNSUPPORTED:
            if properties.get(name):
                raise bad_request(f"The property {name} is not implemented by the local Service Bus: leave it out.")

    def flag(self, name: str) -> bool:
        """A boolean that is false by default."""
        value = self._properties.get(name)
        if value is not None and not isinstance(value, bool):
            raise bad_request(f"The property {name} must be true or false, not {value!r:.60}.")
        return bool(value)

    def fixed(self, name: str, *, existing: bool | None) -> bool:
        """A boolean that an update cannot change."""
        if existing is None:
            return self.flag(name)
        if self._properties.get(name) is not None and self.flag(name) != existing:
            title = name[0].upper() + name[1:]
            raise bad_request(f"The value for the {title} property of an existing {self._kind} cannot be changed.")
        return existing

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        """An integer within bounds."""
        value = self._properties.get(name)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise bad_request(f"The property {name} must be an integer from {least} to {most}, not {value!r:.60}.")
        return value

    def duration(self, name: str, default: float | None, least: float, most: float) -> float | None:
        """A duration within bounds; None is for ever."""
        text = self._properties.get(name)
        if text is None:
            return default
        try:
            seconds = durations.parse(text) if isinstance(text, str) else 0.0
        except ValueError as error:
            raise bad_request(f"The property {name}: {error}.") from error
        if not least <= (_FOREVER if seconds is None else seconds) <= most:
            upper = f" and at most {durations.write(most)}" if most != _FOREVER else ""
            raise bad_request(f"The property {name} must be at least {durations.write(least)}{upper}, not {text}.")
        return seconds

    def duplicate_window(self, existing: QueueSettings | TopicSettings | None) -> float | None:
        """The window of duplicate detection; None without it."""
        detects = self.fixed(
            "requiresDuplicateDetection", existing=existing.duplicate_window is not None if existing else None
        )
        default = (existing.duplicate_window if existing else None) or _DEFAULT_DUPLICATE_WINDOW
        window = self.duration("duplicateDetectionHistoryTimeWindow", default, 20, 7 * 86400)
        return window if detects else None


def _readable(queue: Queue) -> dict[str, Any]:
    counts = queue.counts()
    settings = queue.settings
    return _common(queue) | {
        "lockDuration": durations.write(settings.lock_duration),
        "requiresSession": settings.requires_session,
        "deadLetteringOnMessageExpiration": settings.dead_letter_on_expiration,
        "maxDeliveryCount": settings.max_delivery_count,
        "messageCount": counts.total,
        "countDetails": _count_details(counts),
    }


def _common(entity: Queue | Topic) -> dict[str, Any]:
    return {
        "defaultMessageTimeToLive": durations.write(entity.settings.default_time_to_live),
        "autoDeleteOnIdle": durations.write(entity.settings.auto_delete_on_idle),
        "enableBatchedOperations": True,
        "status": "Active",
        "createdAt": time(entity.created),
        "updatedAt": time(entity.updated),
        "accessedAt": time(entity.accessed),
    }


def _count_details(counts: Counts) -> dict[str, int]:
    return {
        "activeMessageCount": counts.active,
        "deadLetterMessageCount": counts.dead_lettered,
        "scheduledMessageCount": counts.scheduled,
        "transferMessageCount": 0,
        "transferDeadLetterMessageCount": 0,
    }


def _sql_filter(properties: Mapping[str, Any]) -> Filter:
    expression = properties.get("sqlExpression")
    if not isinstance(expression, str):
        raise bad_request("A rule with filterType SqlFilter needs sqlFilter.sqlExpression.")
    try:
        return SqlFilter(expression)
    except SqlFilterError as error:
        raise bad_request(f"The rule's filter is not valid: {error}.") from error


def _correlation_filter(properties: Mapping[str, Any]) -> Filter:
    user = properties.get("properties") or {}
    system = {name: value for name, value in properties.items() if name != "properties" and value is not None}
    unknown = sorted(set(system) - set(_CORRELATION_NAMES) - {"requiresPreprocessing"})
    if unknown or not isinstance(user, Mapping):
        raise bad_request(f"A correlation filter has {', '.join(_CORRELATION_NAMES)} and properties; not {unknown}.")
    system.pop("requiresPreprocessing", None)
    if not system and not user:
        raise bad_request("A correlation filter needs at least one property.")
    return CorrelationFilter({_CORRELATION_NAMES[name]: value for name, value in system.items()}, dict(user))


def _expression(filter_: Filter) -> str:
    if isinstance(filter_, SqlFilter):
        return filter_.expression
    return "1=0" if isinstance(filter_, FalseFilter) else "1=1"
