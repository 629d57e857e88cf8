"""The instance metadata service over HTTP: plain, on a link-local address, and never through a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from jobq.http import AnswerLost, DirectClient, NotSent
from workforce_agent.preemption import HEADERS, Fetch, MetadataUnavailable

MAX_BYTES = 1024 * 1024


@asynccontextmanager
async def open_metadata(base_url: str) -> AsyncIterator[Fetch]:
    """Open a connection to the metadata service at an address."""
    parts = urlsplit(base_url)
    # The caller bounds each call.
    client = DirectClient(parts.hostname or "", parts.port or 80, parts.netloc, None, answer_seconds=None)

    async def fetch(path: str, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                answer = await client.request("GET", parts.path.rstrip("/") + path, HEADERS)
        except (NotSent, AnswerLost, TimeoutError) as error:
            raise MetadataUnavailable(f"{path}: {type(error).__name__}: {error}") from error
        if answer.status != 200:
            raise MetadataUnavailable(f"{path}: status {answer.status}")
        return answer.body[:MAX_BYTES]

    try:
        yield fetch
    finally:
        await client.close()
