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
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from jobq.task import LINE_LIMIT

PIECE = 16 * 1024
"""A line longer than this is passed on in pieces."""

KEPT_LINES = 50
_QUEUE_LENGTH = 256


class Writer:
    """Writes in a thread of its own, in order. A closed or broken descriptor loses output only.

    Args:
        descriptor: Where to.
        sink: Takes whole lines instead of the descriptor.
    """

    def __init__(self, descriptor: int = 1, sink: Callable[[bytes], None] | None = None) -> None:
        self._descriptor = descriptor
        self._sink = sink
        self._queue: queue.Queue[tuple[Path | None, bytes | None] | None] = queue.Queue()
        self._files: dict[Path, int] = {}
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether so much is waiting that nothing more should be read from tasks."""
        return self._queue.qsize() >= _QUEUE_LENGTH

    def write(self, data: bytes, file: Path | None = None) -> None:
        """Queue bytes, for a file if one is given; never blocks."""
        self._queue.put((file, data))

    def close_file(self, file: Path) -> None:
        """Close a file once what is queued for it is written."""
        self._queue.put((file, None))

    def close(self, timeout: float = 5.0) -> None:
        """Write what is queued, as far as the time allows."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            file, data = entry
            with contextlib.suppress(OSError):
                if data is None:
                    if file in self._files:
                        os.close(self._files.pop(file))
                    continue
                if file is None and self._sink is not None:
                    self._sink(data)
                    continue
                descriptor = self._descriptor if file is None else self._open(file)
                while data:
                    data = data[os.write(descriptor, data) :]

    def _open(self, file: Path) -> int:
        if file not in self._files:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._files[file] = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        return self._files[file]


class TaskOutput:
    """The output of one run.

    Args:
        task_id: Stands before each line.
        writer: Where lines go.
        folder: Gets a file of the task's own with its bytes as they came; a second run of the task adds to it.
    """

    def __init__(self, task_id: str, writer: Writer, folder: Path | None = None) -> None:
        self._file = folder / file_name(task_id) if folder else None
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
        if self._file is not None:
            self._writer.write(data, self._file)
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
        if self._file is not None:
            self._writer.close_file(self._file)
        return list(self._tail)

    def _emit(self, lines: list[bytes]) -> None:
        if not lines:
            return
        self._tail.extend(line[:LINE_LIMIT].decode(errors="replace") for line in lines[-KEPT_LINES:])
        self._writer.write(b"".join(self._prefix + line + b"\n" for line in lines))


def file_name(task_id: str) -> str:
    """The name of a task's output file; an id may hold anything."""
    return f"{quote(task_id, safe='')[:200]}.log"
