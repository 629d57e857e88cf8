"""Everything that a task started: how to find it, signal it, and see that nothing is left.

A family is the session of its first process, whatever process groups `set -o monitor` made in it, and all descendants.
A child that left the session is found by ancestry, because this process is made the reaper of orphans below it, and by
a mark in its environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import uuid
from collections.abc import Mapping
from pathlib import Path

from workforce_agent import guard
from workforce_agent.guard_program import children_of, descendants, process_table, read

RUN_VARIABLE = "WORKFORCE_TASK_RUN"
"""Marks every process of a run: a task id would not do, because equal tasks have equal ids and may run side by side."""

_POLL = 0.05
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper(*, on: bool = True) -> bool:
    """Have orphans below this process become its children. False where the system cannot."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


class Family:
    """The processes of one run, or of one process that runs one task after the other.

    Create it before its first process, so that children which were there already are left alone.
    """

    def __init__(self) -> None:
        self._mark = f"{uuid.uuid4().hex}{guard.AGENT_MARK}"
        self._there_before = frozenset(_orphans())
        self._guard: guard.Guard | None = None
        self._killer: asyncio.Task[None] | None = None
        self.pid = 0

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """The environment of the first process."""
        return {**env, RUN_VARIABLE: self._mark}

    def begin(self, pid: int, guarded_by: guard.Guard | None) -> None:
        """The first process was started, as the leader of a session."""
        self.pid = pid
        _families[pid] = self
        self._guard = guarded_by
        if guarded_by is not None:
            guarded_by.watch(pid)

    def end(self) -> None:
        """The first process was waited for, and nothing is left."""
        self.spare()
        if _families.pop(self.pid, None) is not None and self._guard is not None:
            self._guard.forget(self.pid)

    def members(self) -> list[int]:
        """Every living process of the family."""
        table = process_table()
        session = {pid for pid, found in table.items() if found.session == self.pid}
        family = descendants(table, {self.pid, *session})
        family |= descendants(table, {pid for pid in _orphans() if pid not in family and self._left_behind(pid)})
        return [pid for pid in family | session if pid in table and table[pid].state != "Z"]

    def has_survivors(self) -> bool:
        """Whether something is left, once the first process has ended."""
        # What a task left behind is below a child of ours that is no task: usually there is none, and this is cheap.
        # The kernel's list may miss one while another exits, hence the second look.
        if not reap_orphans() and _SEES_ORPHANS and not _orphans():
            return False
        return bool(self.members())

    async def gone(self) -> None:
        """Wait until nothing is left of a family whose first process has ended."""
        pause = _POLL
        while self.has_survivors():
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every member."""
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def kill_after(self, seconds: float) -> None:
        """SIGKILL to every member after a while, again and again until `spare` or `end`."""
        self.spare()

        async def later() -> None:
            await asyncio.sleep(seconds)
            while True:
                self.signal(signal.SIGKILL)
                await asyncio.sleep(1.0)

        self._killer = asyncio.create_task(later(), name=f"kill-{self.pid}")

    def spare(self) -> None:
        """Forget the kill that was to come."""
        if self._killer is not None:
            self._killer.cancel()
            self._killer = None

    def _left_behind(self, orphan: int) -> bool:
        """Whether an orphan is of this family: by its mark, or, without one, because there is no other family."""
        if orphan in self._there_before:
            return False
        environment = read(f"/proc/{orphan}/environ")
        return self._mark.encode() in environment or (
            len(_families) == 1 and RUN_VARIABLE.encode() not in environment and self.pid in _families
        )


_families: dict[int, Family] = {}
"""The families of this process by their first process: those must not be taken for orphans."""

_SEES_ORPHANS = Path("/proc/self/task", str(os.getpid()), "children").exists()
"""Whether the kernel lists a process's children; if not, every look goes through the whole process table."""


def _orphans() -> list[int]:
    """Children of this process outside its session that are no task's first process: what tasks left behind."""
    # A child within the session is a program that a library started and waits for itself.
    known = _families.keys() | guard.helpers
    return [pid for pid in children_of("self") if pid not in known and _session(pid) not in {None, os.getsid(0)}]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def reap_orphans() -> bool:
    """Collect orphans that have ended, so that they do not stay as zombies. Returns whether there were orphans."""
    found = _orphans()
    for pid in found:
        with contextlib.suppress(OSError):
            os.waitpid(pid, os.WNOHANG)
    return bool(found)
