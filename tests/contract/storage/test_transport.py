"""The transport that all Azure SDK clients share: how long it keeps a connection that nobody uses."""

import asyncio
from contextlib import suppress

import pytest

from jobq.cloud import PUBLIC_CLOUDS
from jobq.connect import open_transport


@pytest.mark.parametrize(("keep_seconds", "expected"), [(60.0, 1), (0.0, 2)])
async def test_an_idle_connection_is_kept_for_the_next_request_as_long_as_was_asked(keep_seconds, expected):
    opened = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_transport(PUBLIC_CLOUDS["AzureCloud"], keep_seconds=keep_seconds) as transport:
            for _ in range(2):
                async with transport.session.get(f"http://127.0.0.1:{port}/") as received:
                    assert received.status == 200
    assert opened == expected
