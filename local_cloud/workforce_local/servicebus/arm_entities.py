"""Collections of Service Bus entities as the resource manager sees them: list, read, make, change, delete.

Each kind says how its members are found and made; the shape of requests and answers is common. No HTTP. Invariant: a
PUT that is repeated changes nothing and answers the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from typing_extensions import override

from workforce_local.azureml.errors import ArmError
from workforce_local.servicebus import arm_properties as properties
from workforce_local.servicebus.namespaces import Namespace
from workforce_local.servicebus.rules import Rule
from workforce_local.servicebus.topic import Topic

PROVIDER = "Microsoft.ServiceBus"

_PAGE = 100
_LONGEST_NAMES = {"queues": 260, "topics": 260, "subscriptions": 50, "rules": 50}


@dataclass(frozen=True)
class Reply:
    """One answer; no body is an empty one."""

    status: int = 200
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Request:
    """One request: a method on a resource or on a collection.

    Attributes:
        method: GET, PUT or DELETE.
        resource_id: The path, as it was called.
        kinds: The segments of the type below the namespace, in lower case, such as topics, subscriptions.
        names: The names to these kinds; one fewer for a collection.
        query: Of the URL.
        body: Of the request.
    """

    method: str
    resource_id: str
    kinds: Sequence[str]
    names: Sequence[str]
    query: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def is_collection(self) -> bool:
        """Whether a list is asked for."""
        return len(self.kinds) > len(self.names)

    @property
    def parent_id(self) -> str:
        """The path without its last segment."""
        return self.resource_id.rstrip("/").rsplit("/", 1)[0]

    @property
    def properties(self) -> Mapping[str, Any]:
        """The `properties` of the body.

        Raises:
            ArmError: They are not an object.
        """
        found = self.body.get("properties", {})
        if not isinstance(found, dict):
            raise ArmError(400, "InvalidRequestContent", "The request body's 'properties' must be an object.")
        return found


class Entities(ABC):
    """One collection of entities, and one request to it or to a member. Subclasses name the kind."""

    def __init__(self, namespace: Namespace, request: Request) -> None:
        self.namespace = namespace
        self.broker = namespace.broker
        self.request = request

    def answer(self) -> Reply:
        """Do what is asked."""
        if self.request.is_collection:
            return self._list()
        name = self.request.names[-1]
        limit = _LONGEST_NAMES[self.request.kinds[-1]]
        if self.request.method == "PUT":
            if len(name) > limit:
                raise properties.bad_request(f"The name '{name}' is longer than {limit} characters.")
            self.put(name, self.request.properties)
        elif self.request.method == "DELETE":
            return Reply(200 if self.delete(name) else 204)
        found = self.get(name)
        if found is None:
            message = f"The requested resource {name} does not exist."
            raise ArmError(404, "NotFound", message)
        return Reply(body=self._document(self.request.resource_id, *found))

    @abstractmethod
    def all(self) -> list[tuple[str, dict[str, Any]]]:
        """Names and properties of all members."""

    def get(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Name and properties of a member."""
        return next((one for one in self.all() if one[0].lower() == name.lower()), None)

    @abstractmethod
    def put(self, name: str, wanted: Mapping[str, Any]) -> None:
        """Make a member, or change it."""

    @abstractmethod
    def delete(self, name: str) -> bool:
        """Delete a member; whether there was one."""

    def _list(self) -> Reply:
        if self.request.method != "GET":
            raise ArmError(405, "MethodNotAllowed", f"{self.request.method} is not a method of a collection.")
        skip, top = (_number(self.request.query, name, default) for name, default in (("$skip", 0), ("$top", _PAGE)))
        members = self.all()
        page = members[skip : skip + top]
        body: dict[str, Any] = {
            "value": [self._document(f"{self.request.resource_id}/{name}", name, found) for name, found in page]
        }
        if skip + top < len(members):
            query = {**self.request.query, "$skip": str(skip + top), "$top": str(top)}
            body["nextLink"] = f"{self.request.resource_id}?{urlencode(query)}"
        return Reply(body=body)

    def _document(self, resource_id: str, name: str, found: Mapping[str, Any]) -> dict[str, Any]:
        kind = "/".join((PROVIDER, "namespaces", *self.request.kinds))
        location = self.namespace.location
        return {"id": resource_id, "name": name, "type": kind, "location": location, "properties": found}


