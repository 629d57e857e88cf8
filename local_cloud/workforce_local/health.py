"""Whether the parts of a local cloud answer, asked from outside as a client would.

A process that exists is not yet healthy: a stopped one still has its sockets. Any HTTP answer below 500 counts, because
most parts rightly refuse a caller without a token. It does not check identities: that is what the clients' TLS is for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp

from workforce_local.state import Process

TIMEOUT_SECONDS = 3.0


async def faults(processes: Sequence[Process]) -> list[str]:
    """For each process what is wrong with it, or an empty text; all are asked at once."""
    return list(await asyncio.gather(*(fault(process) for process in processes)))


async def fault(process: Process) -> str:
    """What is wrong with a process, in a few words, or an empty text."""
    if not process.alive:
        return "has ended"
    target = process.probe or process.address
    if not target:
        return ""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await (_ask(target) if target.startswith("http") else _connect(target))
    except TimeoutError:
        return f"no answer within {TIMEOUT_SECONDS:.0f} s"
    except (OSError, aiohttp.ClientError) as error:
        return f"no answer: {error}"


async def _ask(url: str) -> str:
    # The certificate is of the local authority and says nothing about health.
    async with aiohttp.ClientSession() as session, session.get(url, ssl=False, allow_redirects=False) as answer:
        return "" if answer.status < 500 else f"answers {answer.status}"


async def _connect(target: str) -> str:
    address = urlsplit(target)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""
