"""The HTTP front of the resource manager: who calls, with what right, how often, and what they are answered.

One aiohttp handler over a table of routes, matched without regard to case as ARM does. Resource providers other than
AzureML are added with `add_provider`. It knows no resource. Invariant: nothing under a subscription is answered
without a valid token for this resource manager.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
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
from workforce_local.azureml.routes import JOB, Call, Handler
from workforce_local.azureml.throttle import TokenBuckets
from workforce_local.identity import Issuer, Principal, TokenError

PUBLIC_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")
"""The public resource manager goes by two names; older clients ask for tokens by the second."""
Provider = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]
"""Answers the authenticated requests of another resource provider."""


@dataclass(frozen=True)
class _Route:
    method: str
    template: str
    expression: re.Pattern[str]
    handler: Handler


@dataclass(frozen=True)
class _Target:
    """Who answers a request, and under which name it is logged."""

    template: str
    answer: Provider


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
        target = self._find(request)
        try:
            response = await self._answer(request, target)
        except ArmError as error:
            response = web.json_response(error.body(), status=error.status, headers=error.headers)
        self._log.add(request.method, target.template if target else request.path, request.path, response.status)
        self._stamp(request, response, time.monotonic() - started)
        return response

    def _find(self, request: web.Request) -> _Target | None:
        for namespace, expression, provider in self._providers:
            if expression.match(request.path):
                return _Target(namespace, provider)
        for route in self._routes:
            if route.method == request.method and (match := route.expression.match(request.path)):
                return _Target(route.template, functools.partial(self._reply, route, match.groupdict()))
        return None

    async def _answer(self, request: web.Request, target: _Target | None) -> web.StreamResponse:
        # Who may not call does not learn what there is.
        principal = self._authenticate(request)
        if target is None:
            raise route_not_found(request.method, request.path)
        headers = self._meter(request, principal)
        response = await target.answer(request, principal)
        response.headers.update(headers)
        return response

    async def _reply(
        self, route: _Route, names: Mapping[str, str], request: web.Request, principal: Principal
    ) -> web.StreamResponse:
        if request.path.startswith("/subscriptions/") and not request.query.get("api-version"):
            message = "The api-version query parameter (?api-version=) is required for all requests."
            raise ArmError(400, "MissingApiVersionParameter", message)
        body = await _body(request)
        if self._put_latency and (route.method, route.template) == ("PUT", JOB):
            await asyncio.sleep(self._put_latency)
        reply = route.handler(
            Call(self._base_url(), request.path, names, dict(request.query), principal.object_id, body)
        )
        if reply.body is None:
            return web.Response(status=reply.status, headers=reply.headers)
        return web.json_response(reply.body, status=reply.status, headers=reply.headers)

    def _authenticate(self, request: web.Request) -> Principal:
        authority = f"{self._base_url()}/{self._issuer.tenant_id}"
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            message = "Authentication failed. The 'Authorization' header is missing or invalid."
            raise unauthorized("AuthenticationFailed", message, authority)
        try:
            return self._issuer.verify(token.strip(), (self._base_url(), *PUBLIC_AUDIENCES))
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
