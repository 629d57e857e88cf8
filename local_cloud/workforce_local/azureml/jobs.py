"""The record of one job, and its view for people who inspect the local cloud.

What may follow which status is decided in `states`, what a PUT changes in `submission`; `life` moves the record on.
Invariant: every status change is a legal transition and is kept with its time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

from workforce_local.azureml.ids import WorkspaceId
from workforce_local.azureml.node import Launch
from workforce_local.azureml.shapes import job_document
from workforce_local.azureml.states import TERMINAL, Interruption, Status, advance

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Step:
    """A status and when it began."""

    status: Status
    at: datetime


class Life(Protocol):
    """What can be done to a job, whether processes run or not."""

    def cancel(self) -> None:
        """Ask it to end; one with an error ends as failed."""

    def interrupt(self, how: Interruption) -> bool:
        """Take its node. Returns whether it ran."""

    def resume(self) -> bool:
        """Queue it again. Returns whether it was paused."""


@dataclass(eq=False)
class Job:
    """The record of one job.

    Attributes:
        changes: How often any job was made, changed or removed: while it stands still, what was said of all is true.
    """

    changes: ClassVar[int] = 0

    workspace: WorkspaceId
    name: str
    cluster: str
    sequence: int
    submitted: Mapping[str, Any]
    properties: dict[str, Any]
    created: datetime
    created_by: str
    home: Path
    """Where its folder is, which it has only if a process runs."""
    history: list[Step] = field(default_factory=list)
    pid: int | None = None
    node: str | None = None
    exit_code: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    life: Life | None = field(default=None, repr=False)
    attempt: int = 0
    """How often it was started."""
    used_up: bool = False
    """Whether it has had all the execution time that a virtual cluster grants, however long it ran."""
    error: Mapping[str, Any] | None = None
    """Why the service ended it as failed."""
    reported: str | None = None
    """A status that is answered instead of the real one, for words that a client does not know."""
    _encoded: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.changed()

    @property
    def status(self) -> Status:
        """The status now."""
        return self.history[-1].status

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self.status in TERMINAL

    @property
    def place(self) -> tuple[str, str]:
        """Names of its compute's workspace (empty for a virtual cluster) and of its compute."""
        virtual = self.properties["properties"].get("_azureml.ComputeTargetType") == "singularity"
        return ("" if virtual else self.workspace.workspace, self.cluster)

    @property
    def folder(self) -> Path:
        """Its own, with what it prints."""
        return self.home / self.name

    @property
    def launch(self) -> Launch:
        """What a node needs to know."""
        return Launch(self.workspace, self.cluster, self.name, self.properties, self.folder, self.attempt)

    def status_at(self, time: datetime) -> Status | None:
        """The status at a moment, None before it was made."""
        found = None
        for step in self.history:
            if step.at > time:
                break
            found = step.status
        return found

    def ran_seconds(self, now: datetime) -> float:
        """How long it has been running, all attempts together."""
        ends = [*(step.at for step in self.history[1:]), now]
        return sum(
            (end - step.at).total_seconds()
            for step, end in zip(self.history, ends, strict=True)
            if step.status is Status.RUNNING
        )

    def document(self, status: str | None = None) -> dict[str, Any]:
        """The job as it is answered, with its own or with an older status."""
        answered = job_document(self.workspace, self.name, self.properties, created=self.created, by=self.created_by)
        if (other := self.reported or status) is not None:
            answered["properties"]["status"] = other
        if self.error is not None:
            answered["properties"]["error"] = self.error
        return answered

    def encoded(self) -> bytes:
        """The document as JSON; kept until something changes, because lists are long and jobs change seldom."""
        if self._encoded is None:
            self._encoded = json.dumps(self.document()).encode()
        return self._encoded

    def go(self, status: Status, at: datetime) -> None:
        """Take the next status."""
        if self.history:
            advance(self.status, status)
        self.history.append(Step(status, at))
        self.change({"status": str(status)})

    def note(self, **properties: str) -> None:
        """Add to the properties of the run."""
        self.change({"properties": {**self.properties["properties"], **properties}})

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change what is answered."""
        self.properties.update(changes)
        self.changed()

    def report(self, status: str | None) -> None:
        """Answer another status than the real one, or the real one again."""
        self.reported = status
        self.changed()

    def changed(self) -> None:
        """Forget what was said of it. To be called when it is removed, too."""
        self._encoded = None
        Job.changes += 1

    def view(self) -> JobView:
        """A copy for inspection."""
        return JobView(
            self.workspace.workspace, self.name, self.cluster, str(self.status),
            tuple((str(step.status), step.at) for step in self.history), self.pid, self.node, self.exit_code,
            self.launch.stdout, self.launch.stderr, dict(self.environment), dict(self.properties["properties"]),
        )  # fmt: skip


@dataclass(frozen=True)
class JobView:
    """A job as it was at one moment, known without asking ARM."""

    workspace: str
    name: str
    cluster: str
    status: str
    history: tuple[tuple[str, datetime], ...]
    pid: int | None
    node: str | None
    exit_code: int | None
    stdout: Path
    stderr: Path
    environment: Mapping[str, str]
    properties: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "workspace": self.workspace,
            "name": self.name,
            "cluster": self.cluster,
            "status": self.status,
            "history": [{"status": status, "at": at.isoformat()} for status, at in self.history],
            "pid": self.pid,
            "node": self.node,
            "exitCode": self.exit_code,
            "stdout": str(self.stdout),
            "stderr": str(self.stderr),
            "environment": dict(self.environment),
            "properties": dict(self.properties),
        }
