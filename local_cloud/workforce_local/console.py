"""Tells people how the local cloud goes: live on a terminal, plain lines elsewhere. All lines fit 80 columns.

Paths and addresses are never wrapped or cut, so that they can be copied; long ones stand on lines of their own. What
draws on terminals is imported for terminals only: a detached start has none, and imports are a good part of it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workforce_local.state import HOME_VARIABLE, Process, Record, StateFolder, default_folder
from workforce_local.supervisor import Started

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


def shown(path: Path) -> str:
    """A path as short as it can be said."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Rows as aligned columns."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def export_lines(folder: StateFolder, record: Record) -> list[str]:
    """What a shell evaluates to use this cloud, from whatever folder it goes to.

    The tag of our processes is not among it: a shell that carried it would be ended as one of ours.
    """
    exports = {HOME_VARIABLE: str(folder.root), **record.exports}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    # Our own programs come last: they are found, and the shell keeps its own python.
    path = [*map(str, record.path_folders), "$PATH", str(Path(sys.executable).parent)]
    return [*lines, f'export PATH="{":".join(path)}"']


def program() -> str:
    """How a person calls this program from here."""
    return "workforce" if shutil.which("workforce") else shown(Path(sys.executable).with_name("workforce"))


def next_steps(folder: StateFolder, record: Record) -> list[tuple[str, str]]:
    """Commands worth trying now, and what they do."""
    local = f"{program()} local"
    steps = [(f'eval "$({local} env)"', "let this shell use it")]
    if "KUBECONFIG" in record.exports:
        steps.append(("kubectl get nodes", "a real Kubernetes, without containers"))
    steps += [(f"{local} status", "what runs, and whether it is healthy")]
    if record.processes:
        steps += [(f"{local} logs -f {record.processes[-1].name}", "what a part prints")]
    steps += [(f"{local} down", "end everything")]
    if StateFolder.at(default_folder()) != folder:
        steps.insert(0, (f"export {HOME_VARIABLE}={shlex.quote(str(folder.root))}", ""))
    return steps


class ConsoleReporter:
    """Writes to standard output.

    Args:
        folder: The state folder, for what is said at the end of the start.
        attached: Whether Ctrl-C ends the local cloud, which is worth saying.
        console: Where to write; by default standard output, with what it can show.
    """

    def __init__(self, folder: StateFolder, *, attached: bool, console: Console | None = None) -> None:
        self._folder = folder
        self._attached = attached
        self._console = console or _terminal()
        self._status: Status | None = None
        self._waiting: list[str] = []

    def starting(self, name: str) -> None:
        """A part is being started."""
        self._waiting.append(name)
        self._spin()

    def started(self, name: str, started: Started, seconds: float) -> None:
        """A part can be used."""
        self._waiting.remove(name)
        self._line(f"started {name} in {seconds:.1f} s")
        self._spin()

    def ready(self, record: Record, seconds: float) -> None:
        """All parts can be used: what runs where, and what to try next."""
        self._waiting.clear()
        self._spin()
        self._line(f"ready after {seconds:.1f} s; state and logs are in {shown(self._folder.root)}")
        self._line("")
        for line in table((process.name, process.address) for process in record.processes):
            self._line(f"  {line}")
        self._line("")
        self._line("Try next:" if not self._attached else "Try next, in another terminal (Ctrl-C here ends it):")
        for line in table(next_steps(self._folder, record)):
            self._line(f"  {line}")

    def stopping(self, reason: str) -> None:
        """All parts are being ended."""
        self._waiting = ["everything to end"]
        self._line(f"stopping: {reason}")
        self._spin()

    def note(self, text: str) -> None:
        """Anything else worth a line."""
        self._line(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._waiting.clear()
        self._spin()

    def _line(self, text: str) -> None:
        if self._console is None:
            click.echo(text)
        else:
            self._console.print(text, markup=False)

    def _spin(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
        if self._waiting and self._console is not None and self._console.is_terminal:
            self._status = self._console.status(f"waiting for {', '.join(self._waiting)}")
            self._status.start()


def _terminal() -> Console | None:
    """The terminal that standard output is, if it is one."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console  # noqa: PLC0415 - see the module

    return Console(highlight=False, soft_wrap=True, markup=False)


def status_lines(record: Record, faults: Mapping[Process, str]) -> list[str]:
    """Each process with its pid, address and health, in the order of their start."""
    header = ("PART", "PID", "HEALTH", "ADDRESS")
    rows = [
        (process.name, str(process.identity.pid), faults[process] or "healthy", process.address or "-")
        for process in record.processes
    ]
    return table([header, *rows])
