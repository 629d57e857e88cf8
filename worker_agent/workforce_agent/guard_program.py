"""The guard: a small process that outlives its agent and leaves nothing of the agent's tasks behind.

It is no module of the running agent: the agent starts it as a program of its own, without site packages, and imports
from here only what both need to know of the process table. Standard input brings a line for each task that starts
(`+<session>`) or is over (`-<session>`), and `.` when the guard is not needed any more; standard output says `+` once
it guards. When the agent dies, whatever killed it, the guard sends SIGKILL to everything that the tasks started,
because the queue hands them out again.

What belongs to a task is found by its session, by the mark in its environment, by ancestry, among the orphans that were
the agent's children when the guard last looked, and, where cgroups can be written, by the agent's cgroup, which nothing
leaves.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

LOOK_SECONDS = 1.0
"""How often to look for orphans while tasks run."""
DISMISSED_SECONDS = 10.0
"""The pipe of a dying process closes before it is dead; one that lives on for so long has let go of this guard."""
KILL_SECONDS = 60.0
"""How long to try. What a SIGKILL does not end within a minute hangs in the kernel."""
STALE_SECONDS = 60.0
"""A cgroup without processes that is older than this is waiting for none."""
_ROUND = 0.05
_CGROUP_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_CGROUP_PREFIX = "workforce-agent-"


class Entry:
    """A line of the process table."""

    __slots__ = ("parent", "session", "start", "state")

    def __init__(self, state: str, parent: int, session: int, start: int) -> None:
        self.state = state
        self.parent = parent
        self.session = session
        self.start = start


def read(path: str) -> bytes:
    """A small file of /proc; nothing if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        found = b""
        while data := os.read(descriptor, 65536):
            found += data
    except OSError:
        return b""
    else:
        return found
    finally:
        os.close(descriptor)


def entry(pid: int) -> Entry | None:
    """What the table says of a process."""
    text = read(f"/proc/{pid}/stat")
    if not text:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    return Entry(fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]))


def process_table() -> dict[int, Entry]:
    """All processes that can be seen."""
    table = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are enough, and this runs often
        if name.isdigit() and (found := entry(int(name))) is not None:
            table[int(name)] = found
    return table


def descendants(table: dict[int, Entry], roots: set[int]) -> set[int]:
    """The roots that are there, and everything below them."""
    children: dict[int, list[int]] = {}
    for pid, found in table.items():
        children.setdefault(found.parent, []).append(pid)
    family: set[int] = set()
    waiting = [pid for pid in roots if pid in table]
    while waiting:
        pid = waiting.pop()
        if pid not in family:
            family.add(pid)
            waiting.extend(children.get(pid, ()))
    return family


def children_of(pid: int | str) -> list[int]:
    """The children of a process, where the kernel lists them."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - as above
    except OSError:
        return []
    return [int(child) for thread in threads for child in read(f"/proc/{pid}/task/{thread}/children").split()]


class Watch:
    """What the guard knows: the sessions of running tasks, and orphans that it has seen."""

    def __init__(self, agent: int, mark: str) -> None:
        self.sessions: set[int] = set()
        self._agent = agent
        self._mark = mark.encode()
        self._orphans: dict[int, int] = {}
        self._unread = b""

    def hear(self, data: bytes) -> bool:
        """Take what the agent says. False when it lets the guard go."""
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            if line == b".":
                return False
            session = int(line[1:])
            if line[:1] == b"+":
                self.sessions.add(session)
            else:
                self.sessions.discard(session)
        return True

    def look(self) -> None:
        """Remember the agent's children: after its death nobody can tell whose they were."""
        children = [pid for pid in children_of(self._agent) if pid != os.getpid()]
        self._orphans = {pid: found.start for pid in children if (found := entry(pid)) is not None}

    def left(self) -> list[int]:
        """What is left of the agent's tasks."""
        table = process_table()
        roots = {
            pid
            for pid, found in table.items()
            if found.session in self.sessions
            or self._orphans.get(pid) == found.start
            or self._mark in read(f"/proc/{pid}/environ")
        }
        family = descendants(table, roots) - {os.getpid(), self._agent}
        # What they started meanwhile stays theirs when its parent is gone.
        self._orphans.update((pid, table[pid].start) for pid in family)
        return [pid for pid in family if table[pid].state not in "ZX"]