class Queues(Entities):
    """Queues of a namespace."""

    @override
    def all(self) -> list[tuple[str, dict[str, Any]]]:
        return [(queue.path, properties.queue_properties(queue)) for queue in self.broker.queues]

    @override
    def put(self, name: str, wanted: Mapping[str, Any]) -> None:
        existing = self.broker.queue(name)
        settings = properties.read_queue(wanted, existing.settings if existing else None, "Queue")
        if existing is None:
            self.broker.create_queue(name, settings)
        elif settings != existing.settings:
            self.broker.update(existing, settings)

    @override
    def delete(self, name: str) -> bool:
        return self.broker.delete_queue(name)


class Topics(Entities):
    """Topics of a namespace."""

    @override
    def all(self) -> list[tuple[str, dict[str, Any]]]:
        return [(topic.path, properties.topic_properties(topic)) for topic in self.broker.topics]

    @override
    def put(self, name: str, wanted: Mapping[str, Any]) -> None:
        existing = self.broker.topic(name)
        settings = properties.read_topic(wanted, existing.settings if existing else None)
        if existing is None:
            self.broker.create_topic(name, settings)
        elif settings != existing.settings:
            self.broker.update(existing, settings)

    @override
    def delete(self, name: str) -> bool:
        return self.broker.delete_topic(name)


class Subscriptions(Entities):
    """Subscriptions of a topic."""

    @property
    def topic(self) -> Topic:
        """The topic in the path."""
        topic = self.broker.topic(self.request.names[0])
        if topic is None:
            raise ArmError(404, "NotFound", f"The requested resource {self.request.names[0]} does not exist.")
        return topic

    @override
    def all(self) -> list[tuple[str, dict[str, Any]]]:
        found = self.topic.subscriptions.values()
        return [(one.name, properties.subscription_properties(one)) for one in found]

    @override
    def put(self, name: str, wanted: Mapping[str, Any]) -> None:
        topic = self.topic
        existing = topic.subscriptions.get(name.lower())
        wanted = {key: value for key, value in wanted.items() if not key.startswith(("requiresDup", "duplicateDet"))}
        settings = properties.read_queue(wanted, existing.settings if existing else None, "Subscription")
        if existing is None:
            self.broker.create_subscription(topic.path, name, settings)
        elif settings != existing.settings:
            self.broker.update(existing, settings)

    @override
    def delete(self, name: str) -> bool:
        return self.topic.unsubscribe(name)


class Rules(Entities):
    """Rules of a subscription."""

    @property
    def rules(self) -> dict[str, Rule]:
        """The rules of the subscription in the path."""
        topic, name = self.request.names[:2]
        subscription = self.broker.subscription(topic, name)
        if subscription is None:
            raise ArmError(404, "NotFound", f"The requested resource {topic}/Subscriptions/{name} does not exist.")
        return subscription.rules

    @override
    def all(self) -> list[tuple[str, dict[str, Any]]]:
        return [(rule.name, properties.rule_properties(rule)) for rule in self.rules.values()]

    @override
    def put(self, name: str, wanted: Mapping[str, Any]) -> None:
        self.rules[name.lower()] = properties.read_rule(name, wanted)

    @override
    def delete(self, name: str) -> bool:
        return self.rules.pop(name.lower(), None) is not None


COLLECTIONS: dict[tuple[str, ...], Callable[[Namespace, Request], Entities]] = {
    ("queues",): Queues,
    ("topics",): Topics,
    ("topics", "subscriptions"): Subscriptions,
    ("topics", "subscriptions", "rules"): Rules,
}
"""What answers for which type, by its kinds below the namespace."""


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal():
        raise ArmError(400, "BadRequest", f"The query parameter {name} must be a number, not '{text}'.")
    return int(text)
