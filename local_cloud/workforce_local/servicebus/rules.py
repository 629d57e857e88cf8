"""Rules of subscriptions: which messages of a topic they take. Pure.

Filters see properties, never the body. Invariant: a filter that cannot be evaluated for a message does not match it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from workforce_local.servicebus.message import Message
from workforce_local.servicebus.sql_filter import compile_filter

DEFAULT_RULE = "$Default"
"""The rule that a subscription is born with; it takes everything."""

SYSTEM_PROPERTIES = {
    "contenttype": "content_type",
    "correlationid": "correlation_id",
    "label": "subject",
    "messageid": "message_id",
    "replyto": "reply_to",
    "replytosessionid": "reply_to_session_id",
    "sessionid": "session_id",
    "subject": "subject",
    "to": "to",
}
"""Names of system properties as rules write them, in lower case, and as messages hold them."""


class Filter(Protocol):
    """Something that takes some messages and others not."""

    def matches(self, message: Message) -> bool:
        """Whether it takes this one."""


@dataclass(frozen=True)
class Rule:
    """A named filter."""

    name: str
    filter: Filter


@dataclass(frozen=True)
class TrueFilter:
    """Takes everything."""

    def matches(self, message: Message) -> bool:
        """Always."""
        return True


@dataclass(frozen=True)
class FalseFilter:
    """Takes nothing."""

    def matches(self, message: Message) -> bool:
        """Never."""
        return False


@dataclass(frozen=True)
class CorrelationFilter:
    """Takes messages whose properties all equal the given ones.

    Attributes:
        system: System properties, by the names that messages hold them under.
        user: Application properties.
    """

    system: Mapping[str, Any] = field(default_factory=dict)
    user: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, message: Message) -> bool:
        """Whether all of them are equal."""
        return _includes(message.properties, self.system) and _includes(message.application_properties, self.user)


class SqlFilter:
    """Takes messages for which a condition in Service Bus's SQL is true.

    Raises:
        SqlFilterError: The condition is not valid.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._condition = compile_filter(expression, SYSTEM_PROPERTIES)

    def matches(self, message: Message) -> bool:
        """Whether the condition is true, neither false nor unknown."""
        return self._condition(message.properties, message.application_properties) is True


def _includes(properties: Mapping[Any, Any], wanted: Mapping[str, Any]) -> bool:
    return all(name in properties and properties[name] == value for name, value in wanted.items())
