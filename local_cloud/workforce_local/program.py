"""A part of the local cloud that is one program: started under the guard, ready when it says so, ended by SIGTERM.

The program says that it is ready by writing a file that its command names, or by a line of its log; what else the file
says is for the caller to read. It is not for programs that answer instead of writing: those have parts of their own.

Invariant: no start returns before this very process, not an earlier one, has said so.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workforce_local.processes import Identity, guarded
from workforce_local.state import Process
from workforce_local.supervisor import PartError, Started

READY_SECONDS = 90.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.03
_LAST_WORDS = 1500

Describe = Callable[[Process], Started]
"""Makes of the running process what people, shells and the status command are told; called when it is ready."""


class Program:
    """One program as a component.

    Args:
        name: Its name for people; also that of its log.
        command: What to run.
        log: Where its output goes; what an earlier run left there is lost.
        ready_file: The file that it writes when it is ready.
        ready_words: What it prints when it is ready, if it writes no file.
        environment: Variables added to ours.
        describe: What to tell of it; by default that it runs.
        ready_seconds: How long it may take to be ready.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        ready_file: Path | None = None,
        ready_words: str = "",
        environment: Mapping[str, str] | None = None,
        describe: Describe = lambda process: Started((process,)),
        ready_seconds: float = READY_SECONDS,
    ) -> None:
        self.name = name
        self._command = command
        self._ready_file = ready_file
        self._ready_words = ready_words
        self._log = log
        self._environment = environment or {}
        self._describe = describe
        self._ready_seconds = ready_seconds
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> Started:
        """Start it and wait until it says that it is ready.

        Raises:
            PartError: It ended, or was not ready in time; the message holds its last words.
        """
        if self._ready_file:
            self._ready_file.unlink(missing_ok=True)
            self._ready_file.parent.mkdir(parents=True, exist_ok=True)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - the guard needs this thread, and it takes 2 ms
                guarded(self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,  # a Ctrl-C of the terminal is the supervisor's to handle
            )
        deadline = time.monotonic() + self._ready_seconds
        while not self._is_ready():
            code = self._process.poll()
            if code is not None:
                raise PartError(f"it ended with {code}; its log: {self._log}\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise PartError(f"not ready after {self._ready_seconds:.0f} s; its log: {self._log}")
            await asyncio.sleep(_POLL_SECONDS)
        identity = Identity.of(self._process.pid)
        if identity is None:
            raise PartError(f"it ended at once; its log: {self._log}\n{self._last_words()}")
        return self._describe(Process(name=self.name, identity=identity, log=self._log))

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if it does not end."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    def _is_ready(self) -> bool:
        if self._ready_file:
            return self._ready_file.exists()
        return self._ready_words in self._log.read_text(encoding="utf-8", errors="replace")

    def _last_words(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:].rstrip()
