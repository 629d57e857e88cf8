"""The resource type Microsoft.ServiceBus of the resource manager: namespaces, topics, subscriptions, rules, queues.

Namespaces are declared by configuration and can only be read; everything under them is made, changed and deleted
here. Who calls was checked before. Invariant: a PUT that is repeated changes nothing and answers the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from workforce_local.azureml.errors import ArmError
from workforce_local.servicebus import arm_properties as properties
from workforce_local.servicebus.arm_entities import COLLECTIONS, PROVIDER, Reply, Request
from workforce_local.servicebus.errors import EntityError
from workforce_local.servicebus.namespaces import Namespace, Namespaces

__all__ = ["PROVIDER", "ServiceBusResources", "routes"]

_PATH = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)(?:/resourceGroups/(?P<group>[^/]+))?"
    rf"/providers/{re.escape(PROVIDER)}/namespaces(?:/(?P<rest>.+))?",
    re.IGNORECASE,
)
_ROUTE = r"/{path:(?i:subscriptions/.+/providers/microsoft\.servicebus/.+)}"
_METHODS = ("GET", "PUT", "DELETE")


def routes(namespaces: Namespaces) -> list[web.RouteDef]:
    """The routes of an application that has authenticated its callers."""
    resources = ServiceBusResources(namespaces)
    return [web.route("*", _ROUTE, resources.handle)]


class ServiceBusResources:
    """Answers requests to the provider.

    Args:
        namespaces: What there is.
    """

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces

    async def handle(self, request: web.Request, _principal: object = None) -> web.Response:
        """Answer one request. The principal is for resource managers that pass on who calls."""
        try:
            body = _json(await request.read())
            reply = self.answer(request.method, request.rel_url.raw_path, request.query, body)
        except ArmError as error:
            return web.json_response(error.body(), status=error.status, headers=error.headers)
        except EntityError as error:
            # What attributes of requests cannot tell in advance: a name that an entity of another kind has.
            conflict = ArmError(409, "Conflict", f"SubCode=40900. Conflict. {error}")
            return web.json_response(conflict.body(), status=conflict.status)
        if reply.body is None:
            return web.Response(status=reply.status)
        return web.json_response(reply.body, status=reply.status)

    def answer(self, method: str, raw_path: str, query: Mapping[str, str], body: Mapping[str, Any]) -> Reply:
        """Answer a request.

        Args:
            method: Of HTTP.
            raw_path: The path as it was sent, still quoted: names may contain slashes.
            query: Of the URL.
            body: Of the request.

        Raises:
            ArmError: It is refused.
            EntityError: The broker refuses it.
        """
        match = _PATH.fullmatch(raw_path.rstrip("/"))
        segments = [unquote(part) for part in (match["rest"] or "").split("/") if part] if match else []
        kinds = [part.lower() for part in segments[1::2]]
        if match is None or kinds not in _KINDS:
            raise ArmError(404, "InvalidResourceType", f"{method} {raw_path}: the resource type is unknown.")
        if not query.get("api-version"):
            message = "The api-version query parameter (?api-version=) is required for all requests."
            raise ArmError(400, "MissingApiVersionParameter", message)
        if method not in _METHODS:
            raise ArmError(405, "MethodNotAllowed", f"{method} is not implemented by the local Service Bus.")
        subscription, group = unquote(match["subscription"]), match["group"] and unquote(match["group"])
        if not segments:
            return self._list_namespaces(raw_path, subscription, group)
        request = Request(method, unquote(raw_path).rstrip("/"), kinds, segments[2::2], query, body)
        namespace = self._namespace(segments[0], subscription, group or "", request)
        if not kinds:
            return self._read_namespace(namespace, request)
        return COLLECTIONS[tuple(kinds)](namespace, request).answer()

    # -- namespaces

    def _namespace(self, name: str, subscription: str, group: str, request: Request) -> Namespace:
        namespace = self._namespaces.get(name)
        if namespace is not None and _is_at(namespace, subscription, group):
            return namespace
        where = f"'{PROVIDER}/namespaces/{name}' under resource group '{group}'"
        if request.kinds:
            action = {"GET": "read", "PUT": "write", "DELETE": "delete"}[request.method]
            kind = "/".join(("namespaces", *request.kinds))
            message = (
                f"Failed to perform '{action}' on resource(s) of type '{kind}', because the parent resource {where} "
                "could not be found."
            )
            raise ArmError(404, "ParentResourceNotFound", message)
        raise ArmError(404, "ResourceNotFound", f"The Resource {where} was not found.")

    def _list_namespaces(self, path: str, subscription: str, group: str | None) -> Reply:
        found = [one for one in self._namespaces if _is_at(one, subscription, group)]
        return Reply(body={"value": [_namespace_document(one) for one in found]})

    @staticmethod
    def _read_namespace(namespace: Namespace, request: Request) -> Reply:
        if request.method != "GET":
            message = "Namespaces of the local Azure are declared by its configuration: they can only be read."
            raise ArmError(405, "MethodNotAllowed", message)
        return Reply(body=_namespace_document(namespace))


_KINDS: list[list[str]] = [[], *(list(kinds) for kinds in COLLECTIONS)]


def _is_at(namespace: Namespace, subscription: str, group: str | None) -> bool:
    if namespace.subscription_id.lower() != subscription.lower():
        return False
    return group is None or namespace.resource_group.lower() == group.lower()


def _namespace_document(namespace: Namespace) -> dict[str, Any]:
    home = f"/subscriptions/{namespace.subscription_id}/resourceGroups/{namespace.resource_group}"
    return {
        "id": f"{home}/providers/{PROVIDER}/namespaces/{namespace.name}",
        "name": namespace.name,
        "type": f"{PROVIDER}/Namespaces",
        "location": namespace.location,
        "sku": {"name": "Standard", "tier": "Standard"},
        "tags": {},
        "properties": {
            "provisioningState": "Succeeded",
            "status": "Active",
            "serviceBusEndpoint": f"https://{namespace.host}:443/",
            "metricId": f"{namespace.subscription_id}:{namespace.name.lower()}",
            "createdAt": properties.time(namespace.created),
            "updatedAt": properties.time(namespace.created),
            "disableLocalAuth": False,
            "zoneRedundant": False,
            "minimumTlsVersion": "1.2",
            "publicNetworkAccess": "Enabled",
        },
    }


def _json(raw: bytes) -> Mapping[str, Any]:
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        message = f"The request content was invalid and could not be deserialized: '{error}'."
        raise ArmError(400, "InvalidRequestContent", message) from error
    if not isinstance(body, dict):
        raise ArmError(400, "InvalidRequestContent", "The request content must be a JSON object.")
    return body
