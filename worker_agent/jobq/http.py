"""A small HTTP/1.1 client for services that are asked thousands of times: one origin, kept connections, whole bodies.

It exists because importing a general client costs more than a worker's start may take, and each of its requests more
processor time than the service's (`bench/worker`). It knows what such a service needs and no more: no redirects, no
cookies, no compression, nothing repeated. It says one thing that general clients hide: whether a request that failed
can have reached the service. Where the environment names a proxy, aiohttp does the same work behind the same protocol.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from typing_extensions import override

CONNECT_SECONDS = 20.0
ANSWER_SECONDS = 60.0
EYEBALLS_SECONDS = 0.25
"""How long one of a host's addresses has before the next is tried beside it."""
QUIET_SECONDS = 1.0
"""Before a connection that was quiet for longer is used again, the loop may see that the peer has closed it."""
IDLE_SECONDS = 15.0
"""A connection that was quiet for longer is not used again: the peer may be about to close it. One that says how long
it waits (`Keep-Alive: timeout=5`) is believed for half of that: a busy machine notices late that it was closed."""
HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024 * 1024
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
_WITHOUT_BODY = frozenset({204, 304})


class NotSent(Exception):
    """No connection was made: the service has not heard of the request."""


class AnswerLost(Exception):
    """The request was sent, at least in part, and no whole answer came: nobody knows what the service did."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient(Protocol):
    """Asks one origin."""

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send one request and return the answer, whatever its status.

        Args:
            method: In capitals.
            target: Path and query as sent.
            headers: Without `Host` and `Content-Length`.
            body: The whole body.

        Raises:
            NotSent: See there.
            AnswerLost: See there.
        """

    async def close(self) -> None:
        """Close what is open."""


def open_http(origin: str, ca_file: Path | None, environ: Mapping[str, str] = os.environ) -> HttpClient:
    """A client for an origin (`https://host` or `http://host:port`).

    Args:
        origin: Scheme, host and port.
        ca_file: The certificate authorities to trust instead of the public ones.
        environ: Says whether there is a proxy.
    """
    parts = urlsplit(origin)
    if any(environ.get(name) or environ.get(name.upper()) for name in _PROXY_VARIABLES):
        from jobq.http_proxied import ProxiedClient  # noqa: PLC0415 - few need it, and it is slow to import

        return ProxiedClient(origin, ca_file)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    return DirectClient(parts.hostname or "", port, parts.netloc, trust(ca_file) if secure else None)


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Whom to trust: the public authorities, or those of a file."""
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)


class DirectClient:
    """Asks an origin over connections of its own.

    Args:
        host: Name or address.
        port: Port.
        authority: Value of the `Host` header.
        context: For TLS; None for none.
        answer_seconds: How long an answer may take; None for ever.
    """

    def __init__(
        self,
        host: str,
        port: int,
        authority: str,
        context: ssl.SSLContext | None,
        answer_seconds: float | None = ANSWER_SECONDS,
    ) -> None:
        self._where = (host, port, context)
        self._authority = authority
        self._answer_seconds = answer_seconds
        self._kept: list[_Connection] = []
        self._closed = False

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """See the protocol."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method in {"POST", "PUT"}:
            lines.append(f"Content-Length: {len(body)}")
        try:
            data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
        except UnicodeError as error:
            raise NotSent(f"the request to {self._authority} cannot be written: {error}") from error
        connection = await self._idle() or await self._connect()
        try:
            async with asyncio.timeout(self._answer_seconds):
                answer = await connection.ask(data)
        except TimeoutError:
            connection.abort()
            raise AnswerLost(f"no answer in {self._answer_seconds} s") from None
        except BaseException:
            connection.abort()  # half an answer may still come
            raise
        if connection.reusable and not self._closed:
            self._kept.append(connection)
        else:
            connection.abort()
        return answer

    async def close(self) -> None:
        """See the protocol."""
        self._closed = True
        kept, self._kept = self._kept, []
        for connection in kept:
            connection.close()
        if kept:
            await asyncio.sleep(0)  # lets the transports see it

    async def _idle(self) -> _Connection | None:
        """The connection that was used last: the others may age and go."""
        while self._kept:
            connection = self._kept.pop()
            quiet = asyncio.get_running_loop().time() - connection.used
            if quiet > QUIET_SECONDS:
                await asyncio.sleep(0)  # the loop looks at its sockets,
                await asyncio.sleep(0)  # and hears what it saw
            if connection.reusable and quiet < connection.patience:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> _Connection:
        host, port, context = self._where
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    _Connection, host, port, ssl=context, happy_eyeballs_delay=EYEBALLS_SECONDS
                )
        except TimeoutError:
            raise NotSent(f"no connection to {self._authority} in {CONNECT_SECONDS:.0f} s") from None
        except (OSError, UnicodeError) as error:
            raise NotSent(f"no connection to {self._authority}: {error}") from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.used = 0.0
        self.patience = IDLE_SECONDS
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._parser = _Parser()
        self._lost = False
        self._keep = True

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent on it."""
        return self._keep and not self._lost and not self._transport.is_closing()

    async def ask(self, data: bytes) -> Answer:
        """Send a request and wait for its answer."""
        self._waiter = self._loop.create_future()
        if self._lost:
            raise AnswerLost("the connection was closed")
        self._transport.write(data)
        try:
            return await self._waiter
        finally:
            self._waiter = None
            self.used = self._loop.time()

    def abort(self) -> None:
        """Let go of it at once."""
        self._keep = False
        self._transport.abort()

    def close(self) -> None:
        """Let go of it."""
        self._keep = False
        self._transport.close()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.abort()  # nobody has asked
            return
        try:
            answer = self._parser.feed(data)
        except ValueError as error:
            self._fail(f"the answer cannot be read: {error}")
            self.abort()
            return
        self._done(answer)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._done(self._parser.end() if exc is None else None)
        self._fail(f"the connection was lost: {exc}" if exc else "the connection was closed without an answer")

    def _done(self, answer: Answer | None) -> None:
        if answer is not None and self._waiter is not None and not self._waiter.done():
            self._keep = self._keep and self._parser.keep
            if (words := answer.headers.get("keep-alive")) is not None:
                self.patience = _patience(words)
            self._parser = _Parser()
            self._waiter.set_result(answer)

    def _fail(self, words: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(AnswerLost(words))


def _patience(keep_alive: str) -> float:
    """How long a connection may be quiet, by its peer's header."""
    seconds = keep_alive.lower().partition("timeout=")[2].partition(",")[0].strip()
    return min(IDLE_SECONDS, int(seconds) / 2) if seconds.isdecimal() and len(seconds) < 10 else IDLE_SECONDS


