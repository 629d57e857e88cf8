"""Enqueueing a whole piece of work: from a list, a generator of a million tasks, or a source that knows what is done.

Memory does not grow with the number of tasks. Every task is considered once; a failed one stops no other, and all that
are not surely in the queue are named by the error in the end.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping, Sized
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jobq.concurrency import each
from jobq.enqueue import Pushed, push_one
from jobq.errors import JobQError, TaskError, TaskTooLarge
from jobq.progress import Progress
from jobq.queue import JobQ
from jobq.task import Task, check_size, task_kwargs

Command = str | Mapping[str, Any] | Task
"""What a task is made of: a shell command, the arguments of a task, or a task as it is."""

SHOWN_LENGTH = 80
"""Characters of something that is no task that an error shows."""

NAMED_FAILURES = 1000
"""So many failed tasks are kept to be named; all are counted."""


@dataclass(slots=True)
class Enqueued:
    """What became of a batch.

    Attributes:
        considered: Tasks that the source gave.
        skipped: Those that the source said are done.
        stored: Those that the queue has confirmed; in a dry run, those that would have been pushed.
        failed: Those that are not, or not surely, in the queue.
        failures: The first of them, with why.
    """

    considered: int = 0
    skipped: int = 0
    stored: int = 0
    failed: int = 0
    failures: list[Pushed] = field(default_factory=list)


class BatchError(JobQError):
    """Some tasks of a batch are not, or not surely, in the queue; `result.failures` names them."""

    def __init__(self, result: Enqueued) -> None:
        first = result.failures[0]
        super().__init__(f"not surely stored: {result.failed} of {result.considered} tasks; the first: {first.error}")
        self.result = result


@runtime_checkable
class WorkSource(Protocol):
    """The one thing that a source of work must have; see `WorkSpecification` for the others."""

    def list_tasks(self, seed: Any, force: bool = False) -> Any:  # noqa: FBT001 - the users' signature
        """Yield tasks, or what `enqueue_task` makes tasks of."""


class WorkSpecification:
    """A source of work that can list tasks in parallel, and knows which of them are done.

    Override `list_tasks`, and the others as needed. Any object with a `list_tasks` will do, and one that is an
    asynchronous context manager is entered for the time of the batch.
    """

    async def task_seeds(self) -> AsyncGenerator[Any, None]:
        """Yield what `list_tasks` is called with, in parallel; once with None by default."""
        yield None

    def list_tasks(self, seed: Any, force: bool = False) -> AsyncIterable[Any] | Iterable[Any]:  # noqa: FBT001 - the users' signature
        """Yield tasks, or what `enqueue_task` makes tasks of."""
        raise TypeError(f"{type(self).__name__} must define list_tasks")

    async def already_done(self, task: Any) -> bool:
        """Whether a task need not be enqueued."""
        return False

    async def enqueue_task(self, task: Any, force: bool = False) -> Command | None:  # noqa: FBT001 - the users' signature
        """What to push for a task; None for nothing."""
        if not force and await self.already_done(task):
            return None
        command: Command = task
        return command


async def batch_enqueue(
    queue: JobQ,
    work: Iterable[Command] | AsyncIterable[Command] | WorkSource,
    *,
    force: bool = False,
    num_retries: int = 1,
    num_list_task_workers: int = 10,
    num_enqueue_workers: int = 100,
    dry_run: bool = False,
    show_progress: bool = True,
    reply_requested: bool = False,
) -> Enqueued:
    """Push all tasks of a source.

    Args:
        queue: Where to.
        work: Commands or arguments, in any iterable; or an object with `list_tasks`.
        force: Passed on to the source: also what is done.
        num_retries: How often each task may be tried again after a failure.
        num_list_task_workers: How many seeds of the source are listed at a time.
        num_enqueue_workers: How many tasks are pushed at a time.
        dry_run: Push nothing, and say what would be pushed, and what is too large.
        show_progress: Draw a line of progress, if standard error is a terminal; a bar, if `work` has a length.
        reply_requested: Part of the wire format.

    Raises:
        BatchError: Not all of them were stored, or no task can be made of some. All have been tried.
    """
    result = Enqueued()
    async with AsyncExitStack() as stack:
        source: Iterable[Any] | AsyncIterable[Any]
        chooser: WorkSource | None = None
        if isinstance(work, WorkSource):
            chooser = work
            if isinstance(work, AbstractAsyncContextManager):
                await stack.enter_async_context(work)
            source = await stack.enter_async_context(aclosing(_listed(work, force, num_list_task_workers)))
        else:
            source = work

        async def consider(item: Any) -> Pushed | None:
            command = await _chosen(chooser, item, force=force)
            if command is None and chooser is not None:
                return None  # its own rules say so
            try:
                task = _task(command, num_retries, reply_requested=reply_requested)
            except TaskError as error:
                return Pushed(None, error)
            return _tried(queue, task) if dry_run else await push_one(queue, task)

        progress = stack.enter_context(Progress(sys.stderr, wanted=show_progress))
        results = await stack.enter_async_context(aclosing(each(source, consider, concurrency=num_enqueue_workers)))
        async for pushed in results:
            _count(result, pushed)
            words = f"{result.considered} considered, {result.stored} stored, {result.failed} not"
            progress.show(words, result.considered / len(source) if isinstance(source, Sized) else None)
    if result.failed:
        raise BatchError(result)
    return result


def _count(result: Enqueued, pushed: Pushed | None) -> None:
    result.considered += 1
    if pushed is None:
        result.skipped += 1
    elif pushed.stored:
        result.stored += 1
    else:
        result.failed += 1
        if len(result.failures) < NAMED_FAILURES:
            result.failures.append(pushed)


def _task(command: Command | None, num_retries: int, *, reply_requested: bool) -> Task:
    if isinstance(command, Task):
        return command
    if not isinstance(command, str | Mapping):
        raise TaskError(f"{_shown(command)} is no task: write a shell command or a mapping of arguments")
    try:
        return Task.new(task_kwargs(command), num_retries=num_retries, reply_requested=reply_requested)
    except TaskError as error:
        raise TaskError(f"{_shown(command)} is no task: {error}") from error


def _tried(queue: JobQ, task: Task) -> Pushed:
    """What would become of a task, as far as it can be told without sending it."""
    try:
        check_size(task.encode(), queue.backend.limit)
    except TaskTooLarge as error:
        return Pushed(task, TaskTooLarge(error.size, error.limit, task.id))
    return Pushed(task)


def _shown(command: object) -> str:
    text = repr(command)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}..."


async def _chosen(work: WorkSource | None, item: Any, *, force: bool) -> Command | None:
    """What to push for an item, by the source's own rules where it has some."""
    choose = getattr(work, "enqueue_task", None)
    if choose is not None:
        return await choose(item, force=force)  # type: ignore[no-any-return] # as below
    done = getattr(work, "already_done", None)
    if done is not None and not force and await done(item):
        return None
    return item  # type: ignore[no-any-return] # checked by whoever makes a task of it


async def _listed(work: WorkSource, force: bool, workers: int) -> AsyncGenerator[Any, None]:  # noqa: FBT001 - as the source takes it
    """What a source lists for all of its seeds, `workers` of them at a time."""
    room: asyncio.Queue[Any] = asyncio.Queue(workers)

    async def list_one(seed: Any) -> None:
        async for item in _asynchronous(work.list_tasks(seed, force=force)):
            await room.put(item)

    async def list_all() -> None:
        seeds = work.task_seeds() if hasattr(work, "task_seeds") else [None]
        async with aclosing(each(seeds, list_one, concurrency=workers)) as lists:
            async for _ in lists:
                pass

    listing = asyncio.create_task(list_all())
    getting: asyncio.Task[Any] | None = None
    try:
        while True:
            while not room.empty():
                yield room.get_nowait()
            if listing.done():
                break
            getting = asyncio.create_task(room.get())
            await asyncio.wait({getting, listing}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                yield getting.result()
            else:
                getting.cancel()
    finally:
        tasks = [listing] if getting is None else [listing, getting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    listing.result()


async def _asynchronous(items: AsyncIterable[Any] | Iterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
