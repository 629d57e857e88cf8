"""Carries the connections of a program that runs as if it were in Azure to the local cloud, and back.

A process of its own outside of the program's network: it accepts on sockets that were made inside, which is what ties
the two networks together. Where the program expects Azure's names it ends TLS with a certificate for those names and
opens TLS to the part that answers; elsewhere bytes go through as they are. It understands no protocol above TLS.

``python -m workforce_local.interop.gateway PID SOCKET`` is started by `command`. It keeps nothing on disk. Invariant:
it ends when the program ends, however that happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workforce_local.identity.certificates import CertificateAuthority
from workforce_local.interop.places import Endpoint, Place

READY = b"ready"
_CHUNK = 64 << 10
_MESSAGE = 1 << 20
_SOCKETS = 250
"""The kernel passes no more than 253 in one message."""
_HANDSHAKE_SECONDS = 60.0


def hand_over(channel: socket.socket, authority: Path, served: Mapping[Place, socket.socket]) -> None:
    """Give a gateway the sockets that it shall serve, and say what it shall do with each."""
    plan = {"authority": str(authority), "places": [asdict(place) for place in served]}
    socket.send_fds(channel, [json.dumps(plan).encode()], [listener.fileno() for listener in served.values()])


def _take_over(channel: socket.socket) -> tuple[Path, dict[Place, socket.socket]] | None:
    message, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE, _SOCKETS)
    if not message:
        return None
    plan = json.loads(message)
    places = [
        Place(one["address"], one["port"], Endpoint(**one["target"]), tuple(one["names"])) for one in plan["places"]
    ]
    listeners = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    return Path(plan["authority"]), dict(zip(places, listeners, strict=True))


class Gateway:
    """Serves listening sockets. An asynchronous context manager would be no help: it lives as long as its process."""

    def __init__(self, authority: CertificateAuthority) -> None:
        self._authority = authority
        self._trust = ssl.create_default_context(cafile=str(authority.ca_file))
        self._servers: list[asyncio.Server] = []

    async def serve(self, place: Place, listener: socket.socket) -> None:
        """Accept connections for a place from now on."""
        context = self._authority.server_context(*place.names) if place.names else None
        secure = bool(place.names) and place.target.tls

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # A client that goes away, or a part that is not there, is a lost connection for the other and no more. The
            # end of this process cancels what is open, which asyncio's streams would print as an error of ours.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._carry(reader, writer, place.target, secure=secure)

        extra: dict[str, Any] = {"ssl_handshake_timeout": _HANDSHAKE_SECONDS} if context else {}
        self._servers.append(await asyncio.start_server(accept, sock=listener, ssl=context, limit=_CHUNK, **extra))

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Endpoint, *, secure: bool
    ) -> None:
        try:
            there, back = await asyncio.open_connection(
                target.host, target.port, ssl=self._trust if secure else None, limit=_CHUNK
            )
        except OSError:
            writer.transport.abort()
            raise
        try:
            await _exchange((reader, writer), (there, back))
        finally:
            for end in (writer, back):
                end.close()


_Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _exchange(one: _Side, other: _Side) -> None:
    """Copy both ways until both have ended; TLS knows no half of a connection, so there the first end is the end."""
    ways = [asyncio.create_task(_copy(one[0], other[1])), asyncio.create_task(_copy(other[0], one[1]))]
    whole = one[1].can_write_eof() and other[1].can_write_eof()
    try:
        await asyncio.wait(ways, return_when=asyncio.ALL_COMPLETED if whole else asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _run(pid: int, channel: socket.socket) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        program = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop.add_reader(program, ended.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    # Its end of the channel closes with the program, so this does not wait for ever.
    taken = await asyncio.to_thread(_take_over, channel)
    if taken is None:
        return
    authority, served = taken
    gateway = Gateway(CertificateAuthority(authority))
    for place, listener in served.items():
        await gateway.serve(place, listener)
    channel.sendall(READY)
    channel.close()
    await ended.wait()


def main() -> None:
    """Serve until the program has ended."""
    pid, descriptor = int(sys.argv[1]), int(sys.argv[2])
    # Nobody's child: the program must not find one that it did not start.
    if os.fork():
        os._exit(0)
    asyncio.run(_run(pid, socket.socket(fileno=descriptor)))


if __name__ == "__main__":
    main()
