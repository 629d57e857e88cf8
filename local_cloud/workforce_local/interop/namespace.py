"""Gives this very process a network and a file system view of its own, in which Azure's addresses are its own.

By Linux's user, network and mount namespaces, which an ordinary user may make where the machine's owner has not
forbidden it; ``python -m workforce_local.interop.namespace`` says whether he has. What is left when the process has
ended is nothing: the kernel takes all of it back.

Invariant: outside of this process and its later children nothing changes, and from inside there is no way out of the
machine: the only interface is the loopback.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_IFF_UP = 0x1
_IFREQ_BYTES = 40

_SWITCHED_OFF = "; unprivileged user namespaces are switched off here (see sysctl user.max_user_namespaces)"
_HINTS = {
    ("unshare", errno.EPERM): _SWITCHED_OFF,
    ("unshare", errno.ENOSPC): _SWITCHED_OFF,
    ("unshare", errno.EINVAL): "; this process has more than one thread",
}
_PROBE_SECONDS = 30.0
_BACKLOG = 512


class NamespaceError(RuntimeError):
    """This machine does not allow it. The message says what was refused."""


def enter(addresses: Iterable[str] = ()) -> None:
    """Put this process, which must have one thread only, into namespaces of its own.

    Args:
        addresses: Addresses outside of 127.0.0.0/8 that shall be this machine's.

    Raises:
        NamespaceError: The machine forbids it.
    """
    user, group = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWNS)
    # The same numbers inside as outside: files stay the user's own, and what he may do stays what he may do.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")
    _call("mount", b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    _set_up_loopback(addresses)


def hide(folder: Path) -> None:
    """See an empty folder in memory instead of this one, which is gone with this process and its children."""
    _call("mount", b"tmpfs", os.fsencode(folder.resolve()), b"tmpfs", ctypes.c_ulong(0), b"mode=0700")


def overlay(seen: Path, content: Path) -> None:
    """See another file's content in this file's place."""
    _call("mount", os.fsencode(content), os.fsencode(seen.resolve()), None, ctypes.c_ulong(_MS_BIND), None)


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens in this process's network, also once another process has it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(_BACKLOG)
    return listener


def why_not() -> str | None:
    """Why this machine does not allow it, or None if it does."""
    command = [sys.executable, "-ISs", __file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PROBE_SECONDS)
    return None if done.returncode == 0 else done.stderr.strip() or f"the attempt ended with {done.returncode}"


def _set_up_loopback(addresses: Iterable[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _request(control, _SIOCSIFFLAGS, "lo", struct.pack("=h", _flags(control) | _IFF_UP))
        for number, address in enumerate(addresses, start=1):
            alias = f"lo:{number}"
            _request(control, _SIOCSIFADDR, alias, _socket_address(address))
            _request(control, _SIOCSIFNETMASK, alias, _socket_address("255.255.255.255"))


def _flags(control: socket.socket) -> int:
    found: int = struct.unpack_from("=h", _request(control, _SIOCGIFFLAGS, "lo", b""), 16)[0]
    return found


def _socket_address(address: str) -> bytes:
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def _request(control: socket.socket, number: int, interface: str, content: bytes) -> bytes:
    packed = struct.pack("16s", interface.encode()) + content
    try:
        return fcntl.ioctl(control.fileno(), number, packed.ljust(_IFREQ_BYTES, b"\0"))
    except OSError as error:
        raise NamespaceError(f"the network interface {interface} cannot be set up: {error.strerror}") from error


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) == 0:
        return
    number = ctypes.get_errno()
    raise NamespaceError(f"{name}: {os.strerror(number)}{_HINTS.get((name, number), '')}")


def _write(path: str, content: str) -> None:
    try:
        Path(path).write_text(content, encoding="ascii")
    except OSError as error:
        raise NamespaceError(f"{path}: {error.strerror}") from error


def _probe() -> None:
    try:
        enter(["169.254.169.254"])
        overlay(Path("/etc/hosts"), Path(os.devnull))
        hide(Path("/tmp"))  # noqa: S108 - any folder would do
        listen("169.254.169.254", 80).close()
    except (NamespaceError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _probe()
