"""Runs one container's command: its mounts, its processes, its end. One guard per container.

A program, run by its path with nothing but the standard library, to start in milliseconds. It reads one JSON object
from its standard input and answers with one JSON line on the descriptor named by its argument: the command's pid, or
why it could not be started. `run` stays beside the command; `enter` joins a running container and becomes the
command (exec probes); `probe` says whether an isolation works here.

| signal to the guard | what it does |
|---|---|
| SIGTERM and others | passed on to the command, to nothing else, as a container runtime does |
| SIGUSR1, or death of the runner | SIGKILL to everything in the container |

Invariant: when the guard has ended, nothing of the container runs any more: it adopts orphans (subreaper), and if it
is killed itself, the kernel kills the command.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import sys
import time
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC = 1, 32, 4096, 16384
MS_UNBINDABLE, MS_PRIVATE = 1 << 17, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
# What a read-only remount must repeat, or the kernel refuses it in a user namespace (the numbers are statvfs's own).
KEPT_FLAGS = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME
KILL_ALL = signal.SIGUSR1
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2, signal.SIGWINCH)

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """The system call, with the target in the error."""
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _check(_libc.mount(*arguments), f"mount {source or kind} on {target}")


def isolate(kind: str) -> None:
    """Get a mount namespace (and a host name) of our own, by a user namespace where we are not root."""
    uid, gid = os.getuid(), os.getgid()
    flags = CLONE_NEWNS | CLONE_NEWUTS | (CLONE_NEWUSER if kind == "user" else 0)
    _check(_libc.unshare(flags), "unshare")
    if kind == "user":
        for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib costs start-up time
                file.write(content)
    mount("", "/", "", MS_REC | MS_PRIVATE)


def nearest_existing(path: str) -> str:
    """The path itself or its nearest ancestor that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)  # noqa: PTH120
    return path


def ancestors(path: str) -> list[str]:
    """The path and all above it, the root first."""
    found = [path]
    while path != "/":
        path = os.path.dirname(path)  # noqa: PTH120
        found.append(path)
    return found[::-1]


def resolve_targets(targets: list[str]) -> dict[str, str]:
    """Where each mount point really is: symbolic links followed, but not in what another mount will hide."""
    resolved: dict[str, str] = {}
    for target in sorted(set(targets)):
        above = next((t for t in sorted(resolved, reverse=True) if target.startswith(t.rstrip("/") + "/")), None)
        resolved[target] = os.path.realpath(target) if above is None else resolved[above] + target[len(above) :]
    return resolved


def opened_folders(places: list[str]) -> set[str]:
    """Folders that must be made anew, entry by entry, because a mount point is missing in them."""
    opened = {"/"}
    for place in places:
        if not os.path.lexists(place):
            opened.update(ancestors(nearest_existing(place)))
    return opened


def populate(root: str, folder: str, opened: set[str]) -> None:
    """Make a folder of the new root: bind what is in the old one, and go down where it must be made anew."""
    with os.scandir(folder) as entries:
        for entry in entries:
            target = root + entry.path
            try:
                if entry.is_symlink():
                    os.symlink(os.readlink(entry.path), target)  # noqa: PTH115, PTH211
                elif entry.path in opened:
                    os.mkdir(target)  # noqa: PTH102
                    os.chmod(target, stat.S_IMODE(entry.stat().st_mode))  # noqa: PTH101
                    populate(root, entry.path, opened)
                elif entry.path != root:
                    bind(entry.path, target)
            except FileNotFoundError:
                continue  # somebody removed it meanwhile, as in any /tmp


def bind(source: str, target: str) -> None:
    """Show a file or folder at another path, which is made if it is missing."""
    if os.path.isdir(source):  # noqa: PTH112
        os.makedirs(target, exist_ok=True)  # noqa: PTH103
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, "", MS_BIND | MS_REC)


def make_read_only(target: str) -> None:
    """Refuse writes below the mount; where the kernel does not let us, the mount stays as it is."""
    kept = os.statvfs(target).f_flag & KEPT_FLAGS
    try:
        mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | kept)
    except PermissionError:
        return


