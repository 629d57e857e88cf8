"""A task's processes: one shell in a session of its own, its output, and everything that it started.

No process of a task outlives it. The session is found by its id, whatever process groups `set -o monitor` made in it; a
child that left the session is found by ancestry, because this process is made the reaper of orphans below it, and by a
mark in its environment. There is no `preexec_fn`: it would halve the rate of starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

RUN_VARIABLE = "WORKFORCE_TASK_RUN"
"""Marks every process of a run: a task id would not do, because equal tasks have equal ids and may run side by side."""

READ_SIZE = 65536
SURVIVOR_GRACE = 5.0
"""Seconds that processes left behind by a task which ended by itself have after SIGTERM."""
_POLL = 0.05
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper(*, on: bool = True) -> bool:
    """Have orphans below this process become its children. False where the system cannot."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


class Output(Protocol):
    """Where a task's output goes."""

    @property
    def full(self) -> bool:
        """Whether more would have to wait."""

    def feed(self, data: bytes) -> None:
        """Take a piece of output."""


class TaskProcess:
    """One run of a shell command.

    Args:
        command: For `bash -c`.
        env: The whole environment.
        cwd: Working directory, the agent's own by default.
        output: Given each piece of output as it comes, stdout and stderr together. While it is full nothing is read,
            so that a slow reader slows this task and nothing else.
    """

    def __init__(self, command: str, env: Mapping[str, str], cwd: str | None, output: Output) -> None:
        self._mark = uuid.uuid4().hex
        self._there_before = frozenset(_orphans())
        self._output = output
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            env={**env, RUN_VARIABLE: self._mark},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._killer: asyncio.Task[None] | None = None
        self._paused: asyncio.TimerHandle | None = None
        self.told_to_stop = False
        _running[self.pid] = self
        self._watch_exit()
        self._watch_output()

    async def wait(self) -> int:
        """Wait until nothing of the task is left, and return the exit code of its shell."""
        try:
            await self._exited
            if self._has_survivors():
                if not self.told_to_stop:
                    # It ended by itself and left something behind, which gets a short notice and not the kill timeout.
                    self._signal_all(signal.SIGTERM)
                    self._kill_after(SURVIVOR_GRACE)
                await self._until_none_is_left()
            await self._drain_output()
            return int(self._process.returncode)
        finally:
            self._clean_up()

    def terminate(self, kill_after: float | None) -> None:
        """SIGTERM to every process of the task, SIGKILL to what is left after `kill_after` seconds (None: never)."""
        if not self._exited.done():
            self.told_to_stop = True
        self._signal_all(signal.SIGTERM)
        if kill_after is not None:
            self._kill_after(kill_after)

    def kill(self) -> None:
        """SIGKILL to every process of the task."""
        if not self._exited.done():
            self.told_to_stop = True
        # And again, because a process may start another between the look and the signal.
        self._signal_all(signal.SIGKILL)
        self._kill_after(0)

    def _watch_exit(self) -> None:
        loop = asyncio.get_running_loop()
        descriptor = os.pidfd_open(self.pid)

        def exited() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._process.wait()
            if not self._exited.done():
                self._exited.set_result(None)

        loop.add_reader(descriptor, exited)

    def _watch_output(self) -> None:
        assert self._process.stdout is not None  # asked for with PIPE
        loop = asyncio.get_running_loop()
        descriptor = self._process.stdout.fileno()
        os.set_blocking(descriptor, False)

        def readable() -> None:
            if self._output.full:
                loop.remove_reader(descriptor)
                self._paused = loop.call_later(_POLL, loop.add_reader, descriptor, readable)
                return
            try:
                data = os.read(descriptor, READ_SIZE)
            except BlockingIOError:
                return
            if data:
                self._output.feed(data)
                return
            loop.remove_reader(descriptor)
            if not self._closed.done():
                self._closed.set_result(None)

        loop.add_reader(descriptor, readable)

    async def _drain_output(self) -> None:
        # Everybody who could write is gone; what is still in the pipe is read now.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed, SURVIVOR_GRACE)

    def _kill_after(self, seconds: float) -> None:
        if self._killer is not None:
            self._killer.cancel()

        async def later() -> None:
            await asyncio.sleep(seconds)
            while True:  # until wait() sees that none is left, and cancels this
                self._signal_all(signal.SIGKILL)
                await asyncio.sleep(1.0)

        self._killer = asyncio.create_task(later(), name=f"kill-{self.pid}")

    async def _until_none_is_left(self) -> None:
        pause = _POLL
        while self._has_survivors():
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def _has_survivors(self) -> bool:
        reap_orphans()
        # What a task left behind is below a child of ours that is no task: usually there is none, and this is cheap.
        if _SEES_ORPHANS and self._exited.done() and not _orphans():
            return False
        return bool(self._members())

    def _members(self) -> list[int]:
        table = _process_table()
        session = {pid for pid, entry in table.items() if entry.session == self.pid}
        family = _descendants(table, [self.pid, *session])
        family |= _descendants(table, [pid for pid in _orphans() if pid not in family and self._left_behind(pid)])
        return [pid for pid in family | session if pid in table and table[pid].state != "Z"]

    def _left_behind(self, orphan: int) -> bool:
        """Whether an orphan is of this run: by its mark, or, without one, because there is no other run."""
        if orphan in self._there_before:
            return False
        environment = _environment(orphan)
        return self._mark.encode() in environment or (
            len(_running) == 1 and RUN_VARIABLE.encode() not in environment and self.pid in _running
        )

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._members():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _clean_up(self) -> None:
        if self._killer is not None:
            self._killer.cancel()
        loop = asyncio.get_running_loop()
        if self._paused is not None:
            self._paused.cancel()
        if self._process.stdout is not None:
            loop.remove_reader(self._process.stdout.fileno())
            self._process.stdout.close()
        if self._exited.done():
            _running.pop(self.pid, None)


_running: dict[int, TaskProcess] = {}
"""The runs of this process by the process id of their shell: those must not be taken for orphans."""

_SEES_ORPHANS = Path("/proc/self/task", str(os.getpid()), "children").exists()
"""Whether the kernel lists a process's children; if not, every look goes through the whole process table."""


class _Entry:
    """A line of the process table."""

    __slots__ = ("parent", "session", "state")

    def __init__(self, state: str, parent: int, session: int) -> None:
        self.state = state
        self.parent = parent
        self.session = session


def _process_table() -> dict[int, _Entry]:
    table = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are enough, and this runs often
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                text = Path("/proc", name, "stat").read_text()
                fields = text[text.rindex(")") + 2 :].split()
                table[int(name)] = _Entry(fields[0], int(fields[1]), int(fields[3]))
    return table


def _descendants(table: Mapping[int, _Entry], roots: Iterable[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, entry in table.items():
        children.setdefault(entry.parent, []).append(pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid in table]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


def _environment(pid: int) -> bytes:
    try:
        return Path("/proc", str(pid), "environ").read_bytes()
    except OSError:
        return b""


def _orphans() -> list[int]:
    """Children of this process outside its session that are no task's shell: what tasks left behind."""
    found: list[int] = []
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208 - as above
        with contextlib.suppress(OSError, ValueError):
            found += [int(pid) for pid in Path("/proc/self/task", thread, "children").read_text().split()]
    # A child within the session is a program that a library started and waits for itself.
    return [pid for pid in found if pid not in _running and _session(pid) not in {None, os.getsid(0)}]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def reap_orphans() -> None:
    """Collect orphans that have ended, so that they do not stay as zombies."""
    for pid in _orphans():
        with contextlib.suppress(OSError):
            os.waitpid(pid, os.WNOHANG)
