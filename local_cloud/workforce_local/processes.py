"""Processes: who they are beyond a pid, whether they live, how they are ended, and how they end with their parent.

Reads Linux's /proc and signals through pid file descriptors. It decides nothing: what may be ended is for the caller
to prove, by an ``Identity`` written down when the process was started or by the tag in its environment.

Invariant: no signal goes to a process that merely inherited the number of another one.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STATE_VARIABLE = "WORKFORCE_LOCAL_STATE"
"""Tag in the environment of every process of one local cloud; its value is the absolute path of the state folder."""

_PROC = Path("/proc")
_GUARD = Path(__file__).with_name("guard.py")


@functools.cache
def boot_id() -> str:
    """What tells this run of the machine from all others."""
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state (the third) on; a name may hold blanks and parentheses."""
    try:
        return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


@dataclass(frozen=True)
class Identity:
    """One process for ever: a pid alone is given to another process sooner or later."""

    pid: int
    started: int
    """Clock ticks between the machine's start and the process's."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Who has this pid now, or None if nobody has (a zombie is nobody)."""
        fields = _stat(pid)
        return cls(pid, int(fields[19]), boot_id()) if fields and fields[0] not in "ZX" else None

    @classmethod
    def myself(cls) -> Identity:
        """Who this process is."""
        identity = cls.of(os.getpid())
        assert identity is not None
        return identity

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return Identity.of(self.pid) == self

    def open(self) -> int | None:
        """A descriptor that means this process and no later one, or None if it has ended."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive:
            return descriptor
        os.close(descriptor)
        return None


def parent(pid: int) -> int:
    """The parent's pid, 0 if there is none or no such process."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def lineage(pid: int) -> set[int]:
    """The process and all its ancestors."""
    found: set[int] = set()
    while pid and pid not in found:
        found.add(pid)
        pid = parent(pid)
    return found


def environment(pid: int) -> Mapping[str, str]:
    """The environment that a process was started with; empty where it cannot be read."""
    try:
        raw = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition("=") for entry in raw.decode("utf-8", errors="surrogateescape").split("\0"))
    return {name: value for name, separator, value in pairs if separator}


def tagged(state_dir: Path) -> list[Identity]:
    """Processes of the local cloud in this state folder: all that carry its tag, less ourselves and our ancestors."""
    ours = lineage(os.getpid())
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and (pid := int(entry.name)) not in ours:
            identity = Identity.of(pid)
            if identity and environment(pid).get(STATE_VARIABLE) == str(state_dir) and identity.alive:
                found.append(identity)
    return found


def end(processes: Iterable[Identity], *, grace: float) -> list[Identity]:
    """SIGTERM, after the grace period SIGKILL, and wait until all have gone.

    Returns:
        Those that could not be ended: processes of another user, or stuck in the kernel.
    """
    with contextlib.ExitStack() as stack:
        waiting: dict[int, Identity] = {}
        for identity in processes:
            descriptor = identity.open()
            if descriptor is not None:
                stack.callback(os.close, descriptor)
                waiting[descriptor] = identity
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
            for descriptor in waiting:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    signal.pidfd_send_signal(descriptor, number)
            for descriptor in _ended(waiting, patience):
                del waiting[descriptor]
        return list(waiting.values())


def _ended(descriptors: Iterable[int], patience: float) -> list[int]:
    """Which processes have ended, at the latest after so many seconds; a pid descriptor is readable from then on."""
    poll = select.poll()
    left = set(descriptors)
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    ended: list[int] = []
    deadline = time.monotonic() + patience
    while left and (remaining := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(remaining * 1000):
            poll.unregister(descriptor)
            left.discard(descriptor)
            ended.append(descriptor)
    return ended


def guarded(command: Sequence[str], *, number: signal.Signals = signal.SIGTERM) -> list[str]:
    """The command in a form that gets the signal when this process dies; start it from the main thread."""
    return [sys.executable, "-ISs", str(_GUARD), str(os.getpid()), str(int(number)), "--", *command]
