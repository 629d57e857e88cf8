"""One line of progress on a terminal, redrawn in place a few times a second; nothing where there is no terminal."""

from __future__ import annotations

import time
from typing import Self, TextIO

BAR_WIDTH = 20
_SECONDS = 0.2


class Progress:
    """A line of progress. A context manager: the line is finished at the end.

    Args:
        stream: Where to draw.
        wanted: Whether to draw at all.
    """

    def __init__(self, stream: TextIO, *, wanted: bool = True) -> None:
        self._stream = stream
        self._wanted = wanted and stream.isatty()
        self._words = ""
        self._drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._wanted and self._words:
            self._draw("\n")

    def show(self, words: str, share: float | None = None) -> None:
        """Say how far it is; with a bar where the share of the whole, from 0 to 1, is known."""
        self._words = words if share is None else f"{bar(share)} {words}"
        if self._wanted and time.monotonic() - self._drawn > _SECONDS:
            self._draw("")
            self._drawn = time.monotonic()

    def _draw(self, end: str) -> None:
        self._stream.write(f"\r\x1b[K{self._words}{end}")
        self._stream.flush()


def bar(share: float) -> str:
    """A share as a bar and in per cent."""
    full = int(share * BAR_WIDTH)
    return f"[{'#' * full}{'.' * (BAR_WIDTH - full)}] {share:4.0%}"
