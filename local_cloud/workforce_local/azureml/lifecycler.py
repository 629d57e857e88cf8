"""The small process between the local Azure and one job, as AzureML's own life cycle manager is on a node.

Run by its path, not as a module: ``python -ISs lifecycler.py STDOUT STDERR COMMAND``. It starts the command with
``bash -c`` in a session of its own, reads orders from its standard input (``term`` sends SIGTERM to the job's session,
``freeze`` stops all its processes until ``thaw``, ``kill`` ends everything) and writes events to its standard output,
one JSON object per line. Standard library only.

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
        self._stopping = False
        self._code: int | None = None
        self._woken, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Signals end a poll by way of this pipe; the handlers themselves do next to nothing.
        signal.set_wakeup_fd(waking)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        with Path(stdout).open("ab") as out, Path(stderr).open("ab") as err:
            self._job = subprocess.Popen(
                ["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        self._tell(event="started", pid=self._job.pid)

    def run(self) -> None:
        """Until the job's first process has ended or is to end; then end the rest and tell how it went."""
        orders = sys.stdin.fileno()
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.register(orders, select.POLLIN)
        while self._code is None and not self._stopping:
            ready = [found for found, _ in poll.poll()]
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()
            if orders in ready:
                self._obey(os.read(orders, 4096))
        self._end_all()
        code = 128 + signal.SIGKILL if self._code is None else self._code
        self._tell(event="ended", code=code if code >= 0 else 128 - code)

    def _obey(self, orders: bytes) -> None:
        if not orders or b"kill" in orders:
            self._stopping = True
        elif b"freeze" in orders:
            send(descendants(os.getpid()), signal.SIGSTOP)
        elif b"thaw" in orders:
            send(descendants(os.getpid()), signal.SIGCONT)
        elif b"term" in orders:
            send(session_members(self._job.pid), signal.SIGTERM)

    def _on_stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _reap(self) -> bool:
        """Collect those that have ended, orphans too. Returns whether there are children left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._job.pid:
                self._code = os.waitstatus_to_exitcode(status)

    def _end_all(self) -> None:
        """Kill until nothing is left: a process may start another one between the look and the signal."""
        deadline = time.monotonic() + _KILL_PATIENCE_SECONDS
        while self._reap() and time.monotonic() < deadline:
            send(descendants(os.getpid()), signal.SIGKILL)
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
