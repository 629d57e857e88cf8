"""The one pipeline that every ARM request of the operator takes: fence, pace, send once, translate.

Nothing is retried here but what the authentication policy must repeat for a claims challenge: the reconcile loop is
the retry, and a second send would pass neither the governor nor the lease.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import HeadersPolicy, RequestIdPolicy, SansIOHTTPPolicy, UserAgentPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.mgmt.core import AsyncARMPipelineClient
from azure.mgmt.core.policies import AsyncARMChallengeAuthenticationPolicy
from typing_extensions import override

from jobq.cloud import Cloud
from jobq.connect import USER_AGENT
from workforce_operator.adapters.arm.errors import DEFAULT_RETRY_AFTER, Refused, error_of, retry_after
from workforce_operator.adapters.arm.governor import Governor, Kind
from workforce_operator.domain.errors import Denied, Unavailable
from workforce_operator.ports.azure import WriteGuard

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport

CONNECT_SECONDS = 10
READ_SECONDS = 30
WRITE_SECONDS = 60
"""A job's PUT takes 2-4 s on a good day and stalls for tens of seconds on a bad one."""
SUBMITTER_HEADER = "x-azureml-token"
_REMAINING = {
    Kind.READ: "x-ms-ratelimit-remaining-subscription-reads",
    Kind.WRITE: "x-ms-ratelimit-remaining-subscription-writes",
}
_ROUTING = "x-ms-routing-request-id"
"""``WESTUS2:20260309T101112Z:<uuid>``: the region of ARM that served the request."""
_PAGES = 10_000
_TEXT_LENGTH = 1000
_Pipeline: TypeAlias = AsyncARMPipelineClient[HttpRequest, AsyncHttpResponse]


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer; ``body`` is None where there was no text."""

    status: int
    body: Any


class ArmClient:
    """ARM for one principal, and the studio's services beside it. ARM's paths start with ``/subscriptions/<id>``."""

    def __init__(
        self,
        cloud: Cloud,
        credential: AsyncTokenCredential,
        transport: AioHttpTransport,
        governor: Governor,
        guard: WriteGuard,
    ) -> None:
        self._base = cloud.resource_manager
        self._studio_base = cloud.ml_index
        self._credential = credential
        self._submitter_scope = cloud.audiences.machine_learning.rstrip("/") + "/.default"
        self._governor = governor
        scope = cloud.audiences.resource_manager.rstrip("/") + "/.default"
        fence = _Fence(guard)
        self._client = _pipeline(self._base, credential, scope, fence, transport)
        self._studio = _pipeline(self._studio_base, credential, self._submitter_scope, fence, transport)

    async def get(
        self, path: str, *, api_version: str, what: str, turn: str, params: Mapping[str, str] | None = None
    ) -> Reply:
        """Read one thing."""
        request = self._request("GET", path, api_version, params)
        return await self._send(request, Kind.READ, path, what=what, turn=turn)

    async def pages(
        self, path: str, *, api_version: str, what: str, turn: str, params: Mapping[str, str] | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Read a list page by page, following the service's links."""
        request = self._request("GET", path, api_version, params)
        seen: set[str] = set()
        for _ in range(_PAGES):
            reply = await self._send(request, Kind.READ, path, what=what, turn=turn)
            items, link = _page(reply.body, what)
            yield items
            if link is None:
                return
            self._check_link(link, seen, what)
            request = HttpRequest("GET", link)
        raise Unavailable(f"{what}: the list does not end")

    async def write(
        self,
        method: str,
        path: str,
        *,
        api_version: str,
        what: str,
        turn: str,
        body: Mapping[str, Any] | None = None,
        as_submitter: bool = False,
    ) -> Reply:
        """Send one PUT or POST, if this process holds the lease at the moment of sending.

        ``as_submitter`` sends our token for the machine learning audience along, for a job that acts as who submits it.

        Raises:
            Fenced: It does not.
        """
        request = self._request(method, path, api_version, None, body)
        if as_submitter:
            request.headers[SUBMITTER_HEADER] = await self._submitter_token(what)
        return await self._send(request, Kind.WRITE, path, what=what, turn=turn)

    async def studio_post(self, path: str, *, what: str, scope: str) -> Reply:
        """Send one POST to the studio's own services, fenced like every write; ARM does not count it.

        Args:
            path: Begins with ``/api/<location>``.
            what: What is attempted, for people.
            scope: ARM id that it speaks of.

        Raises:
            Fenced: This process does not hold the lease.
        """
        request = HttpRequest("POST", self._studio_base + path)
        status, headers, text = await self._exchange(self._studio, request, WRITE_SECONDS, what=what, scope=scope)
        if status == 400:
            # These services are not documented: whatever they object to, they have understood.
            raise Refused(f"{what}: HTTP 400 {text[:_TEXT_LENGTH]}", codes=frozenset(), status=status)
        if status not in {200, 201, 202, 204}:
            raise error_of(status, headers, text, what=what, scope=scope)
        return Reply(status, None)

    async def _submitter_token(self, what: str) -> str:
        scope = self._submitter_scope
        try:
            return (await self._credential.get_token(scope)).token
        except ClientAuthenticationError as error:
            raise Denied(f"{what}: no token for {scope}: {error.message}", scope=scope) from error
        except (ServiceRequestError, ServiceResponseError) as error:
            raise Unavailable(f"{what}: no token for {scope}: {error.message}") from error

    def _request(
        self,
        method: str,
        path: str,
        api_version: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None = None,
    ) -> HttpRequest:
        query = {"api-version": api_version, **(params or {})}
        return HttpRequest(method, self._base + path, params=query, json=None if body is None else dict(body))

    async def _send(self, request: HttpRequest, kind: Kind, path: str, *, what: str, turn: str) -> Reply:
        subscription, place = path.split("/")[2], place_of(path)
        async with self._governor.slot(subscription, kind, turn=turn, place=place) as sent:
            seconds = READ_SECONDS if kind is Kind.READ else WRITE_SECONDS
            status, headers, text = await self._exchange(self._client, request, seconds, what=what, scope=path)
        region, known, _ = headers.get(_ROUTING, "").partition(":")
        if known:
            self._governor.answered(place, region.lower())
        self._governor.report(subscription, kind, place=place, sent=sent, **_left(kind, status, headers))
        if status not in {200, 201, 202, 204}:
            raise error_of(status, headers, text, what=what, scope=path)
        return Reply(status, _parsed(text, what))

    async def _exchange(
        self, client: _Pipeline, request: HttpRequest, seconds: float, *, what: str, scope: str
    ) -> tuple[int, Mapping[str, str], str]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS + seconds):
                response = await client.send_request(request, connection_timeout=CONNECT_SECONDS, read_timeout=seconds)
                # The SDK would look for the encoding first; JSON has one.
                return response.status_code, response.headers, response.content.decode()
        except ClientAuthenticationError as error:
            raise Denied(f"{what}: no token: {error.message}", scope=scope) from error
        except (ServiceRequestError, ServiceResponseError, HttpResponseError) as error:
            raise Unavailable(f"{what}: {error.message or type(error).__name__}") from error
        except (TimeoutError, OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"{what}: {error or 'no answer in time'}") from error

    def _check_link(self, link: str, seen: set[str], what: str) -> None:
        """A token goes to ARM only, and a list that turns in a circle ends."""
        if not link.lower().startswith(self._base.lower() + "/") or link in seen:
            raise Unavailable(f"{what}: the service answered with a next page that cannot be followed: {link[:200]}")
        seen.add(link)


