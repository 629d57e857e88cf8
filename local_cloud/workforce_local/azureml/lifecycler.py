"""The small process between the local Azure and one job, as AzureML's own life cycle manager is on a node.

Run by its path, not as a module: ``python -ISs lifecycler.py STDOUT STDERR COMMAND``. It starts the command with
``bash -c`` in a session of its own, reads orders from its standard input (``term`` sends SIGTERM to the job's session,
``kill`` ends everything) and writes events to its standard output, one JSON object per line. Standard library only.

Invariant: nothing of a job outlives it. Processes that left the job's session are its children all the same (it is a
subreaper), and the end of its input, which is also the death of the local Azure, however that died, ends them all.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.02
_KILL_PATIENCE_SECONDS = 10.0


def stat(pid: int) -> tuple[int, int] | None:
    """Parent and session of a process, None if it has ended (a zombie has)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent, _group, session = text.rpartition(")")[2].split()[:4]
    return None if state in "ZX" else (int(parent), int(session))


def processes() -> dict[int, tuple[int, int]]:
    """Parent and session of every process that runs."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return {pid: found for pid in pids if (found := stat(pid)) is not None}


def session_members(session: int) -> list[int]:
    """The processes of a session."""
    return [pid for pid, (_, of) in processes().items() if of == session]


def descendants(root: int) -> list[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in processes().items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def send(pids: list[int], number: signal.Signals) -> None:
    """Signal them; those that have ended meanwhile do not matter."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def kill_session(session: int) -> None:
    """End what is left of a job whose life cycle manager was killed."""
    send(session_members(session), signal.SIGKILL)


class Lifecycler:
    """One job's processes, from the first to the last."""

    def __init__(self, stdout: str, stderr: str, command: str) -> None:
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            sys.exit(f"lifecycler: prctl: {os.strerror(ctypes.get_errno())}")
        self._ended = False
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        with Path(stdout).open("ab") as out, Path(stderr).open("ab") as err:
            self._job = subprocess.Popen(
                ["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        self._tell(event="started", pid=self._job.pid)

    def run(self) -> None:
        """Until the job's first process has ended or is to end; then end the rest and tell how it went."""
        descriptor = os.pidfd_open(self._job.pid)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(sys.stdin.fileno(), select.POLLIN)
        while not self._ended:
            ready = [found for found, _ in poll.poll()]
            if descriptor in ready:
                break
            if sys.stdin.fileno() in ready:
                self._obey(os.read(sys.stdin.fileno(), 4096))
        self._end_all()
        code = self._job.wait()
        self._tell(event="ended", code=code if code >= 0 else 128 - code)

    def _obey(self, orders: bytes) -> None:
        if not orders or b"kill" in orders:
            self._ended = True
        elif b"term" in orders:
            send(session_members(self._job.pid), signal.SIGTERM)

    def _on_signal(self, number: int, frame: object) -> None:
        self._ended = True
        # The poll is interrupted but started again: only an ended process makes it return.
        send([self._job.pid], signal.SIGKILL)

    def _end_all(self) -> None:
        """Kill until nothing is left: a process may start another one between the look and the signal."""
        deadline = time.monotonic() + _KILL_PATIENCE_SECONDS
        while (left := descendants(os.getpid())) and time.monotonic() < deadline:
            send(left, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)

    @staticmethod
    def _tell(**event: object) -> None:
        try:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # Nobody listens any more, and the end of the input has told us already. Python's own flush at exit would
            # complain once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    Lifecycler(*sys.argv[1:]).run()
