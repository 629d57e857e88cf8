"""Runs coroutines at the same time; the first failure is raised itself, not a group of failures.

Callers branch on the type of what went wrong; several failures at once mean the same to them as the first one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def flat_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose failure is the first one itself, not a group of all."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def together(coroutines: Iterable[Coroutine[Any, Any, T]], *, at_once: int | None = None) -> list[T]:
    """Run them all and return their results in order; the first failure cancels the others and is raised.

    Args:
        coroutines: What to run.
        at_once: The most at a time; None = no limit.
    """
    limit = asyncio.Semaphore(at_once) if at_once is not None else None

    async def run(coroutine: Coroutine[Any, Any, T]) -> T:
        if limit is None:
            return await coroutine
        async with limit:
            return await coroutine

    waiting = list(coroutines)
    try:
        async with flat_group() as group:
            tasks = [group.create_task(run(coroutine)) for coroutine in waiting]
    finally:
        for coroutine in waiting:
            coroutine.close()  # without effect on those that ran; the others were cancelled before they started
    return [task.result() for task in tasks]
