"""Enqueueing many tasks at once, with a result for each of them.

A failed push never stops the others and is never repeated blindly; the caller learns which tasks are in the queue,
which are not, and which nobody knows about.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass

from jobq.errors import JobQError, MaybeStored
from jobq.queue import JobQ
from jobq.task import Task


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of one task.

    Attributes:
        task: The task.
        error: Why it is not, or not surely, in the queue; None if it was stored.
    """

    task: Task
    error: JobQError | None = None

    @property
    def stored(self) -> bool:
        """Whether the queue has confirmed the task."""
        return self.error is None

    @property
    def unknown(self) -> bool:
        """Whether the task may be in the queue, although it was not confirmed."""
        return isinstance(self.error, MaybeStored)


async def enqueue(queue: JobQ, tasks: Iterable[Task], *, concurrency: int = 10) -> AsyncGenerator[Pushed, None]:
    """Push tasks, `concurrency` at a time, and yield each result as it comes. The source is read as far as needed."""
    source = iter(tasks)
    running: set[asyncio.Task[Pushed]] = set()
    try:
        while True:
            while len(running) < concurrency and (task := next(source, None)) is not None:
                running.add(asyncio.create_task(_push(queue, task)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                yield finished.result()
    finally:
        for task_running in running:
            task_running.cancel()


async def _push(queue: JobQ, task: Task) -> Pushed:
    try:
        await queue.push_task(task)
    except JobQError as error:
        return Pushed(task, error)
    return Pushed(task)
