"""Ties chaos to a local Azure: which parts it stands before, and what it needs of them.

One object per local Azure, made before the parts are started and entered after them. Invariant: without faults set, it
costs a relayed connection to storage and one look at an empty list per request.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Middleware

from workforce_local.chaos.bus import BusHappenings, BusWires
from workforce_local.chaos.classify import Classifier
from workforce_local.chaos.director import Director, Nodes
from workforce_local.chaos.engine import Engine, Request
from workforce_local.chaos.http import chaos_middleware
from workforce_local.chaos.places import Places
from workforce_local.chaos.routes import ChaosRoutes
from workforce_local.chaos.storage import StorageFront
from workforce_local.config import LocalConfig
from workforce_local.imds import Machine
from workforce_local.servicebus.namespaces import Namespaces
from workforce_local.servicebus.server import ServiceBusServer
from workforce_local.servicebus.tokens import Authorize


class Chaos:
    """Faults of one local Azure. An asynchronous context manager.

    Attributes:
        engine: What is set and what happened; tests may use it directly and then call `changed`.
        fronts: What stands before storage, by service, once storage was added.
    """

    def __init__(self, config: LocalConfig, base_url: Callable[[], str]) -> None:
        self.engine = Engine()
        self.fronts: dict[str, StorageFront] = {}
        self._classifier = Classifier(config)
        self._places = Places(config)
        self._base_url = base_url
        self._wires = BusWires(self.engine)
        self._director: Director | None = None
        self._bus: ServiceBusServer | None = None
        self._stack = contextlib.AsyncExitStack()

    def middleware(self) -> Middleware:
        """To stand before the resource manager, the studio's services and the identity."""
        return chaos_middleware(
            self.engine, lambda request: self._classifier.https(request.method, request.path), self._base_url
        )

    def imds_middleware(self, machine: Machine) -> Middleware:
        """To stand before a machine's metadata service."""
        return chaos_middleware(
            self.engine, lambda request: Request("imds", request.method, request.path, machine.location), self._base_url
        )

    def authorizing(self, authorize: Authorize, namespaces: Namespaces) -> Authorize:
        """To stand before what decides about the tokens that are presented to Service Bus."""

        def decide(token: str, audience: str) -> bool:
            return self._wires.accepts(audience, namespaces) and authorize(token, audience)

        return decide

    def routes(self, token: str) -> list[web.RouteDef]:
        """The interface by which faults are set."""
        return ChaosRoutes(self.engine, self._places, self.changed).table(token)

    def add_storage(
        self, service: str, upstream: str, port: int, *, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
    ) -> StorageFront:
        """Stand before a storage service."""
        front = StorageFront(service, upstream, port, self.engine, server_tls=server_tls, client_tls=client_tls)
        self.fronts[service] = front
        return front

    def add_parts(self, bus: ServiceBusServer, namespaces: Namespaces, nodes: Nodes) -> None:
        """Work on Service Bus and on nodes."""
        self._bus = bus
        self._director = Director(self.engine, BusHappenings(bus, namespaces), nodes)

    async def changed(self) -> None:
        """Faults were set or taken away: whatever acts by itself acts accordingly when this returns."""
        if self._bus is not None:
            self._bus.interfere = self._wires if self.engine.rules else None
            self._bus.around = self._wires.around if self.engine.rules else None
        if self._director is not None:
            self._director.changed()
        await asyncio.gather(*(front.changed() for front in self.fronts.values()))

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            for front in self.fronts.values():
                await stack.enter_async_context(front)
            if self._director is not None:
                stack.push_async_callback(self._director.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