def build_root(root: str, mounts: list[dict[str, Any]]) -> None:
    """A root folder in memory that shows the machine's own files, and the volumes at their mount points."""
    mount("root", root, "tmpfs", 0, "mode=755")
    mount("", root, "", MS_UNBINDABLE)  # or a bind of a folder above would show the half-made root in itself
    resolved = resolve_targets([entry["target"] for entry in mounts])
    populate(root, "/", opened_folders(list(resolved.values())))
    for entry in sorted(mounts, key=lambda entry: str(entry["target"])):
        target = root + resolved[entry["target"]]
        bind(entry["source"], target)
        if entry.get("readOnly"):
            make_read_only(target)
    os.chdir(root)
    if _libc.syscall(SYS_PIVOT_ROOT.get(os.uname().machine, -1), b".", b".") == 0:
        _check(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    else:
        os.chroot(".")  # the old root is an initial RAM disk, which cannot be left otherwise
    os.chdir("/")


def descendants() -> list[int]:
    """Everything below this process; orphans are below it too, because it adopts them."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(name))
    found, queue = [], [os.getpid()]
    while queue:
        for child in children.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found


def kill_everything() -> None:
    """SIGKILL to all descendants, once."""
    for pid in descendants():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def reap_everything() -> None:
    """Kill what the command left behind, and wait until it is gone."""
    while True:
        kill_everything()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def become(spec: dict[str, Any]) -> None:
    """Turn this process into the command.

    Raises:
        OSError: it cannot be executed, or its working folder is missing.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.chdir(spec["cwd"])
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - this is what the program is for


def fork_command(spec: dict[str, Any]) -> int:
    """Start the command in a session of its own and return its pid once it has been executed.

    Raises:
        OSError: it could not be executed.
    """
    ours = os.getpid()
    reader, writer = os.pipe()  # closed by a successful exec
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() == ours:
                signal.pthread_sigmask(signal.SIG_SETMASK, [])
                become(spec)
        except OSError as error:
            place = error.filename if error.filename == spec["cwd"] else spec["argv"][0]
            os.write(writer, f"{place}: {error.strerror}".encode())
        finally:
            os._exit(127)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        failure = pipe.read()
    if failure:
        os.waitpid(child, 0)
        raise OSError(0, failure.decode(errors="replace"))
    return child


def watch(command: int) -> int:
    """Pass signals on until the command has ended; returns its exit code, 128 + n if signal n ended it."""
    signals = {signal.SIGCHLD, KILL_ALL, *FORWARDED}
    while True:
        number = signal.sigwait(signals)
        if number == KILL_ALL:
            kill_everything()
        elif number != signal.SIGCHLD:
            os.kill(command, number)
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == command:
                    code = os.waitstatus_to_exitcode(ended[1])
                    return code if code >= 0 else 128 - code
        except ChildProcessError:
            return 255  # cannot happen: only we reap


def run(spec: dict[str, Any], answer: int, runner: int) -> int:
    """Run a container to its end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, KILL_ALL, *FORWARDED})
    try:
        if spec["isolation"] != "none":
            isolate(spec["isolation"])
            _libc.sethostname(spec["hostname"].encode(), len(spec["hostname"].encode()))
            build_root(spec["root"], spec["mounts"])
        _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
        _check(_libc.prctl(PR_SET_PDEATHSIG, KILL_ALL, 0, 0, 0), "prctl")
        if os.getppid() != runner:
            return 255
        command = fork_command(spec)
    except OSError as error:
        os.write(answer, json.dumps({"error": error.strerror or str(error)}).encode())
        return 128
    os.write(answer, json.dumps({"pid": command}).encode())
    os.close(answer)
    code = watch(command)
    reap_everything()
    return code


def enter(spec: dict[str, Any]) -> None:
    """Join a container by the pid of its guard, and become the command there."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if spec["isolation"] != "none":
        kinds = ("user", "mnt") if spec["isolation"] == "user" else ("mnt",)
        # All are opened first: after joining the user namespace /proc of the others may be out of reach.
        descriptors = [os.open(f"/proc/{spec['pid']}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
        for kind, descriptor in zip(kinds, descriptors, strict=True):
            _check(_libc.setns(descriptor, 0), f"setns {kind}")
    become(spec)


def probe(spec: dict[str, Any]) -> int:
    """Whether this isolation works here: 0 if it does."""
    try:
        isolate(spec["isolation"])
        build_root(spec["root"], [{"source": "/proc", "target": "/a-folder-that-is-not-there/at-all"}])
    except OSError as error:
        sys.stderr.write(f"{error.strerror}\n")
        return 1
    return 0


def main() -> None:
    """Do what the first argument says, with the object on standard input."""
    what, answer, runner = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    spec = json.load(sys.stdin)
    if what == "run":
        os.set_inheritable(answer, False)
        sys.exit(run(spec, answer, runner))
    if what == "enter":
        try:
            enter(spec)
        except OSError as error:
            sys.exit(f"{error.strerror}")
    sys.exit(probe(spec))


if __name__ == "__main__":
    main()
