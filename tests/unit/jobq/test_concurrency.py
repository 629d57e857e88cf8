"""Doing the same to many things: bounded, complete, and with nothing left behind however it ends."""

import asyncio
from contextlib import aclosing

import pytest

from jobq.concurrency import each


async def steps(number):
    """Let others run so often."""
    for _ in range(number):
        await asyncio.sleep(0)


async def later(items):
    for item in items:
        await steps(item % 3)
        yield item


async def endless():
    await asyncio.Event().wait()
    yield 1


async def slow(item):
    await steps(item % 4)
    return item


async def nothing_runs():
    await steps(5)  # a source that was dropped is closed by the loop
    return asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("make", [range, lambda count: later(range(count))], ids=["iterable", "asynchronous"])
@pytest.mark.parametrize("concurrency", [1, 3, 100])
async def test_every_item_is_worked_on_once(make, concurrency):
    async with aclosing(each(make(50), slow, concurrency=concurrency)) as results:
        assert sorted([result async for result in results]) == list(range(50))
    assert await nothing_runs()


async def test_no_more_items_are_held_than_may_be_worked_on():
    held = peak = 0

    def source():
        nonlocal held, peak
        for number in range(500):
            held += 1
            peak = max(peak, held)
            yield number

    async with aclosing(each(source(), slow, concurrency=7)) as results:
        async for _ in results:
            held -= 1
    assert peak <= 8


async def test_results_come_while_the_source_is_waited_for():
    async def one_then_wait():
        yield 1
        await asyncio.Event().wait()

    async with aclosing(each(one_then_wait(), slow, concurrency=5)) as results:
        assert await anext(results) == 1
    assert await nothing_runs()


async def test_whoever_is_cancelled_at_any_moment_leaves_nothing_behind():
    async def consume(pause):
        async with aclosing(each(later(range(1000)), slow, concurrency=4)) as results:
            async for _ in results:
                await steps(pause)

    for after in range(40):
        task = asyncio.create_task(consume(after % 3))
        await steps(after)
        task.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait({task})
        assert task.cancelled(), after
        assert await nothing_runs(), after


@pytest.mark.parametrize("make", [range, lambda count: later(range(count))], ids=["iterable", "asynchronous"])
async def test_whoever_stops_listening_leaves_nothing_behind(make):
    for take in range(1, 12):
        async with asyncio.timeout(10), aclosing(each(make(1000), slow, concurrency=4)) as results:
            for _ in range(take):
                await anext(results)
        assert await nothing_runs(), take


async def test_a_source_that_never_answers_does_not_hold_up_the_end():
    async with asyncio.timeout(10), aclosing(each(endless(), slow, concurrency=4)) as results:
        waiting = asyncio.create_task(anext(results))
        await steps(3)
        waiting.cancel()
        await asyncio.wait({waiting})
    assert await nothing_runs()


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_an_error_of_the_source_comes_after_the_results_of_what_it_gave(asynchronous):
    def broken():
        yield from range(3)
        raise OSError("the disk is gone")

    async def broken_later():
        for item in broken():
            yield item

    async with aclosing(each(broken_later() if asynchronous else broken(), slow, concurrency=2)) as results:
        assert sorted([await anext(results) for _ in range(3)]) == [0, 1, 2]
        with pytest.raises(OSError, match="disk is gone"):
            await anext(results)


async def test_an_error_of_the_work_ends_all_of_it():
    async def work(item):
        if item == 3:
            raise ValueError(item)
        await asyncio.Event().wait()

    with pytest.raises(ValueError, match="3"):
        async with asyncio.timeout(10), aclosing(each(range(1000), work, concurrency=5)) as results:
            await anext(results)
    assert await nothing_runs()
