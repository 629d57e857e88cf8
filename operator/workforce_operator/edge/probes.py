"""The process's HTTP endpoints: ``/livez``, ``/readyz`` and ``/metrics``.

Liveness says that the loop turns, never that Azure or Kubernetes answer: a restart does not repair an outage. Readiness
says that this replica leads or stands by. Both answer with a line that tells a person why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

from workforce_operator.edge.metrics import CONTENT_TYPE, Metrics

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """An answer to a probe."""

    ok: bool
    text: str


def build_app(*, alive: Callable[[], Health], ready: Callable[[], Health], metrics: Metrics) -> web.Application:
    """The web application; the callables are asked at each request and must not wait."""

    async def livez(_: web.Request) -> web.Response:
        return _answer(alive())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(ready())

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", exposition)
    return app


@asynccontextmanager
async def serve(app: web.Application, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve within the block; gives the port. Raises OSError if the address cannot be had."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        log.info("serving probes and metrics", address=f"http://{host}:{bound}")
        yield int(bound)
    finally:
        await runner.cleanup()


def _answer(health: Health) -> web.Response:
    return web.Response(text=f"{health.text}\n", status=200 if health.ok else 503)
