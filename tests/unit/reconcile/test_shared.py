"""One reading of a cluster or a task queue for all Workforces."""

import asyncio
from dataclasses import replace

import pytest

from workforce_operator.adapters.memory import MemoryCapacity
from workforce_operator.api.spec import Queue
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.errors import Unavailable
from workforce_operator.reconcile.shared import SharedCapacity, SharedDepth

HERE = ClusterCapacity(9, 1, 1, 0)


class Slow(MemoryCapacity):
    """Answers when told to."""

    def __init__(self):
        super().__init__()
        self.go = asyncio.Event()

    async def read(self, place):
        answer = await super().read(place)
        await self.go.wait()
        return answer


class Seconds:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
async def parts(world):
    source, clock = MemoryCapacity(), Seconds()
    source.clusters["ws-uksouth", "cluster"] = HERE
    shared = SharedCapacity(source, seconds=4, clock=clock)
    yield source, clock, shared
    await shared.close()


def asked(source):
    return len(source.faults.made("read"))


async def test_an_answer_serves_all_workforces_for_a_while(world, parts):
    source, clock, shared = parts
    place = world.place()
    other = replace(place, owner="k3v9x2ab/other/wf", coordinates=place.coordinates.model_copy(update={"topic": "t"}))
    assert await shared.read(place) == HERE
    clock.now = 3.9
    assert await shared.read(other) == HERE
    assert asked(source) == 1
    clock.now = 4.0
    await shared.read(other)
    assert asked(source) == 2


async def test_clusters_are_told_apart_whatever_the_case_of_their_names(world, parts):
    source, _, shared = parts
    source.clusters["ws-uksouth", "other"] = replace(HERE, most=2)
    place = world.place()
    assert await shared.read(place) == HERE
    shouted = replace(place, coordinates=place.coordinates.model_copy(update={"resource_group": "RG"}))
    assert await shared.read(shouted) == HERE
    other = replace(place, coordinates=place.coordinates.model_copy(update={"compute": "other"}))
    assert await shared.read(other) == replace(HERE, most=2)
    assert asked(source) == 2


async def test_whoever_asks_meanwhile_waits_for_the_same_answer(world):
    source = Slow()
    shared = SharedCapacity(source)
    both = [asyncio.create_task(shared.read(world.place())) for _ in range(2)]
    await asyncio.sleep(0)
    source.go.set()
    assert await asyncio.gather(*both) == [None, None]
    assert asked(source) == 1


async def test_who_gives_up_takes_the_answer_from_nobody_else(world):
    source = Slow()
    shared = SharedCapacity(source)
    first, second = (asyncio.create_task(shared.read(world.place())) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    source.go.set()
    assert await second is None
    assert asked(source) == 1


async def test_a_failure_is_shared_and_then_forgotten(world, parts):
    source, clock, shared = parts
    source.faults.next_error("read", Unavailable("no answer"))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await shared.read(world.place())
    assert asked(source) == 1
    clock.now = 5
    assert await shared.read(world.place()) == HERE


async def test_old_answers_are_not_kept(world, parts):
    _, clock, shared = parts
    await shared.read(world.place())
    clock.now = 10
    await shared.read(world.place("westeurope"))
    assert len(shared._shared._readings) == 1


async def test_workforces_that_share_a_queue_share_a_reading_of_it_for_a_second(world):
    clock = Seconds()
    shared = SharedDepth(world.depth, clock=clock)
    queues = []
    for name in ("tasks", "others"):
        world.depth.set("acct", name, 3)
        queues.append(Queue.model_validate({"type": "Storage", "storage": {"account": "acct", "name": name}}))
    first, second = await asyncio.gather(shared.read(queues[0]), shared.read(queues[0].model_copy()))
    assert first == second == await shared.read(queues[0])
    assert asked(world.depth) == 1
    await shared.read(queues[1])
    assert asked(world.depth) == 2
    clock.now = 1.0
    await shared.read(queues[0])
    assert asked(world.depth) == 3
    await shared.close()
