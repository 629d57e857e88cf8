"""An HTTPS server that answers like ARM by a script: it records every request and can misbehave on demand."""

from __future__ import annotations

import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web
from azure.core.credentials import AccessToken

from jobq.cloud import Cloud

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
NEVER = 2**31


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    peer: int
    headers: dict[str, str]


class StaticCredential:
    """A credential with one token that never ends."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.scopes = scopes
        return AccessToken("token", NEVER)

    async def close(self) -> None:
        pass


class ScriptedArm:
    """Answers from ``script`` first, then as a service would for which every PUT is new."""

    def __init__(self, url: str, ca_file: Path) -> None:
        self.url = url
        self.ca_file = ca_file
        self.seen: list[Seen] = []
        self.script: deque[Answer] = deque()
        self.fallback: Answer = self._as_new

    def cloud(self) -> Cloud:
        return Cloud.read(
            {
                "name": f"Scripted{self.url.rsplit(':', 1)[1]}",
                "resourceManager": self.url,
                "authority": self.url,
                "audiences": dict.fromkeys(("resourceManager", "machineLearning", "storage", "serviceBus"), self.url),
                "mlIndex": self.url,
                "storageQueue": self.url + "/{account}",
                "blob": self.url + "/{account}",
                "serviceBusSuffix": "servicebus.local.test",
                "caBundle": str(self.ca_file),
            }
        )

    def calls(self, method: str, part: str = "") -> list[Seen]:
        return [seen for seen in self.seen if seen.method == method and part in seen.path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        peer = request.transport.get_extra_info("peername")[1] if request.transport else 0
        self.seen.append(
            Seen(
                request.method,
                request.path,
                dict(request.query),
                json.loads(text) if text else None,
                peer,
                dict(request.headers),
            )
        )
        if self.script:
            return await self.script.popleft()(request)
        return await self.fallback(request)

    async def _as_new(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        document = {"id": request.path, "name": request.path.rsplit("/", 1)[1], **(json.loads(text) if text else {})}
        return web.json_response(document, status=201 if request.method == "PUT" else 200)


def answer(status: int, body: Any = None, **headers: str) -> Answer:
    """Answer with JSON, or with a text as HTML."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def respond(_: web.Request) -> web.Response:
        if isinstance(body, str):
            return web.Response(status=status, text=body, content_type="text/html", headers=named)
        return web.json_response(body, status=status, headers=named)

    return respond


async def drop(request: web.Request) -> web.StreamResponse:
    """Close the connection instead of answering."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@asynccontextmanager
async def scripted_arm(folder: Path) -> AsyncIterator[ScriptedArm]:
    """Serve until the block ends."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = folder / "scripted-ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    app = web.Application(client_max_size=16 << 20)
    runner = web.AppRunner(app, shutdown_timeout=1)
    holder: list[ScriptedArm] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        return await holder[0].handle(request)

    app.router.add_route("*", "/{tail:.*}", handle)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    holder.append(ScriptedArm(f"https://127.0.0.1:{runner.addresses[0][1]}", ca_file))
    try:
        yield holder[0]
    finally:
        await runner.cleanup()
