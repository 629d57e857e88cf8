"""The instance metadata service over HTTP: plain, on a link-local address, and never through a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from workforce_agent.preemption import HEADERS, Fetch, MetadataUnavailable

MAX_BYTES = 1024 * 1024


@asynccontextmanager
async def open_metadata(base_url: str) -> AsyncIterator[Fetch]:
    """Open a session with the metadata service at an address."""
    async with aiohttp.ClientSession(headers=HEADERS) as session:

        async def fetch(path: str, seconds: float) -> bytes:
            try:
                timeout = aiohttp.ClientTimeout(total=seconds)
                async with session.get(base_url + path, timeout=timeout, allow_redirects=False) as answer:
                    if answer.status != 200:
                        raise MetadataUnavailable(f"{path}: status {answer.status}")
                    return await answer.content.read(MAX_BYTES)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise MetadataUnavailable(f"{path}: {type(error).__name__}: {error}") from error

        yield fetch
