"""Clusters: growth, order and node counts, with nodes that are only names and on a virtual clock."""

import asyncio

import pytest

from tests.support.tables import table
from workforce_local.azureml.cluster import Cluster, to_start
from workforce_local.azureml.pace import Pace
from workforce_local.config import ComputeConfig, TimingConfig

TIMING = TimingConfig(node_start_seconds=10, node_idle_seconds=60)
pytestmark = pytest.mark.looptime


class PaperNode:
    """A node that runs nothing."""

    def __init__(self, position):
        self.position = position
        self.up = False

    async def start(self):
        self.up = True

    async def stop(self):
        self.up = False


def make(**settings):
    made = []

    def factory(position):
        made.append(PaperNode(position))
        return made[-1]

    return Cluster(ComputeConfig(name="c", **settings), Pace(TIMING), factory), made


@table(
    ("waiting", "idle", "preparing", "present", "expected"),
    [(1, 0, 0, 0, 1), (3, 1, 1, 2, 1), (9, 0, 0, 1, 3), (0, 0, 0, 0, 0), (2, 2, 0, 2, 0)],
)
def test_as_many_nodes_are_started_as_are_missing(waiting, idle, preparing, present, expected):
    assert (
        to_start(waiting=waiting, idle=idle, preparing=preparing, present=present, room=4 - present, least=0)
        == expected
    )


def test_the_minimum_is_started_without_a_job():
    assert to_start(waiting=0, idle=0, preparing=0, present=1, room=3, least=3) == 2


async def test_a_job_gets_a_node_once_it_has_started():
    cluster, made = make(max_nodes=2)
    wish = cluster.ask(1)
    counts = cluster.counts()
    assert (counts.preparing, counts.current, counts.target) == (1, 1, 1)
    nodes = await wish.granted
    assert asyncio.get_running_loop().time() == pytest.approx(10)
    assert (nodes, cluster.counts().running) == (made, 1)
    cluster.release(wish)
    await cluster.close()
    assert not made[0].up


async def test_jobs_get_nodes_in_the_order_in_which_they_came():
    cluster, _ = make(max_nodes=1)
    first, second, third = (cluster.ask(1) for _ in range(3))
    await first.granted
    assert not second.granted.done()
    cluster.release(first)
    assert second.granted.done()
    assert not third.granted.done()
    assert cluster.counts().target == 1
    for wish in (second, third):
        cluster.release(wish)
    await cluster.close()


async def test_a_small_job_does_not_overtake_a_large_one():
    cluster, _ = make(max_nodes=2)
    running = cluster.ask(1)
    await running.granted
    large, small = cluster.ask(2), cluster.ask(1)
    await asyncio.sleep(100)
    assert not large.granted.done()
    assert not small.granted.done()
    cluster.release(running)
    assert len(await large.granted) == 2
    for wish in (large, small):
        cluster.release(wish)
    await cluster.close()


async def test_a_job_that_leaves_the_queue_lets_the_next_one_pass():
    cluster, _ = make(max_nodes=2)
    running = cluster.ask(1)
    await running.granted
    large, small = cluster.ask(2), cluster.ask(1)
    cluster.release(large)
    await small.granted
    for wish in (running, small):
        cluster.release(wish)
    await cluster.close()


async def test_locked_nodes_count_as_running_and_are_never_given():
    cluster, _ = make(max_nodes=3, locked_nodes=2)
    wishes = [cluster.ask(1), cluster.ask(1)]
    await wishes[0].granted
    await asyncio.sleep(100)
    assert not wishes[1].granted.done()
    counts = cluster.counts()
    assert (counts.running, counts.current, counts.target) == (3, 3, 3)
    for wish in wishes:
        cluster.release(wish)
    await cluster.close()


async def test_idle_nodes_go_after_a_while_down_to_the_minimum():
    cluster, made = make(max_nodes=3, min_nodes=1)
    cluster.start()
    wishes = [cluster.ask(1) for _ in range(3)]
    for wish in wishes:
        await wish.granted
        cluster.release(wish)
    assert cluster.counts().idle == 3
    await asyncio.sleep(61)
    assert cluster.counts().idle == 1
    assert sum(node.up for node in made) == 1
    await cluster.close()


async def test_a_node_that_is_used_again_does_not_go():
    cluster, made = make(max_nodes=1)
    wish = cluster.ask(1)
    await wish.granted
    cluster.release(wish)
    await asyncio.sleep(30)
    wish = cluster.ask(1)
    await wish.granted
    await asyncio.sleep(100)
    assert made[0].up
    cluster.release(wish)
    await cluster.close()


async def test_a_node_that_does_not_start_is_tried_again():
    attempts = []

    class Broken(PaperNode):
        async def start(self):
            attempts.append(self)
            if len(attempts) < 3:
                raise OSError("address in use")

    cluster = Cluster(ComputeConfig(name="c", max_nodes=1), Pace(TIMING), Broken)
    wish = cluster.ask(1)
    await wish.granted
    assert len(attempts) == 3
    cluster.release(wish)
    await cluster.close()


async def test_closing_takes_down_nodes_that_are_still_starting():
    cluster, made = make(max_nodes=2)
    wish = cluster.ask(1)
    await cluster.close()
    assert made == []
    assert cluster.nodes() == []
    wish.granted.cancel()