class Cgroup:
    """The cgroup that the agent was put into, if cgroups can be written."""

    def __init__(self, agent: int, mark: str) -> None:
        self._path = ""
        # Our own is the agent's, even if that is dead by now.
        for line in read("/proc/self/cgroup").decode().splitlines():
            if line.startswith("0::"):
                self._path = self._enter(agent, line[3:].rstrip("/"), f"/{_CGROUP_PREFIX}{mark}")

    def kill(self) -> None:
        """SIGKILL to everything in it, in one step."""
        if self._path:
            _write(f"{self._path}/cgroup.kill", "1")

    def remove(self) -> None:
        """Remove it, which fails while something is in it."""
        with contextlib.suppress(OSError):  # it is in use; an empty cgroup costs nothing
            if self._path:
                os.rmdir(self._path)  # noqa: PTH106 - this program does without pathlib: it starts on every node

    @staticmethod
    def _enter(agent: int, here: str, name: str) -> str:
        for root in _CGROUP_ROOTS:
            above = f"{root}{here.removesuffix(name)}"
            if here.endswith(name):
                # A guard before this one has put the agent there, and so this one, which must get out again.
                if _write(f"{above}/cgroup.procs", str(os.getpid())):
                    return above + name
                continue
            _remove_stale(above)
            with contextlib.suppress(OSError):
                os.mkdir(above + name, 0o755)  # noqa: PTH102 - as above
                if _write(f"{above}{name}/cgroup.procs", str(agent)):
                    return above + name
                os.rmdir(above + name)  # noqa: PTH106 - as above
        return ""


def _remove_stale(folder: str) -> None:
    """Remove the cgroups of agents whose guard was killed with them."""
    with contextlib.suppress(OSError):
        for found in os.scandir(folder):
            if found.name.startswith(_CGROUP_PREFIX) and time.time() - found.stat().st_mtime > STALE_SECONDS:
                with contextlib.suppress(OSError):  # in use
                    os.rmdir(found.path)  # noqa: PTH106 - as above


def _write(path: str, text: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True


def follow(watch: Watch, agent_exit: int) -> bool:
    """Listen until the agent is dead. False if it let the guard go."""
    deadline: float | None = None
    sources = [0, agent_exit]
    while deadline is None or time.monotonic() < deadline:
        ready, _, _ = select.select(sources, [], [], LOOK_SECONDS if watch.sessions or deadline else None)
        if agent_exit in ready:
            watch.hear(_rest())
            return True
        if 0 in ready:
            data = os.read(0, 65536)
            if not watch.hear(data):
                return False
            if not data:
                sources.remove(0)
                deadline = time.monotonic() + DISMISSED_SECONDS
        else:
            watch.look()
    return False


def _rest() -> bytes:
    """What the agent said last."""
    found = b""
    while select.select([0], [], [], 0)[0] and (data := os.read(0, 65536)):
        found += data
    return found


def _say_ready() -> None:
    """Tell the agent, which waits for it before it runs a task, and let go of standard output."""
    with contextlib.suppress(BrokenPipeError):  # the agent has just died, which is what is looked for next
        os.write(1, b"+")
    nothing = os.open("/dev/null", os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def end_all(watch: Watch) -> None:
    """SIGKILL to everything that is left, until nothing is."""
    deadline = time.monotonic() + KILL_SECONDS
    while (left := watch.left()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(OSError):  # gone meanwhile, or not ours to kill
                os.kill(pid, signal.SIGKILL)
        time.sleep(_ROUND)


def main(agent: int, mark: str, *, own_cgroup: bool) -> None:
    """Guard one agent to its end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # whoever ends the agent politely must not end its guard
    os.chdir("/")  # a folder that somebody may want to unmount or remove
    watch = Watch(agent, mark)
    cgroup = Cgroup(agent, mark) if own_cgroup else None
    try:
        agent_exit = os.pidfd_open(agent)
    except ProcessLookupError:
        watch.hear(_rest())
    else:
        _say_ready()
        if not follow(watch, agent_exit):
            return
    if cgroup is not None:
        cgroup.kill()
    end_all(watch)
    if cgroup is not None:
        cgroup.remove()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], own_cgroup=sys.argv[3] == "cgroup")
