"""Faults of storage: what stands before Azurite's queue and blob services.

Clients always come through a relay that looks into nothing (`relay`). While there are faults for storage, it leads new
connections to an HTTP proxy with the chaos middleware; otherwise straight to Azurite, so that nothing is slowed down.

Invariant: the proxy changes neither path, nor header, nor body, which a shared key's signature covers.
"""

from __future__ import annotations

import contextlib
import io
import ssl
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from workforce_local.chaos.engine import Engine, Request
from workforce_local.chaos.http import chaos_middleware
from workforce_local.chaos.relay import Address, Relay

_HOST = "127.0.0.1"
_MAX_BODY = 300 << 20
_STOP_SECONDS = 1.0
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection", "expect")
)
_OWN_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class StorageFront:
    """What clients of one storage service connect to. An asynchronous context manager.

    Args:
        service: `queue` or `blob`.
        upstream: Azurite's URL; a path with `{account}` is kept for `url`.
        port: Port to listen on.
        engine: Decides about faults.
        server_tls: Certificate to show to clients, if Azurite speaks HTTPS.
        client_tls: Whom to trust as Azurite.
    """

    def __init__(
        self, service: str, upstream: str, port: int, engine: Engine, *, server_tls: ssl.SSLContext,
        client_tls: ssl.SSLContext,
    ) -> None:  # fmt: skip
        parts = urlsplit(upstream)
        self._service = service
        self._scheme = parts.scheme
        self._path = parts.path
        self._azurite = Address(parts.hostname or _HOST, parts.port or (443 if parts.scheme == "https" else 80))
        self._proxy = Address(_HOST, 0)
        self._engine = engine
        self._tls = (server_tls, client_tls) if parts.scheme == "https" else (None, None)
        self._relay = Relay(_HOST, port, self._choose)
        self._faulty = False
        self._session: aiohttp.ClientSession | None = None
        self._stack = contextlib.AsyncExitStack()

    @property
    def url(self) -> str:
        """URL template for clients."""
        return f"{self._scheme}://{_HOST}:{self._relay.port}{self._path}"

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls[1] or True, limit=0)
        self._session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        )
        middleware = chaos_middleware(self._engine, self._classify, lambda: self.url)
        app = web.Application(middlewares=[middleware], client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS, auto_decompress=False)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, _HOST, 0, ssl_context=self._tls[0], backlog=1024).start()
        self._proxy = Address(_HOST, runner.addresses[0][1])
        await stack.enter_async_context(self._relay)

    async def changed(self) -> None:
        """Faults were set or taken away: lead the clients where they belong now."""
        faulty = self._engine.afflicts(self._service)
        if faulty != self._faulty:
            self._faulty = faulty
            await self._relay.move()

    def _choose(self) -> Address:
        return self._proxy if self._faulty else self._azurite

    def _classify(self, request: web.Request) -> Request:
        return Request(self._service, request.method, request.path)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        headers = CIMultiDict((name, value) for name, value in request.headers.items() if _goes_on(name))
        url = URL(f"{self._scheme}://{self._azurite.host}:{self._azurite.port}{request.raw_path}", encoded=True)
        body = await request.read()
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=io.BytesIO(body) if body else None, allow_redirects=False,
                skip_auto_headers=_OWN_HEADERS,
            ) as answer:  # fmt: skip
                content = await answer.read()
                kept = CIMultiDict((name, value) for name, value in answer.headers.items() if _goes_on(name))
                return _response(request, answer, kept, content)
        except aiohttp.ClientConnectionError:
            # Azurite cut the connection: so it looks to the client, too.
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)


def _response(
    request: web.Request, answer: aiohttp.ClientResponse, headers: CIMultiDict[str], content: bytes
) -> web.Response:
    if request.method == "HEAD":
        # Its length is that of a body that does not come.
        return web.Response(status=answer.status, reason=answer.reason, headers=headers)
    headers.popall("Content-Length", None)
    return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=content)


def _goes_on(header: str) -> bool:
    return header.lower() not in _HOP_BY_HOP
