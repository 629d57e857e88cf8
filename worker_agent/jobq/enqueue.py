"""Enqueueing many tasks at once, with a result for each of them.

A failed push never stops the others and is never repeated blindly; the caller learns which tasks are in the queue,
which are not, and which nobody knows about.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from jobq.concurrency import each
from jobq.errors import JobQError, MaybeStored
from jobq.queue import JobQ
from jobq.task import Task


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of one task.

    Attributes:
        task: The task; None if no task can be made of what was given, and the error shows that.
        error: Why it is not, or not surely, in the queue; None if it was stored.
    """

    task: Task | None
    error: JobQError | None = None

    @property
    def stored(self) -> bool:
        """Whether the queue has confirmed the task."""
        return self.error is None

    @property
    def unknown(self) -> bool:
        """Whether the task may be in the queue, although it was not confirmed."""
        return isinstance(self.error, MaybeStored)


async def enqueue(
    queue: JobQ, tasks: Iterable[Task] | AsyncIterable[Task], *, concurrency: int = 10
) -> AsyncGenerator[Pushed, None]:
    """Push tasks, `concurrency` at a time, and yield each result as it comes. The source is read as far as needed."""

    async def one(task: Task) -> Pushed:
        return await push_one(queue, task)

    async with aclosing(each(tasks, one, concurrency=concurrency)) as results:
        async for pushed in results:
            yield pushed


async def push_one(queue: JobQ, task: Task) -> Pushed:
    """Push a task, and say what became of it instead of raising."""
    try:
        await queue.push_task(task)
    except JobQError as error:
        return Pushed(task, error)
    return Pushed(task)
