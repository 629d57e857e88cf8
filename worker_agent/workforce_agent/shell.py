"""What a shell task's arguments mean: command, environment and working directory. Pure.

A task sees the agent's environment, its own variables, its id, its queue and the file to touch when it has saved its
state, and nothing of another task's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobq.errors import TaskError
from jobq.names import CHECKPOINT_VARIABLE, QUEUE_NAME_VARIABLE, TASK_ID_VARIABLE
from jobq.task import Task

_KNOWN = frozenset({"cmd", "env", "cwd", "bg_dirsync_to", "_job_id", "_worker_id"})
"""The ancestor's workers add the last two to what they send back."""


@dataclass(frozen=True, slots=True)
class ShellCommand:
    """A command line with its surroundings."""

    command: str
    env: Mapping[str, str]
    cwd: str | None


def shell_command(task: Task, *, queue_name: str, environ: Mapping[str, str], checkpoint_file: str) -> ShellCommand:
    """Read a shell task.

    Args:
        task: The task.
        queue_name: The name of its queue.
        environ: The agent's environment.
        checkpoint_file: What the task may touch when it has saved its state.

    Raises:
        TaskError: The arguments are not those of a shell task, or ask for what this agent does not do.
    """
    kwargs = task.kwargs
    if unknown := sorted(set(kwargs) - _KNOWN):
        raise TaskError(f"unknown arguments of a shell task: {', '.join(unknown)}")
    if kwargs.get("bg_dirsync_to") is not None:
        raise TaskError("bg_dirsync_to is not supported by this agent: mount the folder, or copy it in the command")
    command = kwargs.get("cmd")
    if not isinstance(command, str):
        raise TaskError("a shell task needs cmd, a string")
    cwd = kwargs.get("cwd")
    if cwd is not None and not isinstance(cwd, str):
        raise TaskError("cwd must be a string")
    own = {TASK_ID_VARIABLE: task.id, QUEUE_NAME_VARIABLE: queue_name, CHECKPOINT_VARIABLE: checkpoint_file}
    return ShellCommand(command, {**environ, "PYTHONUNBUFFERED": "1", **_environment(kwargs.get("env")), **own}, cwd)


def _environment(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TaskError("env must be an object of strings")
    for name in value:
        if not name or "=" in name or "\0" in name:
            raise TaskError(f"env has a name that no environment can hold: {name!r}")
    return {name: content if isinstance(content, str) else str(content) for name, content in value.items()}