def _left(kind: Kind, status: int, headers: Mapping[str, str]) -> dict[str, float | None]:
    """What an answer says about the bucket: ``remaining`` and ``retry_after``."""
    left = headers.get(_REMAINING[kind], "")
    return {
        "remaining": float(left) if left.isdecimal() else None,
        "retry_after": (retry_after(headers) or DEFAULT_RETRY_AFTER) if status == 429 else None,
    }


def place_of(path: str) -> str:
    """The resource of a provider that a path is in: a workspace, a namespace; what the governor knows it by."""
    return "/".join(path.split("/")[:9]).lower()


class _Fence(SansIOHTTPPolicy[Any, Any]):
    """The last policy before the wire: while a token is fetched, or a claims challenge answered, the lease may go."""

    def __init__(self, guard: WriteGuard) -> None:
        self._guard = guard

    @override
    def on_request(self, request: PipelineRequest[Any]) -> None:
        if request.http_request.method != "GET":
            self._guard.check()


def _pipeline(
    base: str, credential: AsyncTokenCredential, scope: str, fence: _Fence, transport: AioHttpTransport
) -> _Pipeline:
    policies = [
        RequestIdPolicy(),
        HeadersPolicy({"Accept": "application/json"}),
        UserAgentPolicy(USER_AGENT),
        AsyncARMChallengeAuthenticationPolicy(credential, scope),
        fence,
    ]
    return AsyncARMPipelineClient(base, policies=policies, transport=transport)


def _parsed(text: str, what: str) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise Unavailable(f"{what}: the answer is not JSON; is a proxy in between?") from error


def _page(body: Any, what: str) -> tuple[list[dict[str, Any]], str | None]:
    value = body.get("value") if isinstance(body, dict) else None
    if not isinstance(value, list):
        raise Unavailable(f"{what}: the answer is not a list")
    return [item for item in value if isinstance(item, dict)], body.get("nextLink") or None
