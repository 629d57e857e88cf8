"""Makes the control channel's entities over ARM, where they are missing. What exists already is left as it is.

Everything is read first: a topic or subscription that people made serves whatever its settings are, and a write
permission is needed only by whoever lets the operator make them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from jobq.names import SHUTDOWN_SUBSCRIPTION, node_queue_name, reports_queue_name
from workforce_operator.adapters.arm.client import ArmClient
from workforce_operator.adapters.arm.errors import Absent
from workforce_operator.api.spec import ServiceBusNamespace
from workforce_operator.domain.errors import SpecError, Unavailable

API_VERSION = "2024-01-01"
BELIEVED_SECONDS = 900.0
"""An entity that was seen is looked at again after this long: people delete things."""

_LIFE = {"defaultMessageTimeToLive": "PT15M", "deadLetteringOnMessageExpiration": False, "maxDeliveryCount": 100}
TOPIC: Mapping[str, Any] = {"defaultMessageTimeToLive": "PT15M"}
SUBSCRIPTION: Mapping[str, Any] = {**_LIFE, "lockDuration": "PT30S"}
NODE_QUEUE: Mapping[str, Any] = {
    **_LIFE,
    "lockDuration": "PT5M",
    "requiresSession": True,
    "requiresDuplicateDetection": True,
    "duplicateDetectionHistoryTimeWindow": "PT5M",
}
REPORTS_QUEUE: Mapping[str, Any] = {**_LIFE, "lockDuration": "PT30S"}
_FIXED = ("requiresSession", "requiresDuplicateDetection")
"""Settings that orders rely on, and that Service Bus never lets anybody change."""


class Entities:
    """Topics, subscriptions and queues of any number of namespaces."""

    def __init__(self, arm: ArmClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._arm = arm
        self._clock = clock
        self._seen: dict[str, float] = {}
        self._hosts: dict[str, tuple[str, float]] = {}

    async def host(self, namespace: ServiceBusNamespace, *, turn: str) -> str:
        """Host name of a namespace.

        Raises:
            Missing: There is no such namespace.
        """
        path = namespace_path(namespace)
        known = self._hosts.get(path)
        if known is None or self._clock() - known[1] > BELIEVED_SECONDS:
            what = f"read Service Bus namespace {namespace.namespace}"
            reply = await self._arm.get(path, api_version=API_VERSION, what=what, turn=turn)
            known = self._hosts[path] = (_host_of(reply.body, what), self._clock())
        return known[0]

    async def ensure(
        self, namespace: ServiceBusNamespace, topics: frozenset[str], installation_id: str, *, queues: bool = True
    ) -> None:
        """Make what is missing. Costs nothing for what was seen within the last quarter of an hour.

        Raises:
            SpecError: The installation's queue exists with settings that no order can be sent under.
        """
        path = namespace_path(namespace)
        await self.host(namespace, turn=installation_id)
        wanted = (
            (f"{path}/queues/{node_queue_name(installation_id)}", NODE_QUEUE),
            (f"{path}/queues/{reports_queue_name(installation_id)}", REPORTS_QUEUE),
        )
        results = await asyncio.gather(
            *(self._entity(queue, settings, installation_id) for queue, settings in wanted if queues),
            *(self._topic(f"{path}/topics/{quote(topic, safe='')}", installation_id) for topic in sorted(topics)),
            return_exceptions=True,
        )
        for result in results:
            if result is not None:
                raise result

    def forget(self, namespace: ServiceBusNamespace) -> None:
        """Look at everything again next time: something that was seen is gone."""
        path = namespace_path(namespace)
        self._hosts.pop(path, None)
        for entity in [entity for entity in self._seen if entity.startswith(path + "/")]:
            del self._seen[entity]

    async def _topic(self, path: str, turn: str) -> None:
        await self._entity(path, TOPIC, turn)
        await self._entity(f"{path}/subscriptions/{SHUTDOWN_SUBSCRIPTION}", SUBSCRIPTION, turn)

    async def _entity(self, path: str, wanted: Mapping[str, Any], turn: str) -> None:
        seen = self._seen.get(path)
        if seen is not None and self._clock() - seen <= BELIEVED_SECONDS:
            return
        name = path.rsplit("/", 1)[1]
        try:
            reply = await self._arm.get(path, api_version=API_VERSION, what=f"read {name}", turn=turn)
        except Absent:
            # Whatever is missing: if it is the namespace, the PUT says so.
            body = {"properties": dict(wanted)}
            await self._arm.write("PUT", path, api_version=API_VERSION, what=f"make {name}", turn=turn, body=body)
        else:
            _check(name, reply.body, wanted)
        self._seen[path] = self._clock()


def namespace_path(namespace: ServiceBusNamespace) -> str:
    """ARM id of a namespace."""
    return (
        f"/subscriptions/{quote(namespace.subscription_id, safe='')}"
        f"/resourceGroups/{quote(namespace.resource_group, safe='()')}"
        f"/providers/Microsoft.ServiceBus/namespaces/{quote(namespace.namespace, safe='')}"
    )


def _host_of(body: Any, what: str) -> str:
    properties = body.get("properties") if isinstance(body, dict) else None
    endpoint = properties.get("serviceBusEndpoint") if isinstance(properties, dict) else None
    host = urlsplit(str(endpoint)).hostname if endpoint else None
    if not host:
        raise Unavailable(f"{what}: the answer names no endpoint; is the namespace still being made?")
    return host


def _check(name: str, body: Any, wanted: Mapping[str, Any]) -> None:
    properties = body.get("properties") if isinstance(body, dict) else None
    existing = properties if isinstance(properties, dict) else {}
    wrong = [setting for setting in _FIXED if wanted.get(setting) and existing.get(setting) is False]
    if wrong:
        raise SpecError(
            f"queue {name} exists without {' and '.join(wrong)}, which cannot be changed: delete it, it is made anew",
            reason="UnsuitableQueue",
        )
