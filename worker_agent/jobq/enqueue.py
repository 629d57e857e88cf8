"""Enqueueing many tasks at once, with a result for each of them.

A failed push never stops the others and is never repeated blindly; the caller learns which tasks are in the queue,
which are not, and which nobody knows about.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
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


async def enqueue(
    queue: JobQ, tasks: Iterable[Task] | AsyncIterable[Task], *, concurrency: int = 10
) -> AsyncGenerator[Pushed, None]:
    """Push tasks, `concurrency` at a time, and yield each result as it comes. The source is read as far as needed."""
    source = aiter(tasks) if isinstance(tasks, AsyncIterable) else _asynchronous(tasks)
    turn = asyncio.Lock()
    results: asyncio.Queue[Pushed] = asyncio.Queue(concurrency)

    async def push_until_the_end() -> None:
        while True:
            async with turn:
                task = await anext(source, None)
            if task is None:
                return
            await results.put(await _push(queue, task))

    async def push_all() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(push_until_the_end())

    pushing = asyncio.create_task(push_all())
    try:
        while not (pushing.done() and results.empty()):
            coming = asyncio.create_task(results.get())
            await asyncio.wait({coming, pushing}, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                yield coming.result()
            else:
                coming.cancel()
        await pushing
    finally:
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)


async def _asynchronous(tasks: Iterable[Task]) -> AsyncGenerator[Task, None]:
    for task in tasks:
        yield task


async def _push(queue: JobQ, task: Task) -> Pushed:
    try:
        await queue.push_task(task)
    except JobQError as error:
        return Pushed(task, error)
    return Pushed(task)
