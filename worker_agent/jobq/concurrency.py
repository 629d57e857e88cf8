"""Doing the same to many things, a few at a time, in constant memory and without anything left behind.

The source is read only while there is room, results come as they are ready, and whoever stops listening ends all that
is under way. It knows nothing of queues or tasks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def each(
    source: Iterable[T] | AsyncIterable[T], work: Callable[[T], Coroutine[Any, Any, R]], *, concurrency: int
) -> AsyncGenerator[R, None]:
    """Call `work` with each item, at most `concurrency` at a time, and yield the results as they come.

    At most `concurrency` items are under way or waiting to be yielded. An error of the source is raised after the
    results of all items that it gave; an error of `work` is raised at once and ends the others.
    """
    crew: _Crew[T, R] = _Crew(work)
    reader = _Reader(source, crew.wake)
    try:
        while True:
            while crew.done:
                yield crew.done.popleft().result()
            while crew.size < concurrency and (read := reader.next()):
                crew.start(*read)
            if not crew.size and reader.over:
                break
            await crew.until_woken()
    finally:
        await _end({*crew.running, *crew.done, *reader.tasks})
    reader.raise_error()


class _Crew(Generic[T, R]):
    """The calls under way, and those that are done and not yielded yet."""

    def __init__(self, work: Callable[[T], Coroutine[Any, Any, R]]) -> None:
        self.running: set[asyncio.Task[R]] = set()
        self.done: deque[asyncio.Task[R]] = deque()
        self._work = work
        self._woken = asyncio.Event()

    @property
    def size(self) -> int:
        return len(self.running) + len(self.done)

    def start(self, item: T) -> None:
        task = asyncio.create_task(self._work(item))
        self.running.add(task)
        task.add_done_callback(self._ended)

    def wake(self) -> None:
        self._woken.set()

    async def until_woken(self) -> None:
        await self._woken.wait()
        self._woken.clear()

    def _ended(self, task: asyncio.Task[R]) -> None:
        self.running.discard(task)
        self.done.append(task)
        self.wake()


class _Reader(Generic[T]):
    """Reads one item ahead of need from an asynchronous source, and none from another."""

    def __init__(self, source: Iterable[T] | AsyncIterable[T], wake: Callable[[], None]) -> None:
        self.over = False
        self.tasks: set[asyncio.Task[T]] = set()
        self._wake = wake
        self._error: BaseException | None = None
        self._later: AsyncIterator[T] | None = aiter(source) if isinstance(source, AsyncIterable) else None
        self._now = iter(()) if isinstance(source, AsyncIterable) else iter(source)

    def next(self) -> tuple[T] | None:
        """The next item, or None if there is none yet, or none at all."""
        if self.over:
            return None
        return self._next_now() if self._later is None else self._next_later(self._later)

    def raise_error(self) -> None:
        """Raise what ended the source, if it was an error."""
        if self._error is not None:
            raise self._error

    def _next_now(self) -> tuple[T] | None:
        try:
            return (next(self._now),)
        except StopIteration:
            self.over = True
        except Exception as error:
            # Code of the caller: kept until the items that it gave before are dealt with.
            self.over, self._error = True, error
        return None

    def _next_later(self, source: AsyncIterator[T]) -> tuple[T] | None:
        if not self.tasks:
            task = asyncio.create_task(_read(source))
            task.add_done_callback(lambda _: self._wake())
            self.tasks.add(task)
            return None
        (task,) = self.tasks
        if not task.done():
            return None
        self.tasks.clear()
        error = task.exception()
        if error is None:
            return (task.result(),)
        self.over, self._error = True, None if isinstance(error, StopAsyncIteration) else error
        return None


async def _read(source: AsyncIterator[T]) -> T:
    return await anext(source)


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are gone; what they say then is of no interest."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
