"""The HTTP front of the resource manager: who calls, with what right, how often, and what they are answered.

One aiohttp handler over a table of routes, matched without regard to case as ARM does. Resource providers other than
AzureML are added with `add_provider`. It knows no resource. Invariant: nothing under a subscription is answered
without a valid token for this resource manager.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from workforce_local.azureml.errors import ArmError, route_not_found, throttled, unauthorized
from workforce_local.azureml.ids import pattern
from workforce_local.azureml.request_log import RequestLog
from workforce_local.azureml.routes import JOB, Call, Handler, Reply
from workforce_local.azureml.throttle import TokenBuckets
from workforce_local.identity import Issuer, Principal, TokenError

PUBLIC_AUDIENCE = "https://management.azure.com"
Provider = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]
"""Answers the authenticated requests of another resource provider."""


@dataclass(frozen=True)
class _Route:
    method: str
    template: str
    expression: re.Pattern[str]
    handler: Handler


class ArmServer:
    """Dispatches requests. Add `handle` to an aiohttp application for every path that nothing else answers."""

    def __init__(
        self,
        table: Iterable[tuple[str, str, Handler]],
        issuer: Issuer,
        *,
        base_url: Callable[[], str],
        log: RequestLog,
        throttle: bool = False,
        put_latency: float = 0.0,
    ) -> None:
        self._routes = [_Route(method, path, pattern(path), handler) for method, path, handler in table]
        self._providers: list[tuple[str, re.Pattern[str], Provider]] = []
        self._issuer = issuer
        self._base_url = base_url
        self._log = log
        self._throttle = throttle
        self._put_latency = put_latency
        self._buckets = TokenBuckets()

    def add_provider(self, namespace: str, provider: Provider) -> None:
        """Let somebody else answer for a provider namespace such as `Microsoft.ServiceBus`."""
        expression = re.compile(rf"^/subscriptions/[^/]+/.*providers/{re.escape(namespace)}/", re.IGNORECASE)
        self._providers.append((namespace, expression, provider))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, and log it."""
        started = time.monotonic()
        template = request.path
        try:
            template, response = await self._answer(request)
        except ArmError as error:
            template = self._template(request)
            response = web.json_response(error.body(), status=error.status, headers=error.headers)
        self._log.add(request.method, template, request.path, response.status)
        self._stamp(request, response, time.monotonic() - started)
        return response

    def _template(self, request: web.Request) -> str:
        route = self._find(request)
        return route[0].template if route else request.path

    def _find(self, request: web.Request) -> tuple[_Route, dict[str, str]] | None:
        for route in self._routes:
            if route.method == request.method and (match := route.expression.match(request.path)):
                return route, match.groupdict()
        return None

    async def _answer(self, request: web.Request) -> tuple[str, web.StreamResponse]:
        provider = next((entry for entry in self._providers if entry[1].match(request.path)), None)
        found = self._find(request)
        if provider is None and found is None:
            self._authenticate(request)
            raise route_not_found(request.method, request.path)
        principal = self._authenticate(request)
        headers = self._meter(request, principal)
        if found is None:
            assert provider is not None
            response = await provider[2](request, principal)
            response.headers.update(headers)
            return f"{provider[0]}", response
        route, names = found
        reply = await self._reply(request, route, names, principal)
        return route.template, _response(reply, headers)

    async def _reply(
        self, request: web.Request, route: _Route, names: Mapping[str, str], principal: Principal
    ) -> Reply:
        if request.path.startswith("/subscriptions/") and not request.query.get("api-version"):
            message = "The api-version query parameter (?api-version=) is required for all requests."
            raise ArmError(400, "MissingApiVersionParameter", message)
        body = await _body(request)
        if self._put_latency and (route.method, route.template) == ("PUT", JOB):
            await asyncio.sleep(self._put_latency)
        call = Call(self._base_url(), request.path, names, dict(request.query), principal.object_id, body)
        result = route.handler(call)
        return await result if inspect.isawaitable(result) else result

    def _authenticate(self, request: web.Request) -> Principal:
        authority = f"{self._base_url()}/{self._issuer.tenant_id}"
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            message = "Authentication failed. The 'Authorization' header is missing or invalid."
            raise unauthorized("AuthenticationFailed", message, authority)
        try:
            return self._issuer.verify(token.strip(), (self._base_url(), PUBLIC_AUDIENCE))
        except TokenError as error:
            raise unauthorized(error.code, str(error), authority) from error

    def _meter(self, request: web.Request, principal: Principal) -> dict[str, str]:
        subscription = request.path.split("/")[2] if request.path.lower().startswith("/subscriptions/") else ""
        if not subscription:
            return {}
        allowance = self._buckets.take(principal.object_id, subscription, request.method)
        if self._throttle and allowance.retry_after is not None:
            raise throttled(allowance.retry_after)
        name, value = allowance.header
        return {name: value}

    @staticmethod
    def _stamp(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
        correlation = str(uuid.uuid4())
        response.headers["x-ms-request-id"] = correlation
        response.headers["x-ms-correlation-request-id"] = correlation
        response.headers["x-ms-routing-request-id"] = f"LOCAL:{correlation}"
        response.headers["x-request-time"] = f"{seconds:.3f}"
        response.headers["Cache-Control"] = "no-cache"
        if client := request.headers.get("x-ms-client-request-id"):
            response.headers["x-ms-client-request-id"] = client


def admin_routes(token: str, documents: Mapping[str, Callable[[], Any]]) -> list[web.RouteDef]:
    """Inspection of the local cloud under `/_local/`, for whoever can read the token in the state folder."""

    def make(document: Callable[[], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
                return web.json_response({"error": "give the token in admin.token as Bearer"}, status=401)
            return web.json_response(document())

        return answer

    return [web.get(f"/_local/{name}", make(document)) for name, document in documents.items()]


def _response(reply: Reply, headers: Mapping[str, str]) -> web.Response:
    every = {**headers, **reply.headers}
    if reply.body is None:
        return web.Response(status=reply.status, headers=every)
    return web.json_response(reply.body, status=reply.status, headers=every)


async def _body(request: web.Request) -> Mapping[str, Any]:
    raw = await request.read()
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError as error:
        message = f"The request content was invalid and could not be deserialized: '{error}'."
        raise ArmError(400, "InvalidRequestContent", message) from error
    if not isinstance(body, dict):
        raise ArmError(400, "InvalidRequestContent", "The request content must be a JSON object.")
    return body
