"""The Service Bus endpoint: AMQP 1.0 on a plain and on a TLS port, for all namespaces.

Owns sockets, the timers' alarms and the faults that tests ask for. Invariant: after `stop` nothing is left, neither a
socket nor a task.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import contextlib
import functools
import ssl
import time
from collections.abc import Callable
from typing import Any, Self

from typing_extensions import override

from workforce_local.servicebus.connection import Around, Connection
from workforce_local.servicebus.errors import CONNECTION_FORCED, DETACH_FORCED, AmqpError, EntityError
from workforce_local.servicebus.link import DeliveryLink, Link, PublishLink
from workforce_local.servicebus.namespaces import Namespaces
from workforce_local.servicebus.session import Session
from workforce_local.servicebus.timers import Timers
from workforce_local.servicebus.tokens import Authorize

LINK_IDLE_SECONDS = 600.0
"""After so long without any frame of its own a link is detached, as the service does."""

TLS_READ_BYTES = 16 << 10
"""What one read from a TLS connection takes, which is one record of TLS. asyncio keeps a buffer of this size for every
connection: with its own 256 kB, 2,000 idle receivers would hold 600 MB."""

_HOUSEKEEPING_SECONDS = 1.0
_STOP_SECONDS = 2.0


class ServiceBusServer:
    """Serves namespaces over AMQP. An asynchronous context manager, too.

    Args:
        namespaces: What there is.
        host: Address to listen on.
        plain_port: Port without TLS; 0 takes a free one.
        tls_port: Port with TLS, if there is an `ssl_context`; 0 takes a free one.
        ssl_context: Certificate and key for TLS; None for plain AMQP only.
        authorize: Decides about tokens (see `tokens.authorizer`); None lets everybody use everything.
        link_idle_seconds: After so long without use links are detached; None for never.

    Attributes:
        plain_port: The port, once started.
        tls_port: The port, once started.
        around: Gets all sends, and carries them out or refuses them; None for a service in good health.
        interfere: Gets all bytes (`IN` or `OUT`), and passes them on now, later or never; None for a sound network.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        *,
        host: str = "127.0.0.1",
        plain_port: int = 0,
        tls_port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        authorize: Authorize | None = None,
        link_idle_seconds: float | None = LINK_IDLE_SECONDS,
    ) -> None:
        self.plain_port = plain_port
        self.tls_port = tls_port
        self.around: Around | None = None
        self.interfere: Interfere | None = None
        self._namespaces = namespaces
        self._host = host
        self._ssl_context = ssl_context
        self._authorize = authorize
        self._link_idle_seconds = link_idle_seconds
        self._protocols: set[Wire] = set()
        self._listeners: list[asyncio.Server] = []
        self._alarms: list[_Alarm] = []
        self._housekeeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: A port is taken.
        """
        try:
            self.plain_port = await self._listen(self.plain_port, None)
            if self._ssl_context is not None:
                self.tls_port = await self._listen(self.tls_port, self._ssl_context)
        except OSError:
            await self.stop()
            raise
        self._alarms = [_Alarm(namespace.broker.timers) for namespace in self._namespaces]
        self._housekeeper = asyncio.create_task(self._keep_house(), name="service-bus-housekeeping")

    async def stop(self) -> None:
        """Close everything. Entities and messages stay in their brokers."""
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._housekeeper
            self._housekeeper = None
        for alarm in self._alarms:
            alarm.cancel()
        for listener in self._listeners:
            listener.close()
        for connection in self.connections:
            connection.shut(AmqpError(CONNECTION_FORCED, "The service is stopping."))
        await self._wait_for_goodbyes()
        for listener in self._listeners:
            await listener.wait_closed()
        self._listeners.clear()

    # -- inspection and faults

    @property
    def connections(self) -> list[Connection]:
        """Connections that are open now."""
        return [protocol.connection for protocol in self._protocols]

    def links(self, entity: str | None = None, namespace: str | None = None) -> list[tuple[Session, Link]]:
        """Links to an entity, or to all, with the sessions that they belong to."""
        return [
            (session, link)
            for connection in self._of(namespace)
            for session in connection.sessions.values()
            for link in session.links.values()
            if isinstance(link, DeliveryLink | PublishLink) and (not entity or link.address.lower() == entity.lower())
        ]

    def close_links(self, entity: str | None = None, namespace: str | None = None) -> int:
        """Detach links as the service does when it moves an entity; return how many."""
        found = self.links(entity, namespace)
        for session, link in found:
            session.detach(link, EntityError(DETACH_FORCED, f"The link '{link.name}' is force detached."))
        return len(found)

    def drop_connections(self, namespace: str | None = None) -> int:
        """Cut connections without a word; return how many."""
        found = [one for one in self._protocols if one.connection in self._of(namespace)]
        for protocol in found:
            protocol.abort()
        return len(found)

    def _of(self, namespace: str | None) -> list[Connection]:
        return [
            one
            for one in self.connections
            if namespace is None or (one.namespace is not None and one.namespace.name.lower() == namespace.lower())
        ]

    # -- inside

    async def _listen(self, port: int, context: ssl.SSLContext | None) -> int:
        loop = asyncio.get_running_loop()
        if context is not None:
            _keep_tls_small()
        listener = await loop.create_server(self._protocol, self._host, port, ssl=context, backlog=1024)
        self._listeners.append(listener)
        chosen: int = listener.sockets[0].getsockname()[1]
        return chosen

    def _protocol(self) -> Wire:
        connect = functools.partial(Connection, self._namespaces, self._authorize, around=lambda: self.around)
        return Wire(connect, self._protocols, lambda: self.interfere)

    async def _wait_for_goodbyes(self) -> None:
        for timeout in (_STOP_SECONDS, None):
            going = list(self._protocols)
            if going:
                await asyncio.wait([one.gone for one in going], timeout=timeout)
            for protocol in list(self._protocols):
                protocol.abort()

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            now = time.monotonic()
            for connection in self.connections:
                connection.keep_alive(now)
            self._detach_idle(now)

    def _detach_idle(self, now: float) -> None:
        limit = self._link_idle_seconds
        for session, link in self.links() if limit is not None else []:
            if now - link.used > (limit or 0):
                text = (
                    f"The link '{link.name}' is force detached by the broker. Details: idle link tracker: link has "
                    f"been idle for {limit:.0f} s."
                )
                session.detach(link, EntityError(DETACH_FORCED, text))


def _keep_tls_small() -> None:
    """Lower asyncio's buffers for the whole process: there is no public setting, and none for one listener."""
    protocol: Any = asyncio.sslproto.SSLProtocol
    if hasattr(protocol, "max_size"):  # another version of Python only needs more memory
        protocol.max_size = min(protocol.max_size, TLS_READ_BYTES)


