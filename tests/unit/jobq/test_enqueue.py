"""Pushing many tasks: each has its result, and one failure stops no other."""

import asyncio
from contextlib import aclosing

from jobq.backends.memory import MemoryQueue
from jobq.enqueue import enqueue
from jobq.errors import MaybeStored, NotStored
from jobq.queue import JobQ
from jobq.task import Task, shell_kwargs


class Flaky(MemoryQueue):
    """Fails for bodies that contain a word."""

    async def send(self, body, **options):
        if "refuse" in body:
            raise NotStored("no")
        if "vanish" in body:
            raise MaybeStored("silence")
        await super().send(body, **options)


def tasks(*commands):
    return [Task.new(shell_kwargs(command)) for command in commands]


async def results(queue, items, **options):
    async with aclosing(enqueue(queue, items, **options)) as pushed:
        return [result async for result in pushed]


async def test_every_task_is_stored_or_named():
    queue = JobQ(Flaky())
    found = await results(queue, tasks("a", "refuse", "b", "vanish", "x" * 70_000))
    assert {r.task.kwargs["cmd"][:7]: (r.stored, r.unknown) for r in found} == {
        "a": (True, False),
        "b": (True, False),
        "refuse": (False, False),
        "vanish": (False, True),
        "xxxxxxx": (False, False),
    }
    assert (await queue.size()).total == 2


async def test_more_failures_than_workers_do_not_hang():
    assert len(await results(JobQ(Flaky()), tasks(*["refuse"] * 50), concurrency=3)) == 50


async def test_the_source_is_read_only_as_far_as_needed():
    read = []

    def source():
        for number in range(1000):
            read.append(number)
            yield from tasks(f"echo {number}")

    async with aclosing(enqueue(JobQ(MemoryQueue()), source(), concurrency=4)) as pushed:
        async for _ in pushed:
            break
    assert len(read) < 20


async def test_an_end_at_any_moment_leaves_no_push_behind():
    for take in range(1, 30):
        async with (
            asyncio.timeout(30),
            aclosing(enqueue(JobQ(MemoryQueue()), tasks(*"abcdefgh" * 10), concurrency=4)) as pushed,
        ):
            for _ in range(take):
                await anext(pushed)
        assert asyncio.all_tasks() == {asyncio.current_task()}
