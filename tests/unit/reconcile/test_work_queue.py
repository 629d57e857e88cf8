"""The work queue's guarantees: deduplication, one worker per key, no lost wake-ups, back-off, earliest deadline."""

import asyncio

import pytest

from workforce_operator.reconcile.work_queue import WorkQueue


@pytest.fixture
def queue():
    return WorkQueue(base_delay=1.0, max_delay=60.0, jitter=0.0)


async def drain_ready(queue):
    keys = []
    while len(queue):
        key = await queue.get()
        keys.append(key)
        queue.done(key)
    return keys


async def test_a_key_added_many_times_is_processed_once(queue):
    for _ in range(100):
        queue.add("a")
    assert await drain_ready(queue) == ["a"]


async def test_keys_come_out_in_the_order_they_came_in(queue):
    for key in "bca":
        queue.add(key)
    assert await drain_ready(queue) == ["b", "c", "a"]


async def test_a_key_in_a_hurry_goes_before_those_whose_turn_has_come_by_itself(queue):
    for key in "abc":
        queue.add(key)
    queue.hurry("c")
    queue.hurry("d")
    assert len(queue) == 4
    assert await drain_ready(queue) == ["c", "d", "a", "b"]
    queue.add("c")
    assert await drain_ready(queue) == ["c"]


async def test_a_key_hurried_while_it_is_processed_is_next(queue):
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("b")
    queue.add("a")
    queue.hurry("a")
    assert len(queue) == 1
    queue.done("a")
    assert await drain_ready(queue) == ["a", "b"]


async def test_many_in_a_hurry_let_others_by_now_and_then(queue):
    for key in "ab":
        queue.add(key)
    for number in range(10):
        queue.hurry(number)
    order = await drain_ready(queue)
    assert order == [0, 1, 2, 3, "a", 4, 5, 6, 7, "b", 8, 9]


async def test_a_key_in_both_lines_is_never_given_to_two_workers(queue):
    queue.add("a")
    queue.hurry("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"
    assert len(queue) == 0
    queue.done("a")
    assert await drain_ready(queue) == ["a"]


async def test_a_hurried_key_does_not_wait_for_its_time_any_more(queue):
    queue.add_after("a", 60)
    queue.hurry("a")
    assert queue.scheduled == 0
    assert await drain_ready(queue) == ["a"]


async def test_a_key_added_while_it_is_processed_is_not_given_to_a_second_worker(queue):
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert len(queue) == 1


async def test_many_changes_during_one_pass_make_exactly_one_more_pass(queue):
    queue.add("a")
    await queue.get()
    for _ in range(200):
        queue.add("a")
    queue.done("a")
    assert await drain_ready(queue) == ["a"]


@pytest.mark.looptime
async def test_a_later_deadline_does_not_postpone_an_earlier_one(queue, looptime):
    queue.add_after("a", 5)
    queue.add_after("a", 50)
    assert await queue.get() == "a"
    assert looptime == 5


@pytest.mark.looptime
async def test_an_earlier_deadline_replaces_a_later_one(queue, looptime):
    queue.add_after("a", 50)
    queue.add_after("a", 5)
    assert await queue.get() == "a"
    assert looptime == 5
    assert queue.scheduled == 0


@pytest.mark.looptime
async def test_adding_a_key_cancels_its_deadline(queue, looptime):
    queue.add_after("a", 50)
    queue.add("a")
    assert await drain_ready(queue) == ["a"]
    assert queue.scheduled == 0
    assert looptime == 0


async def test_a_deadline_in_the_past_is_now(queue):
    queue.add_after("a", -1)
    assert await drain_ready(queue) == ["a"]


@pytest.mark.looptime
async def test_a_deadline_set_while_the_key_is_processed_fires_after_it(queue, looptime):
    queue.add("a")
    key = await queue.get()
    queue.add_after("a", 30)
    queue.done(key)
    assert await queue.get() == "a"
    assert looptime == 30


async def test_a_deadline_is_pointless_for_a_key_that_waits_already(queue):
    queue.add("a")
    queue.add_after("a", 30)
    assert queue.scheduled == 0


async def test_back_off_doubles_up_to_its_maximum_and_is_reset_by_success(queue):
    delays = [queue.retry("a") for _ in range(8)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]
    queue.forget("a")
    assert queue.retry("a") == 1
    queue.close()


async def test_back_off_of_one_key_does_not_touch_another(queue):
    queue.retry("a")
    queue.retry("a")
    assert queue.retry("b") == 1
    queue.close()


async def test_back_off_survives_thousands_of_failures(queue):
    for _ in range(3000):
        delay = queue.retry("a")
    assert delay == 60
    queue.close()


async def test_jitter_only_lengthens_the_back_off():
    queue = WorkQueue(base_delay=10.0, jitter=0.1, rng=lambda: 0.5)
    assert queue.retry("a") == pytest.approx(10.5)
    queue.close()


@pytest.mark.looptime
async def test_a_change_wakes_a_key_that_is_in_back_off(queue, looptime):
    queue.retry("a")
    queue.add("a")
    assert await queue.get() == "a"
    assert looptime == 0


@pytest.mark.looptime
async def test_several_workers_share_the_keys_and_never_one_key(queue):
    running, peak, done = set(), 0, []

    async def work():
        nonlocal peak
        while (key := await queue.get()) is not None:
            assert key not in running
            running.add(key)
            peak = max(peak, len(running))
            await asyncio.sleep(1)
            running.discard(key)
            done.append(key)
            queue.done(key)

    for key in range(20):
        queue.add(key)
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(work())
        await asyncio.sleep(2.5)
        for key in range(20):
            queue.add(key)
        await asyncio.sleep(30)
        queue.close()
    assert peak == 4
    assert set(done) == set(range(20))
    assert len(done) <= 40


async def test_closing_ends_every_waiting_worker(queue):
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    assert await asyncio.gather(*waiting) == [None, None, None]


async def test_a_closed_queue_takes_nothing_in_and_gives_nothing_out(queue):
    queue.add("a")
    queue.add_after("b", 5)
    queue.close()
    queue.add("c")
    queue.add_after("d", 0)
    assert await queue.get() is None
    assert (len(queue), queue.scheduled) == (0, 0)


async def test_a_key_finished_after_closing_does_not_come_back(queue):
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.close()
    queue.done("a")
    assert len(queue) == 0


async def test_a_cancelled_worker_does_not_take_the_wake_up_with_it(queue):
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"
    with pytest.raises(asyncio.CancelledError):
        await first