class _Parser:
    """Reads one answer as it comes. Raises `ValueError` for what is none."""

    def __init__(self) -> None:
        self.keep = True
        self._data = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: Callable[[], bytes | None] | None = None
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> Answer | None:
        """Take bytes; the answer, once it is whole."""
        self._data += data
        while self._body is None:
            if not self._read_head():
                return None
        if len(self._data) > BODY_LIMIT:
            raise ValueError("it is too large")
        body = self._body()
        if body is None:
            return None
        if self._data:
            raise ValueError("something follows it")
        return Answer(self._status, self._headers, body)

    def end(self) -> Answer | None:
        """The peer has closed: the answer, if that is how it ends."""
        if self._body is None or self._body != self._until_closed:
            return None
        return Answer(self._status, self._headers, bytes(self._data))

    def _read_head(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > HEAD_LIMIT:
                raise ValueError("its head is too large")
            return False
        first, *lines = self._data[:end].decode("latin-1").split("\r\n")
        del self._data[: end + 4]
        version, _, rest = first.partition(" ")
        status = rest[:3]
        if not (version.startswith("HTTP/1.") and status.isdigit()):
            raise ValueError("it is no HTTP/1.1")
        self._status = int(status)
        if self._status < 200:
            return True  # says only that more will come
        for line in lines:
            name, _, value = line.partition(":")
            self._headers[name.strip().lower()] = value.strip()
        self.keep = version == "HTTP/1.1" and self._headers.get("connection", "").lower() != "close"
        self._body = self._choose_body()
        return True

    def _choose_body(self) -> Callable[[], bytes | None]:
        if self._status in _WITHOUT_BODY:
            return lambda: b""
        if self._headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked
        if (length := self._headers.get("content-length")) is not None:
            if not length.isdigit() or int(length) > BODY_LIMIT:
                raise ValueError(f"its length is {length[:20]!r}")
            size = int(length)
            return lambda: self._take(size)
        self.keep = False
        return self._until_closed

    def _until_closed(self) -> bytes | None:
        return None

    def _take(self, size: int) -> bytes | None:
        if len(self._data) < size:
            return None
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken

    def _chunked(self) -> bytes | None:
        while (end := self._data.find(b"\r\n")) >= 0:
            size = int(bytes(self._data[:end]).split(b";")[0], 16)
            if not 0 <= size <= BODY_LIMIT:
                raise ValueError("a chunk is too large")
            if size == 0:
                return self._last_chunk()
            if len(self._data) < end + 2 + size + 2:
                return None
            self._chunks.append(bytes(self._data[end + 2 : end + 2 + size]))
            del self._data[: end + 2 + size + 2]
        return None

    def _last_chunk(self) -> bytes | None:
        if self._data.startswith(b"0") and (end := self._data.find(b"\r\n\r\n")) >= 0:
            del self._data[: end + 4]
            return b"".join(self._chunks)
        return None
