"""The state folder of one local cloud: who supervises it, what runs, what a shell needs, where the logs are.

Written by the supervisor, read by the other commands. It is a record, not a source of commands, and it is never
proof that something runs: the lock is, which the kernel releases however the supervisor ends.

Invariant: the record is replaced in one step, so a reader sees the old one or the new one and nothing between. Every
verb loads this module: it does without a library for models, which would take longer to load than all else here.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from workforce_local.processes import Identity

HOME_VARIABLE = "WORKFORCE_LOCAL_HOME"
"""Where the state folder is, if not in the current folder."""
DEFAULT_FOLDER = ".workforce"

_LOCK_POLL_SECONDS = 0.05
_LOCK_READS = 40


class StateError(RuntimeError):
    """The state folder cannot be used. The message says what to do."""


class Phase(StrEnum):
    """How far the local cloud has come."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Process:
    """One process of the local cloud."""

    name: str
    identity: Identity
    log: Path
    address: str = ""
    """What people and programs connect to; empty if nobody does."""
    probe: str = ""
    """URL or ``tcp://host:port`` that answers when it is healthy; by default the address."""

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self.identity.alive


@dataclass(frozen=True)
class Record:
    """What the supervisor writes down."""

    supervisor: Identity
    phase: Phase = Phase.STARTING
    reason: str = ""
    """Why it stopped."""
    processes: tuple[Process, ...] = ()
    exports: Mapping[str, str] = field(default_factory=dict)
    """Environment variables with which kubectl and the Azure SDKs reach this cloud."""
    path_folders: tuple[Path, ...] = ()
    """Folders with the right kubectl and helm, to be put before ``PATH``."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The record of its JSON document.

        Raises:
            KeyError, TypeError, ValueError: It is of another version, or no record.
        """
        read = {
            "supervisor": Identity(**document["supervisor"]),
            "phase": Phase(document["phase"]),
            "processes": tuple(map(_process, document["processes"])),
            "path_folders": tuple(map(Path, document["path_folders"])),
        }
        return cls(**{**document, **read})


def _process(document: Mapping[str, Any]) -> Process:
    read = {"identity": Identity(**document["identity"]), "log": Path(document["log"])}
    return Process(**{**document, **read})


def default_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The state folder if none is named: ``$WORKFORCE_LOCAL_HOME``, else ``.workforce`` in the current folder."""
    return Path(environ.get(HOME_VARIABLE) or DEFAULT_FOLDER)


@dataclass(frozen=True)
class StateFolder:
    """Paths in the state folder, the record, and the lock that is held while the supervisor lives."""

    root: Path
    """Absolute: it is the tag of the processes."""
    _lock: list[int] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def at(cls, path: Path) -> Self:
        """The state folder of this path, which need not exist."""
        return cls(path.absolute().resolve())

    @property
    def record_file(self) -> Path:
        """Where the record is."""
        return self.root / "supervisor.json"

    @property
    def logs(self) -> Path:
        """Where logs are that no part keeps for itself."""
        return self.root / "logs"

    @property
    def supervisor_log(self) -> Path:
        """What a detached supervisor printed."""
        return self.logs / "supervisor.log"

    def create(self) -> None:
        """Make the folder; it will hold keys and tokens, so only its owner may look inside."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise StateError(f"{self.root}: cannot be used as the state folder: {error.strerror}") from error

    def acquire(self, *, patience: float = 0.0) -> bool:
        """Take the lock until this process ends or `release`; False if a supervisor has it.

        Another command that only looks holds the lock for a moment, which is what the patience is for.
        """
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(_LOCK_POLL_SECONDS)
                    continue
                os.close(descriptor)
                return False
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(asdict(Identity.myself())).encode())
            self._lock.append(descriptor)
            return True

    def release(self) -> None:
        """Give the lock back."""
        while self._lock:
            os.close(self._lock.pop())

    def holder(self) -> Identity | None:
        """The supervisor that has the lock now, or None."""
        try:
            descriptor = os.open(self.root / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, encoding="utf-8") as lock:
            for _ in range(_LOCK_READS):
                try:
                    # Shared, so that commands that only look do not take each other for a supervisor.
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass
                else:
                    return None
                lock.seek(0)
                text = lock.read()
                if text and (identity := Identity(**json.loads(text))).alive:
                    return identity
                # It was taken a moment ago, and its holder is about to write its name over the last one's.
                time.sleep(_LOCK_POLL_SECONDS)
        raise StateError(f"{self.root / 'lock'} is held by a process that does not say which")

    def write(self, record: Record) -> None:
        """Replace the record."""
        temporary = self.record_file.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(record), indent=2, default=str), encoding="utf-8")
        temporary.chmod(0o600)
        temporary.replace(self.record_file)

    def read(self) -> Record | None:
        """The record, or None if there is none that can be understood: one of another version proves nothing."""
        try:
            return Record.of(json.loads(self.record_file.read_bytes()))
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return None
