"""Which agent of a job holds its session: a file lock, which ends with its holder, and what the holder has seen.

Agents of one job on one node share a folder; it is nobody else's.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ValidationError

from workforce_agent.pid_file import ProcessId


class _Holder(BaseModel):
    """Who holds a job's session, and whether it has looked."""

    process: ProcessId
    looked: bool = False


class HolderFile:
    """The file lock by which one agent per job holds the session; it is free again when that agent is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: IO[str] | None = None

    def take(self) -> bool:
        """Take the lock if it is free."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = self._path.open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            return False
        self._handle = handle
        self._write(looked=False)
        return True

    @property
    def looked(self) -> bool:
        """Whether the agent that holds the lock now has looked at the session."""
        try:
            holder = _Holder.model_validate_json(self._path.read_text())
        except (OSError, ValidationError):
            return False
        return holder.looked and ProcessId.of(holder.process.pid) == holder.process

    def mark_looked(self) -> None:
        """Tell the job's other agents that the session has been looked at."""
        self._write(looked=True)

    def release(self) -> None:
        """Let the next one take it."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _write(self, *, looked: bool) -> None:
        process = ProcessId.of(os.getpid())
        assert process is not None  # we are running
        assert self._handle is not None  # only the holder writes
        self._handle.seek(0)
        self._handle.truncate()
        self._handle.write(_Holder(process=process, looked=looked).model_dump_json())
        self._handle.flush()
