"""What the worker asks of a way to run tasks. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from jobq.task import Task
from workforce_agent.output import TaskOutput


class ProcessorError(Exception):
    """Tasks cannot be run at all, whatever they are. The text says what to change."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended by itself: with an exit code, or with an error in words.

    Attributes:
        exit_code: 0 is success, if there is no error; negative for the signal that killed it.
        error: Takes the exit code's place in what people read.
    """

    exit_code: int | None
    error: str | None = None


class Run(Protocol):
    """One task that runs."""

    @property
    def told_to_stop(self) -> bool:
        """Whether it was told to stop before it had ended, so that its end says nothing about the task."""

    @property
    def saved(self) -> datetime | None:
        """When the task last said that it has saved its state; None if it never did, or cannot."""

    async def wait(self) -> RunEnd:
        """Wait until the run is over and nothing of it is left. Called once."""

    def terminate(self, kill_after: float | None) -> None:
        """Tell it to checkpoint; end it after so many seconds (None: never)."""

    def kill(self) -> None:
        """End it now."""


class Processor(Protocol):
    """A way to run tasks."""

    async def open(self) -> None:
        """Get ready, before the first task.

        Raises:
            ProcessorError: No task could be run.
        """

    def start(self, task: Task, output: TaskOutput) -> Run:
        """Start a task.

        Raises:
            TaskError: Its arguments are wrong; another attempt would not go better.
            OSError: It could not be started.
            ValueError: The same.
        """

    async def close(self) -> None:
        """Let go of what `open` and the tasks have left for the next one."""
