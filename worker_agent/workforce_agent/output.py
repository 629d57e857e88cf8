"""A task's output on its way out: line by line with the task's id, any bytes, any line length, in bounded memory.

Lines go to the agent's own standard output through a thread, because whoever reads it may be slow, and a blocked
event loop would renew no lock. The last lines are kept for the dead letter.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections import deque

from jobq.dead_letter import LINE_LIMIT

PIECE = 16 * 1024
"""A line longer than this is passed on in pieces."""

KEPT_LINES = 50
_QUEUE_LENGTH = 256


class Writer:
    """Writes to a file descriptor in a thread of its own, in order. A closed or broken descriptor loses output only."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._queue: queue.Queue[bytes | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether so much is waiting that nothing more should be read from tasks."""
        return self._queue.qsize() >= _QUEUE_LENGTH

    def write(self, data: bytes) -> None:
        """Queue bytes; never blocks."""
        self._queue.put(data)

    def close(self, timeout: float = 5.0) -> None:
        """Write what is queued, as far as the time allows."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            with contextlib.suppress(OSError):
                while data:
                    data = data[os.write(self._descriptor, data) :]


class TaskOutput:
    """The output of one run."""

    def __init__(self, task_id: str, writer: Writer) -> None:
        self._prefix = f"[{task_id}] ".encode(errors="replace")
        self._writer = writer
        self._pending = b""
        self._tail: deque[str] = deque(maxlen=KEPT_LINES)

    @property
    def full(self) -> bool:
        """Whether more would have to wait."""
        return self._writer.full

    def feed(self, data: bytes) -> None:
        """Take a piece of output as it was read."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        while len(self._pending) > PIECE:
            lines.append(self._pending[:PIECE])
            self._pending = self._pending[PIECE:]
        self._emit(lines)

    def close(self) -> list[str]:
        """Pass on an unfinished last line, and return the last lines of the whole output."""
        if self._pending:
            self._emit([self._pending])
            self._pending = b""
        return list(self._tail)

    def _emit(self, lines: list[bytes]) -> None:
        if not lines:
            return
        self._tail.extend(line[:LINE_LIMIT].decode(errors="replace") for line in lines[-KEPT_LINES:])
        self._writer.write(b"".join(self._prefix + line + b"\n" for line in lines))
