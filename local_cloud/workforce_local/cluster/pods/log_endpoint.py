"""Container logs for `kubectl logs`: the one call of a kubelet's HTTPS API that is answered here.

It serves files and runs nothing. Only the API server gets an answer: it shows a certificate of the authority in our
kubeconfig file.

Invariant: a name in a request never becomes a path; only logs of Pods that this runner runs are read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import trustme
from aiohttp import web

from workforce_local.cluster.pods.container import log_file
from workforce_local.cluster.pods.pod import LocalPod
from workforce_local.cluster.pods.status import Running

_POLL = 0.2
_CHUNK = 1 << 16

FindPod = Callable[[str, str], LocalPod | None]
"""The running Pod with this namespace and name."""


class LogEndpoint:
    """An HTTPS server on loopback."""

    def __init__(self, find_pod: FindPod, client_authority: str) -> None:
        self._find_pod = find_pod
        self._client_authority = client_authority
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> int:
        """Listen on a free port and return it."""
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert(address).configure_cert(context)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self._client_authority)
        site = web.TCPSite(self._runner, address, 0, ssl_context=context)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """End all requests."""
        if self._runner:
            await self._runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        pod = self._find_pod(request.match_info["namespace"], request.match_info["pod"])
        container = request.match_info["container"]
        state = pod.container_state(container) if pod else None
        if pod is None or state is None:
            raise web.HTTPNotFound(text="this node runs no such container\n")
        run = state.restarts
        if request.query.get("previous") == "true":
            run -= 1
        path = log_file(pod.logs / container, run)
        if not path.is_file():
            raise web.HTTPNotFound(text=f"there is no log of run {run} of container {container}\n")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        limit = int(request.query.get("limitBytes") or 0)
        follow = request.query.get("follow") == "true"
        start = _tail_offset(path, request.query.get("tailLines"))

        def alive() -> bool:
            return follow and state.restarts == run and isinstance(state.state, Running)

        await _copy(path, response, start=start, limit=limit, alive=alive)
        await response.write_eof()
        return response


def _tail_offset(path: Path, lines: str | None) -> int:
    """Where the last lines begin."""
    if lines is None:
        return 0
    if int(lines) == 0:
        return path.stat().st_size
    content = path.read_bytes()
    end = len(content) - 1 if content.endswith(b"\n") else len(content)
    for _ in range(int(lines)):
        end = content.rfind(b"\n", 0, end)
        if end < 0:
            return 0
    return end + 1


async def _copy(path: Path, response: web.StreamResponse, *, start: int, limit: int, alive: Callable[[], bool]) -> None:
    """Send the file, and what is written to it as long as the run lives."""
    left = limit or None
    with path.open("rb") as file:
        file.seek(start)
        while True:
            last = not alive()  # asked before reading, so that the last lines of a run are not missed
            while chunk := file.read(_CHUNK if left is None else min(_CHUNK, left)):
                await response.write(chunk)
                left = None if left is None else left - len(chunk)
            if last or left == 0:
                return
            await asyncio.sleep(_POLL)
