"""Runs the resolving program when it is needed, and ends it when it has been idle for a while.

One request at a time. A process that is late, dies or is interrupted is killed and started anew for the next request:
its answers could no longer be matched to requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from workforce_operator.domain.errors import Unavailable

MODULE = "workforce_operator.adapters.azureml.resolve_child"
ANSWER_SECONDS = 90.0
IDLE_SECONDS = 10.0
"""It takes 100 MB and a second to start: templates come in bursts, and a second is little beside a hire."""
_LINE_LIMIT = 16 * 2**20
_KEPT_LINES = 20
_PASSED_ON = (
    "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "VIRTUAL_ENV", "PYTHONPATH",
    "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
"""Variables that the program gets. Not among them: credentials, and azure-ai-ml's own, which redirect it silently."""


class ChildProcess:
    """One line in, one line out."""

    def __init__(
        self,
        command: Sequence[str] = (sys.executable, "-P", "-m", MODULE),
        *,
        answer_seconds: float = ANSWER_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._command = command
        self._answer_seconds = answer_seconds
        self._idle_seconds = idle_seconds
        self._lock = asyncio.Lock()
        self._process: Process | None = None
        self._stderr: deque[str] = deque(maxlen=_KEPT_LINES)
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            Unavailable: The program did not start, died, or did not answer in time.
        """
        async with self._lock:
            try:
                async with asyncio.timeout(self._answer_seconds):
                    return await self._exchange(request)
            except TimeoutError as error:
                await self._kill()
                raise Unavailable(f"azure-ai-ml did not answer within {self._answer_seconds:.0f} s") from error
            except BaseException:
                await self._kill()
                raise

    async def close(self) -> None:
        """End the program. A later request starts it again."""
        async with self._lock:
            await self._kill()

    async def _exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process or await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
            self._restart_idle_timer()
            return dict(json.loads(line))
        except (OSError, ValueError) as error:
            await asyncio.wait(self._tasks[:1], timeout=1)
            said = " | ".join(self._stderr) or "nothing on standard error"
            raise Unavailable(f"the program that runs azure-ai-ml has failed: {said}") from error

    async def _start(self) -> Process:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, cwd="/", limit=_LINE_LIMIT
            )
        except OSError as error:
            raise Unavailable(f"cannot start {self._command[0]}: {error}") from error
        self._process = process
        self._stderr.clear()
        self._tasks = [asyncio.create_task(self._read_stderr(process))]
        return process

    async def _read_stderr(self, process: Process) -> None:
        assert process.stderr is not None
        while chunk := await process.stderr.read(4096):
            self._stderr.extend(chunk.decode(errors="replace").splitlines())

    def _restart_idle_timer(self) -> None:
        for task in self._tasks[1:]:
            task.cancel()
        self._tasks[1:] = [asyncio.create_task(self._end_when_idle())]

    async def _end_when_idle(self) -> None:
        await asyncio.sleep(self._idle_seconds)
        async with self._lock:
            await self._kill()

    async def _kill(self) -> None:
        process, self._process = self._process, None
        tasks, self._tasks = self._tasks, []
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        for task in tasks:
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.gather(*(t for t in tasks if t is not asyncio.current_task()), return_exceptions=True)
