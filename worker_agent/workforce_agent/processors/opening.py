"""Which way to run tasks: what the command line says, made into a processor that is ready."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from workforce_agent.guard import Guard
from workforce_agent.processors.port import Processor
from workforce_agent.processors.shell import ShellProcessor

SHELL = "shell"
"""The processor of commands; every other name is a Python callable's."""


@dataclass(frozen=True, slots=True)
class ProcessorSettings:
    """How tasks are run.

    Attributes:
        name: `shell`, or a Python callable: `module:function` or `module.Class`.
        pool: Whether the callable runs in processes of its own.
        login_shell: Whether shell tasks get a login shell.
        emulate_tty: Whether the output of shell tasks goes to a terminal.
        task_timeout: How long a task may run.
        output_folder: Where each task's output is kept in a file of its own.
    """

    name: str = SHELL
    pool: bool = False
    login_shell: bool = False
    emulate_tty: bool = False
    task_timeout: timedelta | None = None
    output_folder: Path | None = None


@asynccontextmanager
async def open_processor(
    how: ProcessorSettings, *, slots: int, queue_name: str, worker: str, guard: Guard
) -> AsyncIterator[Processor]:
    """What runs tasks, ready for them.

    Raises:
        ProcessorError: No task could be run.
    """
    processor = _make(how, slots, queue_name, worker, guard)
    try:
        await processor.open()
        yield processor
    finally:
        await processor.close()


def _make(how: ProcessorSettings, slots: int, queue_name: str, worker: str, guard: Guard) -> Processor:
    environ = dict(os.environ)
    if how.name == SHELL:
        return ShellProcessor(queue_name, environ=environ, guard=guard, login=how.login_shell, terminal=how.emulate_tty)
    # Imported here: a worker of shell tasks, as nearly all are, does without.
    if how.pool:
        from workforce_agent.processors.pool import Pool  # noqa: PLC0415 - see above

        return Pool(how.name, queue_name=queue_name, worker=worker, environ=environ, guard=guard)
    from workforce_agent.processors.in_process import InProcess  # noqa: PLC0415 - see above

    return InProcess(how.name, slots=slots, worker=worker)
