"""Shell tasks: `bash -c`, a process each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from typing_extensions import override

from jobq.task import Task
from workforce_agent.checkpoint_note import CheckpointNote
from workforce_agent.guard import Guard
from workforce_agent.output import TaskOutput
from workforce_agent.process import TaskProcess
from workforce_agent.processors.port import Processor, Run, RunEnd
from workforce_agent.shell import shell_command


class ShellProcessor(Processor):
    """Runs the command of each task.

    Args:
        queue_name: Of the task queue, for tasks.
        environ: What tasks inherit.
        guard: Ends tasks if this process cannot any more.
        login: Whether the shell reads the files of a login.
        terminal: Whether the output goes to an emulated terminal.
    """

    def __init__(
        self,
        queue_name: str,
        *,
        environ: Mapping[str, str] = os.environ,
        guard: Guard | None = None,
        login: bool = False,
        terminal: bool = False,
    ) -> None:
        self._queue_name = queue_name
        self._environ = environ
        self._guard = guard
        self._shell = ["bash", "--login", "-c"] if login else ["bash", "-c"]
        self._bash = _find_bash(environ)
        self._terminal = terminal

    @override
    async def open(self) -> None:
        """Nothing to get ready."""

    @override
    def start(self, task: Task, output: TaskOutput) -> Run:
        note = CheckpointNote()
        command = shell_command(
            task, queue_name=self._queue_name, environ=self._environ, checkpoint_file=str(note.path)
        )
        process = TaskProcess(
            [*self._shell, command.command],
            command.env,
            command.cwd,
            output,
            guarded_by=self._guard,
            program=self._bash,
            terminal=self._terminal,
        )
        return _ShellRun(process, note)

    @override
    async def close(self) -> None:
        """Nothing is kept."""


def _find_bash(environ: Mapping[str, str]) -> str | None:
    """Looked for once, on the agent's path, and not for each task on the task's. None leaves the error to the start."""
    candidates = (Path(folder, "bash") for folder in os.get_exec_path(environ))
    return next((str(path) for path in candidates if os.access(path, os.X_OK)), None)


class _ShellRun(Run):
    def __init__(self, process: TaskProcess, note: CheckpointNote) -> None:
        self._process = process
        self._note = note

    @property
    @override
    def saved(self) -> datetime | None:
        return self._note.read()

    @property
    @override
    def told_to_stop(self) -> bool:
        return self._process.told_to_stop

    @override
    def terminate(self, kill_after: float | None) -> None:
        self._process.terminate(kill_after)

    @override
    def kill(self) -> None:
        self._process.kill()

    @override
    async def wait(self) -> RunEnd:
        try:
            return RunEnd(await self._process.wait())
        finally:
            self._note.close()
