"""PID files of worker processes, and the intents that tell a process what the next SIGTERM means.

`<folder>/<worker>.pid` holds the process id as the ancestor's tools read it. Beside it, `<worker>.json` says which
process that was (start time and boot id), so that no signal goes to a recycled id, and which topic and job it serves.
An intent is a file `<worker>.intent-<n>`, bound to the same process; the first SIGTERM that follows consumes all that
are there. An intent that is older than `FRESH_SECONDS` was left by somebody who died before signalling, and means
nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from jobq.names import PID_DIR_VARIABLE
from jobq.operations import Mode, OnDeadline, Operation

FRESH_SECONDS = 120.0
"""Longer than receiving, checking and completing an order can take."""

T = TypeVar("T")
_Made_co = TypeVar("_Made_co", covariant=True)
_LARGEST = 2**53
_NODE_VARIABLE = "AZ_BATCH_NODE_ID"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart from any later one with the same number."""

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this number now, None if there is none."""
        try:
            text = Path("/proc", str(pid), "stat").read_text()
        except OSError:
            return None
        state, *fields = text[text.rindex(")") + 2 :].split()
        # Field 22 of the line is the start time, in clock ticks since boot.
        return None if state in {"Z", "X"} else cls(pid=pid, start=int(fields[18]), boot=boot_id())

    @classmethod
    def read(cls, fields: _Fields) -> Self:
        """From its file; raises `ValueError`."""
        return cls(fields.whole("pid"), fields.whole("start"), fields.text("boot"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What the next SIGTERM means: an order, as far as the process must know it."""

    process: ProcessId
    written: float
    operation: Operation
    mode: Mode = Mode.FINISH
    id: str | None = None
    revision: int = 0
    deadline: datetime | None = None
    on_deadline: OnDeadline = OnDeadline.WAIT
    traceparent: str | None = None

    def same_order(self, other: Intent) -> bool:
        """Whether both came of one order that was sent twice."""
        return (self.id, self.revision) == (other.id, other.revision)

    @classmethod
    def read(cls, fields: _Fields) -> Self:
        """From its file; raises `ValueError`."""
        deadline = fields.maybe_text("deadline")
        return cls(
            process=ProcessId.read(fields.inner("process")),
            written=fields.number("written"),
            operation=Operation(fields.text("operation")),
            mode=Mode(fields.text("mode")),
            id=fields.maybe_text("id"),
            revision=fields.whole("revision"),
            deadline=_aware(deadline) if deadline else None,
            on_deadline=OnDeadline(fields.text("on_deadline")),
            traceparent=fields.maybe_text("traceparent"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker process on this node, as its files describe it."""

    process: ProcessId
    worker: str
    node: str
    topic: str | None = None
    job: str | None = None

    @classmethod
    def read(cls, fields: _Fields) -> Self:
        """From its file; raises `ValueError`."""
        return cls(
            process=ProcessId.read(fields.inner("process")),
            worker=fields.text("worker"),
            node=fields.text("node"),
            topic=fields.maybe_text("topic"),
            job=fields.maybe_text("job"),
        )


def boot_id() -> str:
    """Identifies this boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def boot_seconds() -> float:
    """Seconds since boot, sleep included: a clock that every process of this machine shares and nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def node_name(environ: Mapping[str, str] = os.environ) -> str:
    """Names this node among those that may share a home folder."""
    return environ.get(_NODE_VARIABLE) or socket.gethostname()


def pid_root(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder below which every worker of this node has its files."""
    if given := environ.get(PID_DIR_VARIABLE):
        return Path(given)
    cache = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(cache) / "jobq"


def pid_folder(queue: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the workers of a queue, where the ancestor's tools look for them."""
    root = pid_root(environ)
    return root if environ.get(PID_DIR_VARIABLE) else root / queue


class PidFileError(Exception):
    """The PID file of this process cannot be written; the text says why and what to do."""


class PidFile:
    """This process's PID file, made on entry and removed on exit."""

    def __init__(self, folder: Path, worker: str, *, topic: str | None, job: str | None) -> None:
        process = ProcessId.of(os.getpid())
        assert process is not None  # we are running
        self.path = folder / f"{worker}.pid"
        self.worker = Worker(process=process, worker=worker, node=node_name(), topic=topic, job=job)

    def __enter__(self) -> Self:
        try:
            self._write()
        except OSError as error:
            raise PidFileError(
                f"the PID file {self.path} cannot be written ({error.strerror}): name another folder with JOBQ_PID_DIR"
            ) from error
        return self

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(self.path.parent)
        # First who it is, then that it is there: nobody ever signals a process that it cannot check.
        _write(self.path.with_suffix(".json"), self.worker)
        with self.path.open("x") as handle:
            handle.write(str(os.getpid()))

    def __exit__(self, *_: object) -> None:
        for path in (self.path, *_intent_files(self.path), self.path.with_suffix(".json")):
            path.unlink(missing_ok=True)

    def take_intents(self) -> list[Intent]:
        """Consume the intents for this process that are fresh, oldest first."""
        taken = []
        for path in _intent_files(self.path):
            intent = _read(path, Intent)
            path.unlink(missing_ok=True)
            if intent is not None and intent.process == self.worker.process and _is_fresh(intent):
                taken.append(intent)
        return sorted(taken, key=lambda intent: (intent.written, intent.revision))


class Written:
    """Intents that have been written for some processes: to be signalled, or forgotten."""

    def __init__(self, files: Iterable[tuple[Path, ProcessId]]) -> None:
        self._files = list(files)

    def __len__(self) -> int:
        return len(self._files)

    def forget(self) -> None:
        """Take the intents back: their order is somebody else's."""
        for path, _ in self._files:
            path.unlink(missing_ok=True)

    @property
    def pending(self) -> bool:
        """Whether a process has not consumed its intent yet."""
        return any(path.exists() for path, _ in self._files)

    def send(self) -> int:
        """SIGTERM to each process that is still the same. Returns how many there were."""
        sent = 0
        for path, process in self._files:
            if ProcessId.of(process.pid) != process:
                path.unlink(missing_ok=True)
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGTERM)
                sent += 1
        return sent


def workers(root: Path, *, topic: str | None = None, job: str | None = None) -> list[tuple[Path, Worker]]:
    """The living workers of this node below a folder, by topic or by job."""
    found = []
    for path in sorted(root.rglob("*.pid")):
        worker = _read(path.with_suffix(".json"), Worker)
        if worker is None or ProcessId.of(worker.process.pid) != worker.process:
            continue
        if worker.node != node_name() or worker.process.boot != boot_id():
            continue
        if (topic is None or worker.topic == topic) and (job is None or worker.job == job):
            found.append((path, worker))
    return found


def write_intents(
    targets: Iterable[tuple[Path, Worker]],
    *,
    operation: Operation,
    mode: Mode,
    id: str | None,  # noqa: A002 - the order's name for it
    revision: int,
    deadline: datetime | None,
    on_deadline: OnDeadline,
    traceparent: str | None = None,
) -> Written:
    """Record what the next SIGTERM to each of these workers means."""
    files = []
    for path, worker in targets:
        intent = Intent(
            process=worker.process,
            written=boot_seconds(),
            operation=operation,
            mode=mode,
            id=id,
            revision=revision,
            deadline=deadline,
            on_deadline=on_deadline,
            traceparent=traceparent,
        )
        file = path.with_name(f"{path.stem}.intent-{uuid.uuid4().hex}")
        _write(file, intent)
        files.append((file, worker.process))
    return Written(files)


def remove_stale(folder: Path) -> None:
    """Remove the files of processes that are gone."""
    described = (path.with_suffix(".pid") for path in folder.glob("*.json"))
    for path in {*folder.glob("*.pid"), *described}:
        worker = _read(path.with_suffix(".json"), Worker)
        gone = worker is not None and worker.node == node_name() and ProcessId.of(worker.process.pid) != worker.process
        if gone:
            for file in (path, *_intent_files(path), path.with_suffix(".json")):
                file.unlink(missing_ok=True)


def _intent_files(pid_file: Path) -> list[Path]:
    return sorted(pid_file.parent.glob(f"{pid_file.stem}.intent-*"))


def _is_fresh(intent: Intent) -> bool:
    return 0 <= boot_seconds() - intent.written <= FRESH_SECONDS


def _write(path: Path, content: Worker | Intent) -> None:
    # In one step: a reader sees all of it or nothing. The dot keeps half-written files out of every glob.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(asdict(content), default=datetime.isoformat))
    partial.replace(path)


class _Readable(Protocol[_Made_co]):
    def read(self, fields: _Fields) -> _Made_co:
        """From a file; raises `ValueError`."""


def _read(path: Path, kind: _Readable[T]) -> T | None:
    try:
        return kind.read(_Fields(json.loads(path.read_text())))
    except (OSError, ValueError, RecursionError):
        return None


class _Fields:
    """A JSON object read strictly. By hand, because every start of a worker would pay for a library."""

    def __init__(self, document: Any) -> None:
        if not isinstance(document, dict):
            raise ValueError("not an object")  # noqa: TRY004 - one error for all that can be wrong
        self._document = document

    def text(self, name: str) -> str:
        return self._typed(name, str)

    def maybe_text(self, name: str) -> str | None:
        return None if self._document.get(name) is None else self.text(name)

    def whole(self, name: str) -> int:
        return self._typed(name, int)

    def number(self, name: str) -> float:
        value = self._document.get(name)
        return float(value) if type(value) is int and abs(value) < _LARGEST else self._typed(name, float)

    def inner(self, name: str) -> _Fields:
        return _Fields(self._document.get(name))

    def _typed(self, name: str, kind: type[T]) -> T:
        value = self._document.get(name)
        if type(value) is not kind:  # not even a bool for an int
            raise ValueError(f"{name} is no {kind.__name__}")
        return value


def _aware(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without its zone")
    return found