class Wire(asyncio.Protocol):
    """Ties a transport to a connection."""

    def __init__(
        self,
        connect: Callable[[Callable[[bytes], None], Callable[[], None]], Connection],
        open_ones: set[Wire],
        interference: Callable[[], Interfere | None],
    ) -> None:
        self.connection = connect(self._write, self._close)
        self._open_ones = open_ones
        self._interference = interference
        self._transport: asyncio.Transport | None = None
        self.gone = asyncio.get_running_loop().create_future()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open_ones.add(self)

    @override
    def data_received(self, data: bytes) -> None:
        if (interfere := self._interference()) is None:
            self.connection.feed(data)
        else:
            interfere(self, "IN", data, self.connection.feed)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._open_ones.discard(self)
        self.connection.lost()
        self.gone.set_result(None)

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if (interfere := self._interference()) is None:
            self._send(data)
        else:
            interfere(self, "OUT", data, self._send)

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


Interfere = Callable[[Wire, str, bytes, Callable[[bytes], None]], None]
"""Decides what becomes of bytes that came in or go out, by passing them on to the last argument or not."""


class _Alarm:
    """Runs a namespace's timers when they are due."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._handle: asyncio.TimerHandle | None = None
        self._due = float("inf")
        timers.wake = self._wake
        self._run()

    def cancel(self) -> None:
        """Run nothing more."""
        self._timers.wake = lambda due: None
        if self._handle is not None:
            self._handle.cancel()

    def _wake(self, due: float) -> None:
        if self._handle is not None:
            if self._due <= due:
                return
            self._handle.cancel()
        self._due = due
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(max(0.0, due - self._timers.now()), self._run)

    def _run(self) -> None:
        self._handle = None
        due = self._timers.run_due()
        if due is not None:
            self._wake(due)
