"""The agent's side of its guard: starts it, tells it what runs, and starts it again if somebody ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import Self

import structlog

from workforce_agent import guard_program

AGENT_MARK = f"@{uuid.uuid4().hex}"
"""Part of the mark in the environment of everything that this agent starts for a task."""

RESTART_SECONDS = 1.0
READY_SECONDS = 10.0
"""A guard is a bare interpreter: ready in tens of milliseconds, and in seconds on a node that is out of breath."""

helpers: set[int] = set()
"""Children of this process that are no task's and must not be taken for what a task left behind."""

_log = structlog.get_logger()


class Guard:
    """A guard process of this agent, started at once. A context manager, for as long as its event loop runs.

    Args:
        own_cgroup: Whether to put this process into a cgroup of its own, where that is possible.
    """

    def __init__(self, *, own_cgroup: bool) -> None:
        self._own_cgroup = own_cgroup
        self._sessions: set[int] = set()
        self.pid: int | None = None
        self._pipe = -1
        self._exit = -1
        self._starting = -1
        self._ready = asyncio.Event()
        self._again: asyncio.TimerHandle | None = None
        self._start()

    def __enter__(self) -> Self:
        self._watch()
        return self

    def __exit__(self, *_: object) -> None:
        # It stays until this process has ended: until then something could still go wrong.
        if self._again is not None:
            self._again.cancel()
        self._unwatch()

    async def ready(self, seconds: float = READY_SECONDS) -> bool:
        """Wait until the guard that was started guards: a task from before that could leave something behind.

        Args:
            seconds: How long to wait. Work goes on without it: a guard is there for an agent that is killed, too.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            _log.warning("guard_is_late", after=seconds, effect="what a task leaves behind may outlive a killed agent")
            return False
        return self.pid is not None

    def watch(self, session: int) -> None:
        """A task's process was started, in a session of its own."""
        self._sessions.add(session)
        self._say(b"+%d\n" % session)

    def forget(self, session: int) -> None:
        """Nothing of that task is left; its number may belong to anybody from now on."""
        self._sessions.discard(session)
        self._say(b"-%d\n" % session)

    def dismiss(self) -> None:
        """End the guard; this process lives on without one."""
        self._say(b".\n")
        self.__exit__()
        if self.pid is not None:
            os.close(self._pipe)
            os.waitpid(self.pid, 0)
            helpers.discard(self.pid)
            self.pid = None

    def _start(self) -> None:
        ours, self._pipe = os.pipe()
        self._starting, theirs = os.pipe()
        program = [sys.executable, "-I", "-S", str(Path(guard_program.__file__))]
        files = [
            (os.POSIX_SPAWN_DUP2, ours, 0),
            (os.POSIX_SPAWN_DUP2, theirs, 1),
            (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
        ]
        try:
            # Not a Popen object, which would complain that the guard outlives it.
            self.pid = os.posix_spawn(
                sys.executable,
                [*program, str(os.getpid()), AGENT_MARK, "cgroup" if self._own_cgroup else "-"],
                {},
                file_actions=files,
                setsid=True,
            )
        except OSError as error:
            os.close(self._pipe)
            self._starting = _close(self._starting)
            self._ready.set()
            _log.warning("no_guard", error=str(error), effect="tasks may outlive an agent that is killed")
            return
        finally:
            os.close(ours)
            os.close(theirs)
        # A guard that does not listen must not stop the agent.
        os.set_blocking(self._pipe, False)
        helpers.add(self.pid)
        self._exit = os.pidfd_open(self.pid)
        for session in sorted(self._sessions):
            self._say(b"+%d\n" % session)

    def _watch(self) -> None:
        if self.pid is None:
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._exit, self._ended)
        loop.add_reader(self._starting, self._started)

    def _start_again(self) -> None:
        self._start()
        self._watch()

    def _say(self, line: bytes) -> None:
        if self.pid is None:
            return
        try:
            os.write(self._pipe, line)
        except BlockingIOError:
            os.kill(self.pid, signal.SIGKILL)  # stuck: its end starts another one
        except BrokenPipeError:
            pass  # it is dead, and about to be replaced

    def _started(self) -> None:
        # It has said that it guards, or has died without a word and is about to be replaced: a dying process lets go of
        # its pipes before anybody is told of its death.
        guards = bool(os.read(self._starting, 1))
        self._starting = _close(self._starting)
        if guards:
            self._ready.set()

    def _ended(self) -> None:
        assert self.pid is not None  # it has just ended
        self._unwatch()
        os.close(self._pipe)
        _, status = os.waitpid(self.pid, 0)
        exit_code = os.waitstatus_to_exitcode(status)
        _log.warning("guard_ended", exit_code=exit_code, restart_in=RESTART_SECONDS)
        helpers.discard(self.pid)
        self.pid = None
        self._again = asyncio.get_running_loop().call_later(RESTART_SECONDS, self._start_again)

    def _unwatch(self) -> None:
        self._exit = _close(self._exit)
        self._starting = _close(self._starting)


def _close(descriptor: int) -> int:
    """Close a descriptor that the loop reads, if it is open. Returns what stands for none."""
    if descriptor >= 0:
        # The loop may be gone by now, and its readers with it.
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
    return -1
