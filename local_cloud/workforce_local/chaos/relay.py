"""A TCP relay that chooses anew for each connection where it leads.

It looks into nothing, TLS included, which makes it cheap enough to be always there. Invariant: bytes are passed on in
order and completely, as long as both ends live; when one end goes, the other one does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from typing_extensions import override

_QUIET_SECONDS = 0.05
_PATIENCE_SECONDS = 1.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Address:
    """Where to connect to."""

    host: str
    port: int


class Relay:
    """Listens on one port. An asynchronous context manager.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        choose: Where the next connection leads.
    """

    def __init__(self, host: str, port: int, choose: Callable[[], Address]) -> None:
        self.port = port
        self._host = host
        self._choose = choose
        self._fronts: set[_Front] = set()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._front, self._host, self.port, backlog=1024)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()
            for front in list(self._fronts):
                front.abort()
            await self._listener.wait_closed()

    async def move(self) -> None:
        """Make the clients connect again, because `choose` chooses differently now; returns when the old ones went.

        A connection is cut when nothing has moved on it for a moment, as a server does that closes idle connections;
        one that is never quiet is cut after a second.
        """
        fronts = set(self._fronts)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while fronts:
            now = time.monotonic()
            for front in fronts:
                if (now - front.moved > _QUIET_SECONDS and not front.waiting) or now > deadline:
                    front.abort()
            await asyncio.sleep(_POLL_SECONDS)
            fronts &= self._fronts

    def _front(self) -> _Front:
        return _Front(self._choose(), self._fronts)


class _End(asyncio.Protocol):
    """One end of a relayed connection."""

    transport: asyncio.Transport | None = None
    other: _End | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    @override
    def eof_received(self) -> None:
        return None  # Closes this end, and thereby the other one.

    @override
    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    @override
    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Front(_End):
    """The client's end; it connects to the server when the client has come."""

    def __init__(self, address: Address, fronts: set[_Front]) -> None:
        self._address = address
        self._fronts = fronts
        self._connecting: asyncio.Task[None] | None = None
        self.moved = time.monotonic()
        self.waiting = False
        """Whether the client has sent the last word."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._fronts.add(self)
        assert self.transport is not None
        # What the client sends meanwhile waits in its socket.
        self.transport.pause_reading()
        self._connecting = asyncio.create_task(self._connect(), name="relay-connects")

    async def _connect(self) -> None:
        assert self.transport is not None
        back = _Back(self)
        try:
            await asyncio.get_running_loop().create_connection(lambda: back, self._address.host, self._address.port)
        except OSError:
            self.transport.abort()  # Nobody is there: the client's connection is refused a little late.
            return
        self.other = back
        if self.transport.is_closing():
            assert back.transport is not None
            back.transport.close()
        else:
            self.transport.resume_reading()

    @override
    def data_received(self, data: bytes) -> None:
        self.moved = time.monotonic()
        self.waiting = True
        super().data_received(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._fronts.discard(self)
        if self._connecting is not None and not self._connecting.done() and self.other is None:
            self._connecting.cancel()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport is not None:
            self.transport.abort()


class _Back(_End):
    """The server's end."""

    def __init__(self, front: _Front) -> None:
        self.other = self._front = front

    @override
    def data_received(self, data: bytes) -> None:
        self._front.moved = time.monotonic()
        self._front.waiting = False
        super().data_received(data)
