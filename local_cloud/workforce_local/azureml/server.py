"""The HTTP front of the resource manager: who calls, with what right, how often, and what they are answered.

One aiohttp handler over a table of routes, matched without regard to case as ARM does. Resource providers other than
AzureML are added with `add_provider`. It knows no resource. Invariant: nothing under a subscription is answered
without a valid token for this resource manager.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from aiohttp import web

from workforce_local.azureml.calls import Call, Handler
from workforce_local.azureml.errors import (
    ArmError,
    authorization_failed,
    insufficient_claims,
    nginx_unavailable,
    route_not_found,
    throttled,
    unauthorized,
)
from workforce_local.azureml.ids import pattern
from workforce_local.azureml.paths import JOB, STUDIO
from workforce_local.azureml.permissions import Denial, deed
from workforce_local.azureml.request_log import RequestLog
from workforce_local.azureml.throttle import TokenBuckets
from workforce_local.identity import Issuer, Principal, TokenError
from workforce_local.identity.tokens import RevokedError

PUBLIC_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")
"""The public resource manager goes by two names; older clients ask for tokens by the second."""
STUDIO_AUDIENCE = "https://ml.azure.com"
Provider = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]
"""Answers the authenticated requests of another resource provider."""


class _Route(NamedTuple):
    method: str
    template: str
    expression: re.Pattern[str]
    handler: Handler


@dataclass(frozen=True)
class _Target:
    """Who answers a request, under which name it is logged, and what its path says."""

    template: str
    answer: Provider | Handler
    names: Mapping[str, str] | None = None
    """None for another resource provider."""


class ArmServer:
    """Dispatches requests. Add `handle` to an aiohttp application for every path that nothing else answers.

    Attributes:
        throttle: Whether an empty token bucket is answered with 429; may be changed at any time.
        put_latency: Seconds that each job PUT takes longer.
        denials: What is answered with 403.
        outages: Regions whose gateway answers every request with a page for people; `*` is all of them.
    """

    def __init__(
        self,
        table: Iterable[tuple[str, str, Handler]],
        issuer: Issuer,
        *,
        base_url: Callable[[], str],
        log: RequestLog,
        throttle: bool = False,
        put_latency: float = 0.0,
        region_of: Callable[[Mapping[str, str]], str] = lambda _: "",
    ) -> None:
        self.throttle = throttle
        self.put_latency = put_latency
        self.denials: list[Denial] = []
        self.outages: set[str] = set()
        self._routes: dict[tuple[str, int], list[_Route]] = {}
        for method, path, handler in table:
            self._routes.setdefault((method, path.count("/")), []).append(_Route(method, path, pattern(path), handler))
        self._providers: list[tuple[str, str, Provider]] = []
        self._issuer = issuer
        self._base_url = base_url
        self._log = log
        self._region_of = region_of
        self._buckets = TokenBuckets()

    def add_provider(self, namespace: str, provider: Provider) -> None:
        """Let somebody else answer for a provider namespace such as `Microsoft.ServiceBus`."""
        self._providers.append((namespace, f"/providers/{namespace}/".lower(), provider))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, and log it."""
        started = time.monotonic()
        path = request.path
        target = self._find(request.method, path)
        region = self._region_of(target.names) if target is not None and target.names is not None else ""
        try:
            response = await self._answer(request, target, region)
        except ArmError as error:
            response = _error(error)
        self._log.add(request.method, target.template if target else path, path, response.status)
        self._stamp(request, response, time.monotonic() - started, region)
        return response

    def _find(self, method: str, path: str) -> _Target | None:
        lower = path.lower()
        for namespace, part, provider in self._providers:
            if part in lower and lower.startswith("/subscriptions/"):
                return _Target(namespace, provider)
        # No two templates of one method and one number of segments differ by more than their fixed words.
        for route in self._routes.get((method, path.rstrip("/").count("/")), ()):
            if match := route.expression.match(path):
                return _Target(route.template, route.handler, match.groupdict())
        return None

    async def _answer(self, request: web.Request, target: _Target | None, region: str) -> web.StreamResponse:
        if self.outages and not self.outages.isdisjoint({"*", region.lower()}):
            raise nginx_unavailable()
        # Who may not call does not learn what there is.
        principal = self._authenticate(request)
        if target is None:
            raise route_not_found(request.method, request.path)
        headers = self._meter(request, principal, region)
        self._permit(request, principal)
        if target.names is None:
            provider: Provider = target.answer  # type: ignore[assignment] # without names it is a provider
            response = await provider(request, principal)
        else:
            response = await self._reply(target, target.names, request, principal)
        response.headers.update(headers)
        return response

    async def _reply(
        self, target: _Target, names: Mapping[str, str], request: web.Request, principal: Principal
    ) -> web.StreamResponse:
        query = dict(request.query)
        if request.path.startswith("/subscriptions/") and not query.get("api-version"):
            message = "The api-version query parameter (?api-version=) is required for all requests."
            raise ArmError(400, "MissingApiVersionParameter", message)
        body = await _body(request)
        if self.put_latency and request.method == "PUT" and target.template == JOB:
            await asyncio.sleep(self.put_latency)
        handler: Handler = target.answer  # type: ignore[assignment] # with names it is one of the table
        reply = handler(Call(self._base_url(), request.path, names, query, principal.object_id, body))
        if reply.body is None:
            return web.Response(status=reply.status, headers=reply.headers)
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        return web.Response(
            body=content, status=reply.status, headers=reply.headers, content_type="application/json", charset="utf-8"
        )

    def _authenticate(self, request: web.Request) -> Principal:
        authority = f"{self._base_url()}/{self._issuer.tenant_id}"
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            message = "Authentication failed. The 'Authorization' header is missing or invalid."
            raise unauthorized("AuthenticationFailed", message, authority)
        studio = request.path.startswith(STUDIO)
        try:
            return self._issuer.verify(
                token.strip(), STUDIO_AUDIENCE if studio else (self._base_url(), *PUBLIC_AUDIENCES)
            )
        except RevokedError as error:
            raise insufficient_claims(str(error), authority, error.claims) from error
        except TokenError as error:
            raise unauthorized(error.code, str(error), authority) from error

    def _permit(self, request: web.Request, principal: Principal) -> None:
        if not self.denials:
            return
        wanted = deed(request.method, request.path)
        if any(denial.forbids(principal.object_id, wanted) for denial in self.denials):
            raise authorization_failed(principal.object_id, wanted.action, wanted.scope)

    def _meter(self, request: web.Request, principal: Principal, region: str) -> dict[str, str]:
        if not request.path.lower().startswith("/subscriptions/"):
            return {}
        subscription = request.path.split("/")[2]
        allowance = self._buckets.take(principal.object_id, subscription, request.method, region)
        if self.throttle and allowance.retry_after is not None:
            raise throttled(allowance.retry_after, allowance.headers)
        return allowance.headers

    @staticmethod
    def _stamp(request: web.Request, response: web.StreamResponse, seconds: float, region: str) -> None:
        correlation = str(uuid.uuid4())
        headers = {
            "x-ms-request-id": correlation,
            "x-ms-correlation-request-id": correlation,
            "x-ms-routing-request-id": f"{(region or 'global').upper()}:{_second(int(time.time()))}:{correlation}",
            "x-request-time": f"{seconds:.3f}",
            "Cache-Control": "no-cache",
        }
        if client := request.headers.get("x-ms-client-request-id"):
            headers["x-ms-client-request-id"] = client
        response.headers.update(headers)


@lru_cache(1)
def _second(since_epoch: int) -> str:
    """A time as the front door writes it; formatted once for all the requests of a second."""
    return f"{datetime.fromtimestamp(since_epoch, UTC):%Y%m%dT%H%M%SZ}"


def admin_routes(token: str, documents: Mapping[str, Callable[[], Any]]) -> list[web.RouteDef]:
    """Inspection of the local cloud under `/_local/`, for whoever can read the token in the state folder."""

    def make(document: Callable[[], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
                return web.json_response({"error": "give the token in admin.token as Bearer"}, status=401)
            return web.json_response(document())

        return answer

    return [web.get(f"/_local/{name}", make(document)) for name, document in documents.items()]


def _error(error: ArmError) -> web.Response:
    if error.html is not None:
        return web.Response(text=error.html, content_type="text/html", status=error.status, headers=error.headers)
    return web.json_response(error.body(), status=error.status, headers=error.headers)


async def _body(request: web.Request) -> Mapping[str, Any]:
    raw = await request.read()
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
