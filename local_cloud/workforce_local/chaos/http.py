"""Applies request faults to an aiohttp server: a middleware before whatever answers.

It decides nothing (`engine` does) and knows no service from inside. Invariant: without faults a request passes
untouched, and what was lost after the fact was carried out by the service in full.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from workforce_local.chaos import faults
from workforce_local.chaos.answers import CHAOS_HEADER, answer
from workforce_local.chaos.engine import Engine, Request, Stroke, is_final
from workforce_local.chaos.lists import Snapshots, truncated

Classify = Callable[[web.Request], Request | None]
"""Which service a request is for; None for those that no fault may strike."""


def chaos_middleware(engine: Engine, classify: Classify, base_url: Callable[[], str]) -> Middleware:
    """The middleware of one server."""
    snapshots = Snapshots()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not engine.rules:
            snapshots.clear()
            return await handler(request)
        known = classify(request)
        strokes = engine.strike(known) if known is not None else []
        if known is None or not strokes:
            return await handler(request)
        # What was sent is on its way, whether its client waits for it or not: aiohttp drops what nobody has read.
        await request.read()
        await asyncio.sleep(sum(stroke.seconds for stroke in strokes))
        fault = strokes[-1].fault
        if is_final(fault):
            return await _instead(request, fault, known.service, base_url())
        response = await _carry_out(request, handler, strokes, snapshots)
        lost = next((stroke.fault for stroke in strokes if isinstance(stroke.fault, faults.LostResponse)), None)
        if lost is None:
            return response
        return _cut(request) if lost.instead == "cut" else _answer(lost, known.service, base_url())

    return middleware


async def _instead(request: web.Request, fault: faults.RequestFault, service: str, base_url: str) -> web.Response:
    if isinstance(fault, faults.Silence):
        await asyncio.sleep(fault.seconds)
        return _cut(request)
    if isinstance(fault, faults.Drop) or (isinstance(fault, faults.Outage) and fault.shows_as == "cut"):
        return _cut(request)
    return _answer(fault, service, base_url)


def _answer(fault: faults.RequestFault, service: str, base_url: str) -> web.Response:
    made = answer(fault, service, base_url)
    return web.Response(status=made.status, body=made.body, content_type=made.content_type, headers=dict(made.headers))


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)  # Nobody gets it: the connection is gone.


async def _carry_out(
    request: web.Request, handler: Handler, strokes: Sequence[Stroke], snapshots: Snapshots
) -> web.StreamResponse:
    """Let the service do it, once or twice, and change a list that it answers with."""
    given = [stroke.fault for stroke in strokes]
    stale = next((fault for fault in given if isinstance(fault, faults.StaleList)), None)
    key = (request.method, str(request.rel_url), await request.read())
    body = snapshots.find(key, stale.seconds) if stale is not None else None
    if body is not None and stale is not None:
        return web.Response(body=body, content_type="application/json", headers={CHAOS_HEADER: stale.name or ""})
    if any(isinstance(fault, faults.Duplicate) for fault in given):
        await handler(request)
    response = await handler(request)
    if stale is not None and (document := _list(response)) is not None:
        snapshots.keep(key, json.dumps(document).encode())
    short = next((fault for fault in given if isinstance(fault, faults.TruncatedList)), None)
    if short is not None and (document := _list(response)) is not None:
        return web.json_response(truncated(document, short.keep), headers={CHAOS_HEADER: short.name or ""})
    return response


def _list(response: web.StreamResponse) -> dict[str, Any] | None:
    """The document of a response that is a list."""
    body = response.body if isinstance(response, web.Response) and response.status == 200 else None
    if not isinstance(body, bytes) or response.content_type != "application/json":
        return None
    document = json.loads(body)
    return document if isinstance(document, dict) and isinstance(document.get("value"), list) else None
