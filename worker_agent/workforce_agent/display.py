"""What a person sees on a terminal: logs and output of tasks as they come, and one line of progress below them.

Imported only where there is a terminal.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from workforce_agent.sample import Sample

RATE_SECONDS = 60.0
REFRESHES_PER_SECOND = 4


class Display:
    """A line of progress that stays below everything that is written through this. Close it in the end.

    Args:
        sample: Says what the worker is doing; None while there is no worker.
        stream: The terminal.
        now: A monotonic clock.
    """

    def __init__(
        self, sample: Callable[[], Sample | None], stream: TextIO, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._sample = sample
        self._now = now
        self._done: deque[tuple[float, int]] = deque()
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None

    def start(self) -> None:
        """Draw from now on."""
        self._live = Live(
            console=self._console,
            get_renderable=self.line,
            refresh_per_second=REFRESHES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def close(self) -> None:
        """Draw the line once more, and leave it there."""
        if self._live is not None:
            self._live.stop()

    def write(self, text: str) -> None:
        """Write lines above the progress; for logs, which end each line."""
        self.output(text.encode(errors="replace"))

    def isatty(self) -> bool:
        """It is one, as there is one below."""
        return True

    def flush(self) -> None:
        """Everything is written at once."""

    def output(self, data: bytes) -> None:
        """Write the output of a task above the progress."""
        text = data.decode(errors="replace").rstrip("\n")
        if text:
            self._console.print(Text.from_ansi(text), soft_wrap=True)

    def line(self) -> Text:
        """The progress now."""
        now = self._sample()
        if now is None:
            return Text("starting", style="dim")
        parts = [
            (f"{now.busy}/{now.slots} running", "bold"),
            (f"{now.completed} done", "green"),
            (f"{now.failed} failed", "red" if now.failed else "dim"),
            (self._rate(now.completed + now.failed), ""),
            ("queue ?" if now.queue_size is None else f"queue {now.queue_size}", ""),
        ]
        if now.next_renewal is not None:
            parts.append((f"next renewal {max(0, round(now.next_renewal))} s", "dim"))
        if now.mode != "working" or not now.accepting:
            parts.insert(0, (now.mode if now.mode != "working" else "accepting nothing", "yellow"))
        line = Text(no_wrap=True, overflow="ellipsis")
        for number, (words, style) in enumerate(parts):
            line.append(" · " if number else "", style="dim")
            line.append(words, style=style)
        return line

    def _rate(self, done: int) -> str:
        """Tasks per second or minute, over the last minute."""
        now = self._now()
        self._done.append((now, done))
        while now - self._done[0][0] > RATE_SECONDS:
            self._done.popleft()
        since, before = self._done[0]
        rate = (done - before) / max(1.0, now - since)
        return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
