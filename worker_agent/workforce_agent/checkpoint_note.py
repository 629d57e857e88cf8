"""How a task says that it has saved its state: it touches a file of its own, and the file's time is when.

Nobody has to. Who does loses less in the eyes of whoever chooses which workers leave: only what was run since then.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path


class CheckpointNote:
    """The file of one run, which is not there until the task makes it.

    Attributes:
        path: Where it would be.
    """

    def __init__(self) -> None:
        # Not by `tempfile`, whose import a worker's start would notice; nobody can guess the name.
        folder = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - see above
        self.path = Path(folder, f"workforce-saved-{uuid.uuid4().hex}")
        self._last: datetime | None = None
        self._closed = False

    def read(self) -> datetime | None:
        """When the task last touched it; None if it never did. Also after `close`."""
        if not self._closed:
            with contextlib.suppress(OSError, OverflowError, ValueError):
                self._last = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
        return self._last

    def close(self) -> None:
        """The run is over: keep what it has said, and remove the file."""
        if self.read() is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._closed = True
