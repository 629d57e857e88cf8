"""AmlCompute clusters: how many nodes there are, and which job gets one next.

A cluster grows by what waits, up to its maximum, gives nodes to jobs in the order in which they came, and gives idle
ones up after a while. Making and removing nodes is the caller's `NodeFactory`. Invariants: never more nodes are started
than the maximum less the shared ones, nor than the region's quota allows; a node has one job at a time; a job never
overtakes another one, however small it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from workforce_local.azureml.node import Node
from workforce_local.azureml.pace import Pace
from workforce_local.azureml.shapes import NodeCounts
from workforce_local.config import ComputeConfig

_START_AGAIN_SECONDS = 1.0
_log = logging.getLogger(__name__)

NodeFactory = Callable[[int], Node]
"""Makes the node of a position in the cluster; positions of nodes that went are used again."""


@dataclass
class Capacity:
    """How many nodes there may be; what others hold may change at any time."""

    maximum: int
    least: int = 0
    shared: int = 0
    """Nodes that somebody else's jobs hold."""
    quota: Callable[[], int | None] = lambda: None
    """How many more nodes the region's quota allows; None is any number."""
    freed: Callable[[], None] = lambda: None
    """Told when a node has gone: another cluster of the region may grow now."""

    @classmethod
    def of(cls, config: ComputeConfig) -> Capacity:
        """As configured."""
        return cls(config.max_nodes, config.min_nodes, config.locked_nodes)

    @property
    def most(self) -> int:
        """The most nodes that our jobs can have at a time."""
        return max(0, self.maximum - self.shared)

    def room(self, present: int) -> int:
        """How many nodes may be started, besides those that there are."""
        own = self.most - present
        left = self.quota()
        return max(0, own if left is None else min(own, left))


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


def to_start(*, waiting: int, idle: int, preparing: int, present: int, room: int, least: int) -> int:
    """How many nodes to start now: enough for all that wait, at least the minimum, at most what there is room for."""
    needed = max(waiting - idle - preparing, least - present)
    return max(0, min(needed, room))


class Cluster:
    """One cluster. Close it to take its nodes down; jobs must have ended by then."""

    def __init__(
        self, config: ComputeConfig, pace: Pace, make_node: NodeFactory, capacity: Capacity | None = None
    ) -> None:
        self.config = config
        self.pace = pace
        self.capacity = capacity or Capacity.of(config)
        self.changed = self.created = datetime.now(UTC)
        self._make_node = make_node
        self._places: dict[int, _Place] = {}
        self._wishes: deque[Wish] = deque()
        self._closing: set[asyncio.Task[None]] = set()
        self._preempted = 0
        self._leaving = 0
        self._closed = False

    def counts(self) -> NodeCounts:
        """The node counts that the cluster reports; nodes that others hold are running."""
        shared = self.capacity.shared
        preparing = sum(place.node is None for place in self._places.values())
        running = sum(place.busy for place in self._places.values()) + shared
        present = len(self._places) + shared
        wanted = running + sum(wish.count for wish in self._wishes)
        target = min(max(wanted, present), self.capacity.maximum)
        idle = present - preparing - running
        return NodeCounts(preparing, running, idle, self._leaving, target, self._preempted)

    def nodes(self) -> list[Node]:
        """The nodes that have started."""
        return [place.node for place in self._places.values() if place.node is not None]

    def start(self) -> None:
        """Start the minimum number of nodes."""
        self.balance()

    def ask(self, count: int) -> Wish:
        """Stand in the queue for so many nodes. Release the wish in the end, granted or not."""
        wish = Wish(count, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self.balance()
        return wish

    def release(self, wish: Wish) -> None:
        """Leave the queue, or give the nodes back."""
        if wish in self._wishes:
            self._wishes.remove(wish)
        if wish.granted.done() and not wish.granted.cancelled():
            self._give_back(wish.granted.result())
        self.balance()

    async def close(self) -> None:
        """Take all nodes down."""
        self._closed = True
        for position in list(self._places):
            self._remove(position)
        if self._closing:
            await asyncio.wait(self._closing)

    def lose(self, node: Node, *, preempted: bool) -> None:
        """Take a node away for good; what runs on it is for the caller to end."""
        position = next((position for position, place in self._places.items() if place.node is node), None)
        if position is None:
            return
        if preempted:
            self._preempted += 1
            asyncio.get_running_loop().call_later(self.pace.seconds("allocation", node.node_id), self._forget)
        self._remove(position)
        self.balance()

    def share(self, count: int) -> None:
        """Somebody else's jobs hold this many nodes from now on; idle nodes of ours make room, busy ones do not."""
        self.capacity.shared = count
        for position, place in list(self._places.items()):
            if len(self._places) > self.capacity.most and place.node is not None and not place.busy:
                self._remove(position)
        self.changed = datetime.now(UTC)
        self.balance()

    def balance(self) -> None:
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
        if self._closed:
            return
        counts = self.counts()
        number = to_start(
            waiting=sum(wish.count for wish in self._wishes), idle=counts.idle, preparing=counts.preparing,
            present=len(self._places), room=self.capacity.room(len(self._places)),
            least=min(self.capacity.least, self.capacity.most),
        )  # fmt: skip
        free = [position for position in range(self.capacity.maximum) if position not in self._places]
        for position in free[:number]:
            place = self._places[position] = _Place()
            place.task = asyncio.create_task(self._start(position, place), name=f"node {self.config.name}/{position}")
        if number:
            self.changed = datetime.now(UTC)

    async def _start(self, position: int, place: _Place) -> None:
        await asyncio.sleep(self.pace.seconds("allocation", f"node {position}"))
        node = self._make_node(position)
        try:
            await node.start()
        except OSError as error:
            _log.warning("node %s/%d does not start, trying again: %s", self.config.name, position, error)
            del self._places[position]
            asyncio.get_running_loop().call_later(_START_AGAIN_SECONDS, self.balance)
            return
        place.node = node
        self._rest(position, place)
        self.balance()

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
        place.idle = loop.call_later(self.pace.timing.node_idle_seconds, self._expire, position, place)

    def _expire(self, position: int, place: _Place) -> None:
        if self._places.get(position) is place and not place.busy and len(self._places) > self.capacity.least:
            self._remove(position)

    def _remove(self, position: int) -> None:
        place = self._places.pop(position)
        self.changed = datetime.now(UTC)
        if place.idle is not None:
            place.idle.cancel()
        task = asyncio.create_task(_take_down(place), name=f"node {self.config.name}/{position} goes")
        self._leaving += 1
        self._closing.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving -= 1
        self._closing.discard(task)
        if not self._closed:
            self.capacity.freed()

    def _forget(self) -> None:
        self._preempted -= 1


async def _take_down(place: _Place) -> None:
    if place.task is not None and not place.task.done():
        place.task.cancel()
        await asyncio.wait([place.task])
    if place.node is not None:
        await place.node.stop()
