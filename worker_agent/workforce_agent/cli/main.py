"""The group of verbs, and where each of them lives.

Exit codes: 0 done (for `run`: drained, interrupted, time limit, or an empty queue where that ends it); 1 something was
not done (a task not stored, an id not found, too many failures in a row, an unreachable service); 2 wrong usage.
"""

from __future__ import annotations

import importlib
import os
import sys

import click
from typing_extensions import override

from jobq.version import __version__

_VERBS = {
    "run": ("run", "Pull tasks and run them."),
    "push": ("push", "Enqueue tasks."),
    "size": ("queue", "Say how many tasks there are."),
    "peek": ("queue", "Look at tasks without taking them."),
    "clear": ("queue", "Remove every task."),
    "failed": ("failed", "List, show, retry, drop or export dead letters."),
}


class _Verbs(click.Group):
    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        _import_structlog()
        module = importlib.import_module(f"workforce_agent.cli.{_VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _VERBS.items()])


def _import_structlog() -> None:
    """Import it without what it takes for tracebacks and colours wherever that is installed.

    It does not need them here, and rich alone is a third of a start's time.
    """
    hidden = [name for name in ("rich", "colorama") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment] # makes an import of it fail
    try:
        importlib.import_module("structlog")
    finally:
        for name in hidden:
            del sys.modules[name]


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="workforce-agent")
def main() -> None:
    """Run tasks of a JobQ queue on this node, or look after the queue."""
    _open_standard_files()


def _open_standard_files() -> None:
    """Stand in for those that whoever started us has closed: else a socket gets the number, and output goes there."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None and os.open(os.devnull, os.O_RDWR) == number:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - for good
