"""Becomes another program that is sent a signal when its parent dies, however the parent died.

Run by its path, not as a module, to start in milliseconds: ``python -ISs guard.py PARENT SIGNAL -- COMMAND...``. It
replaces itself by the command, so pid, output and exit code are the command's own. It is not a supervisor: it neither
restarts nor waits. The kernel ties the signal to the parent's *thread*: start guarded processes from one that lives as
long as they do, the main thread.

Invariant: a parent that died before the kernel was asked is noticed too, and then the command never starts.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
"""``prctl`` option of Linux: the signal that this process gets when its parent ends; it survives an exec."""


def main(arguments: list[str]) -> None:
    """Ask the kernel for the signal, then become the command."""
    parent, number, separator, *command = arguments
    if separator != "--" or not command:
        sys.exit("guard: usage: guard.py PARENT SIGNAL -- COMMAND...")
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        sys.exit(f"guard: prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        sys.exit("guard: the parent is gone already")
    try:
        os.execvp(command[0], command)  # noqa: S606 - replacing itself is the point
    except OSError as error:
        sys.exit(f"guard: {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
