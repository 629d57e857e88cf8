"""What the storage service takes: as many pushes as it can answer, from a program that does nothing else.

`limit.py QUEUE CONNECTION_STRING TASKS CONNECTIONS` signs all requests, and then writes them to open connections, the
next one as soon as the last was answered. It prints the seconds, and those of processor time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from typing_extensions import override

from jobq import JobQ
from jobq.backends.storage_rest import (
    CONTENT_TYPE,
    VERSION,
    Request,
    http_date,
    message_xml,
    read_connection_string,
)
from jobq.task import Task

LAST_CHUNK = b"\r\n0\r\n\r\n"


async def requests(name: str, text: str, tasks: int) -> list[bytes]:
    """The pushes of tasks, as they are sent."""
    account = read_connection_string(text)
    parts = urlsplit(account.url)
    path, query = f"{parts.path}/{name}/messages", {"messagettl": "-1"}
    made = []
    for number in range(tasks):
        body = message_xml(Task.new({"cmd": f"echo {number}"}, num_retries=1).encode()).encode()
        headers = {"x-ms-date": http_date(time.time()), "x-ms-version": VERSION, "Content-Type": CONTENT_TYPE}
        more, _ = await account.identity.sign(Request("POST", path, query, len(body), headers))
        lines = [f"POST {path}?messagettl=-1 HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
        lines += [f"{key}: {value}" for key, value in {**headers, **more}.items()]
        made.append("\r\n".join([*lines, "", ""]).encode() + body)
    return made


class Connection(asyncio.Protocol):
    """Writes a request, waits for its answer, and writes the next one."""

    def __init__(self, left: Iterator[bytes]) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = left
        self._answer = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._write()

    @override
    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._answer.endswith(LAST_CHUNK):
            if not self._answer.startswith(b"HTTP/1.1 201"):
                self.over.set_exception(ValueError(self._answer[:200].decode()))
                return
            self._answer = b""
            self._write()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(exc or EOFError("the service closed the connection"))

    def _write(self) -> None:
        if (data := next(self._left, None)) is not None:
            self._transport.write(data)
        else:
            self.over.set_result(None)


async def main(name: str, text: str, tasks: int, connections: int) -> None:
    """Push all of them."""
    async with JobQ.from_connection_string(name, connection_string=text):
        left = iter(await requests(name, text, tasks))
    where = urlsplit(read_connection_string(text).url)
    loop = asyncio.get_running_loop()
    begun, used = time.perf_counter(), time.process_time()
    opened = [
        await loop.create_connection(lambda: Connection(left), where.hostname, where.port) for _ in range(connections)
    ]
    await asyncio.gather(*(connection.over for _, connection in opened))
    print(time.perf_counter() - begun, time.process_time() - used)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
