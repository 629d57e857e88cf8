"""Tells the story: a line per step with the time since the start; live progress on a terminal, plain lines else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

_QUIET_SECONDS = 10.0
"""Off a terminal, progress of a long wait is repeated not more often than this."""


class Narrator:
    """Writes to standard output. Lines fit 80 columns as long as their texts do (72)."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True, file=sys.stdout)
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self._started

    def say(self, text: str, *, style: str | None = None) -> None:
        """One line of the story."""
        self._console.print(f"{self.elapsed:5.0f}s  {text}", style=style, markup=False)

    def show(self, text: str) -> None:
        """Output of a command that a user would type, indented."""
        for line in text.rstrip().splitlines():
            self._console.print(f"        {line}", style="dim", markup=False)

    @contextmanager
    def progress(self, text: str) -> Iterator[Progress]:
        """While something is waited for: a spinner on a terminal, now and then a line elsewhere."""
        if self._console.is_terminal:
            with self._console.status(text) as status:
                yield Progress(self, status)
        else:
            yield Progress(self, None)


class Progress:
    """Progress of one wait."""

    def __init__(self, narrator: Narrator, status: Status | None) -> None:
        self._narrator = narrator
        self._status = status
        self._last = time.monotonic()

    def update(self, text: str) -> None:
        """Say how far it is."""
        if self._status is not None:
            self._status.update(text)
        elif time.monotonic() - self._last >= _QUIET_SECONDS:
            self._last = time.monotonic()
            self._narrator.say(f"  … {text}")
