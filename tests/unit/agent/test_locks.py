"""Locks of running tasks, in virtual time."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from jobq.backends.memory import MemoryQueue
from jobq.errors import QueueUnavailable
from workforce_agent.locks import Lock, visibility

MINUTE = timedelta(minutes=1)


def test_the_timeout_starts_short_and_grows_with_the_tasks_age():
    ages = [0, 30, 60, 90, 600, 100_000]
    assert [visibility(timedelta(seconds=age)).total_seconds() for age in ages] == [60, 60, 60, 90, 600, 600]


def test_a_longer_first_timeout_is_kept():
    assert visibility(timedelta(0), timedelta(hours=1)) == timedelta(hours=1)


def test_a_large_fleet_stays_below_what_one_queue_takes():
    slots = 50_000
    assert slots / (visibility(timedelta(0)).total_seconds() / 2) < 2000


class Watched(MemoryQueue):
    """Counts renewals, and fails when told to."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        super().__init__(now=lambda: datetime.fromtimestamp(self.loop.time(), UTC))
        self.renewals = []
        self.failing = False

    async def renew(self, delivery, timeout):
        if self.failing:
            raise QueueUnavailable("down")
        self.renewals.append((round(self.loop.time() - self.begun), timeout.total_seconds()))
        return await super().renew(delivery, timeout)

    async def complete(self, delivery):
        if self.failing:
            raise QueueUnavailable("down")
        await super().complete(delivery)


async def held():
    """A queue, and the kept lock of its only message; made in the test, where the clock is the virtual one."""
    queue = Watched()
    queue.begun = queue.loop.time()
    await queue.send("x")
    now = queue.loop.time
    (delivery,) = await queue.receive(1, MINUTE)
    lock = Lock(queue, delivery, MINUTE, now(), now)
    return queue, lock, asyncio.create_task(lock.keep())


pytestmark = pytest.mark.looptime


async def test_a_lock_is_renewed_when_half_of_it_has_passed():
    queue, lock, keeper = await held()
    await asyncio.sleep(200)
    assert queue.renewals == [(30, 60), (60, 60), (90, 90), (135, 135)]
    assert await queue.receive(1, MINUTE) == []
    assert await lock.settle(queue.complete)
    keeper.cancel()


async def test_a_service_that_holds_locks_itself_is_asked_more_often():
    queue, lock, keeper = await held()
    queue.longest = MINUTE
    await asyncio.sleep(200)
    assert [timeout for _, timeout in queue.renewals] == [60] * 6
    assert await lock.settle(queue.complete)
    keeper.cancel()


async def test_an_outage_shorter_than_the_lock_loses_nothing():
    queue, lock, keeper = await held()
    queue.failing = True
    await asyncio.sleep(50)
    queue.failing = False
    await asyncio.sleep(10)
    assert not lock.lost.is_set()
    assert await lock.settle(queue.complete)
    keeper.cancel()


async def test_an_outage_longer_than_the_lock_loses_it():
    queue, lock, keeper = await held()
    queue.failing = True
    await asyncio.sleep(70)
    assert lock.lost.is_set()
    assert not await lock.settle(queue.complete)
    await keeper


async def test_a_message_that_somebody_else_took_is_lost_at_the_next_renewal():
    queue, lock, keeper = await held()
    queue._messages["1"].receipt = "somebody else's"
    await asyncio.sleep(31)
    assert lock.lost.is_set()
    await keeper


async def test_a_settlement_is_tried_again_while_the_lock_holds():
    queue, lock, keeper = await held()
    queue.failing = True
    settling = asyncio.create_task(lock.settle(queue.complete))
    await asyncio.sleep(20)
    queue.failing = False
    assert await settling
    assert (await queue.size()).total == 0
    keeper.cancel()
