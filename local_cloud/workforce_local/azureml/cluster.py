"""AmlCompute clusters: how many nodes there are, and which job gets one next.

A cluster grows by what waits, up to its maximum, gives nodes to jobs in the order in which they came, and gives idle
ones up after a while. Making and removing nodes is the caller's `NodeFactory`. Invariants: never more nodes than the
maximum less the locked ones; a node has one job at a time; a job never overtakes another one, however small it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from workforce_local.azureml.node import Node
from workforce_local.azureml.shapes import NodeCounts
from workforce_local.config import ComputeConfig, TimingConfig

_START_AGAIN_SECONDS = 1.0
_log = logging.getLogger(__name__)

NodeFactory = Callable[[int], Node]
"""Makes the node of a position in the cluster; positions of nodes that went are used again."""


@dataclass(eq=False)
class Wish:
    """A job's place in the queue."""

    count: int
    granted: asyncio.Future[list[Node]]
    """The nodes, once there are enough."""


@dataclass
class _Place:
    """A position in the cluster and the node on it, once that has started."""

    node: Node | None = None
    task: asyncio.Task[None] | None = None
    busy: bool = False
    idle: asyncio.TimerHandle | None = field(default=None, repr=False)


def to_start(*, waiting: int, idle: int, preparing: int, present: int, most: int, least: int) -> int:
    """How many nodes to start now: enough for all that wait, at least the minimum, at most the maximum."""
    needed = max(waiting - idle - preparing, least - present)
    return max(0, min(needed, most - present))


class Cluster:
    """One cluster. Close it to take its nodes down; jobs must have ended by then."""

    def __init__(self, config: ComputeConfig, timing: TimingConfig, make_node: NodeFactory) -> None:
        self.config = config
        self.changed = self.created = datetime.now(UTC)
        self._timing = timing
        self._make_node = make_node
        self._most = config.max_nodes - config.locked_nodes
        self._places: dict[int, _Place] = {}
        self._wishes: deque[Wish] = deque()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def most(self) -> int:
        """The most nodes that jobs can have at a time."""
        return self._most

    def counts(self) -> NodeCounts:
        """The node counts that the cluster reports; nodes that others hold are running."""
        preparing = sum(place.node is None for place in self._places.values())
        running = sum(place.busy for place in self._places.values()) + self.config.locked_nodes
        present = len(self._places) + self.config.locked_nodes
        wanted = running + sum(wish.count for wish in self._wishes)
        target = min(max(wanted, present), self.config.max_nodes)
        return NodeCounts(preparing, running, present - preparing - running, 0, target)

    def nodes(self) -> list[Node]:
        """The nodes that have started."""
        return [place.node for place in self._places.values() if place.node is not None]

    def start(self) -> None:
        """Start the minimum number of nodes."""
        self._balance()

    def ask(self, count: int) -> Wish:
        """Stand in the queue for so many nodes. Release the wish in the end, granted or not."""
        wish = Wish(count, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self._balance()
        return wish

    def release(self, wish: Wish) -> None:
        """Leave the queue, or give the nodes back."""
        if wish in self._wishes:
            self._wishes.remove(wish)
        if wish.granted.done() and not wish.granted.cancelled():
            self._give_back(wish.granted.result())
        self._balance()

    async def close(self) -> None:
        """Take all nodes down."""
        self._most = 0
        for position in list(self._places):
            self._remove(position)
        if self._closing:
            await asyncio.wait(self._closing)

    def _balance(self) -> None:
        """Give idle nodes to the first in the queue, then start what is missing."""
        while self._wishes:
            idle = [place for place in self._places.values() if place.node is not None and not place.busy]
            wish = self._wishes[0]
            if wish.granted.done():
                self._wishes.popleft()
                continue
            if len(idle) < wish.count:
                break
            self._wishes.popleft()
            wish.granted.set_result([self._take(place) for place in idle[: wish.count]])
        self._grow()

    def _grow(self) -> None:
        counts = self.counts()
        number = to_start(
            waiting=sum(wish.count for wish in self._wishes), idle=counts.idle, preparing=counts.preparing,
            present=len(self._places), most=self._most, least=min(self.config.min_nodes, self._most),
        )  # fmt: skip
        free = [position for position in range(self._most) if position not in self._places]
        for position in free[:number]:
            place = self._places[position] = _Place()
            place.task = asyncio.create_task(self._start(position, place), name=f"node {self.config.name}/{position}")
        if number:
            self.changed = datetime.now(UTC)

    async def _start(self, position: int, place: _Place) -> None:
        await asyncio.sleep(self._timing.node_start_seconds)
        node = self._make_node(position)
        try:
            await node.start()
        except OSError as error:
            _log.warning("node %s/%d does not start, trying again: %s", self.config.name, position, error)
            del self._places[position]
            asyncio.get_running_loop().call_later(_START_AGAIN_SECONDS, self._balance)
            return
        place.node = node
        self._rest(position, place)
        self._balance()

    def _take(self, place: _Place) -> Node:
        assert place.node is not None
        place.busy = True
        if place.idle is not None:
            place.idle.cancel()
            place.idle = None
        return place.node

    def _give_back(self, nodes: list[Node]) -> None:
        for position, place in list(self._places.items()):
            if place.node in nodes:
                place.busy = False
                self._rest(position, place)

    def _rest(self, position: int, place: _Place) -> None:
        loop = asyncio.get_running_loop()
        place.idle = loop.call_later(self._timing.node_idle_seconds, self._expire, position, place)

    def _expire(self, position: int, place: _Place) -> None:
        if self._places.get(position) is place and not place.busy and len(self._places) > self.config.min_nodes:
            self._remove(position)

    def _remove(self, position: int) -> None:
        place = self._places.pop(position)
        self.changed = datetime.now(UTC)
        if place.idle is not None:
            place.idle.cancel()
        task = asyncio.create_task(_take_down(place), name=f"node {self.config.name}/{position} goes")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _take_down(place: _Place) -> None:
    if place.task is not None and not place.task.done():
        place.task.cancel()
        await asyncio.wait([place.task])
    if place.node is not None:
        await place.node.stop()
