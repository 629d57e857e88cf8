"""The listeners against a bus in memory: receive, check, write the intent, complete, and only then signal."""

import asyncio
import json
import os
from collections import deque
from contextlib import asynccontextmanager

import pytest

from jobq.control import Operation
from workforce_agent import control
from workforce_agent.control import BusError, SessionBusy, TargetedListener, UntargetedListener
from workforce_agent.pid_file import PidFile

DRAIN = b'{"operation": "graceful-downscale"}'


class Message:
    def __init__(self, body):
        self.body = body


class Bus:
    """One entity in memory, with faults on demand."""

    def __init__(self, *bodies):
        self.waiting = deque(Message(body) for body in bodies)
        self.settled = []
        self.opened = self.closed = 0
        self.open_faults = deque()
        self.complete_fault = None
        self.state = 0
        self.renewed = 0
        self.came = asyncio.Event()

    def send(self, body):
        self.waiting.append(Message(body))
        self.came.set()

    @asynccontextmanager
    async def topic(self):
        if self.open_faults:
            raise self.open_faults.popleft()
        self.opened += 1
        try:
            yield self
        finally:
            self.closed += 1

    @asynccontextmanager
    async def session(self, job):
        async with self.topic():
            yield self

    async def receive(self, wait):
        if not self.waiting:
            self.came.clear()
            try:
                async with asyncio.timeout(wait):
                    await self.came.wait()
            except TimeoutError:
                return None
        return self.waiting.popleft() if self.waiting else None

    async def complete(self, message):
        if self.complete_fault:
            raise self.complete_fault
        self.settled.append(("complete", ""))

    async def dead_letter(self, message, reason, description):
        self.settled.append((reason, description))

    async def abandon(self, message):
        self.settled.append(("abandon", ""))

    async def has_message(self):
        return bool(self.waiting)

    async def renew(self):
        self.renewed += 1

    async def revision(self):
        return self.state

    async def set_revision(self, revision):
        self.state = revision


class Node:
    """A worker as the listener sees it."""

    def __init__(self):
        self.pulling, self.leaving, self.braced, self.free = True, False, False, True
        self.waiters = []

    def holds_receiver(self):
        return self.pulling and self.free

    async def until_changed(self):
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        await waiter

    def change(self, **fields):
        for name, value in fields.items():
            setattr(self, name, value)
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Here:
    """This process as a worker whose signals are counted and whose intents are taken at once."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.taken = []
        self.file = PidFile(root, "w1", topic="ns/t", job="j1")
        monkeypatch.setattr(os, "kill", lambda *_: self.taken.extend(self.file.take_intents()))


@pytest.fixture
def here(tmp_path, monkeypatch):
    here = Here(tmp_path, monkeypatch)
    with here.file:
        yield here


@asynccontextmanager
async def untargeted(here, bus, node):
    listening = asyncio.create_task(UntargetedListener(bus, node, here.root, topic="ns/t", job="j1").run())
    try:
        yield
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


@asynccontextmanager
async def targeted(here, bus, node=None):
    listener = TargetedListener(bus, node or Node(), here.root, job="j1")
    listening = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


pytestmark = pytest.mark.looptime


async def test_an_order_is_completed_and_then_signalled(here):
    bus = Bus(DRAIN)
    async with untargeted(here, bus, Node()):
        await asyncio.sleep(1)
    assert bus.settled == [("complete", "")]
    assert [intent.operation for intent in here.taken] == [Operation.GRACEFUL_DOWNSCALE]


async def test_an_order_that_was_lost_before_its_completion_is_forgotten(here):
    bus = Bus(DRAIN)
    bus.complete_fault = BusError("lock lost")
    async with untargeted(here, bus, Node()):
        await asyncio.sleep(0.5)
        assert here.file.take_intents() == []
    assert here.taken == []


async def test_nonsense_goes_to_the_dead_letters_with_a_reason_and_the_listener_goes_on(here):
    bus = Bus(b"drain!", b'{"operation": "explode"}', b'{"operation": "accept-new-tasks"}', DRAIN)
    async with untargeted(here, bus, Node()):
        await asyncio.sleep(1)
    assert [reason for reason, _ in bus.settled] == ["refused", "refused", "refused", "complete"]
    assert "not JSON" in bus.settled[0][1]
    assert len(here.taken) == 1


async def test_a_node_that_leaves_takes_back_its_credit_at_once(here):
    bus, node = Bus(), Node()
    async with untargeted(here, bus, node):
        await asyncio.sleep(1)
        assert (bus.opened, bus.closed) == (1, 0)
        node.change(leaving=True)
        await asyncio.sleep(0.1)
        assert (bus.opened, bus.closed) == (1, 1)
        bus.send(DRAIN)
        await asyncio.sleep(200)
    assert bus.settled == []


async def test_a_node_with_long_tasks_looks_once_a_minute(here):
    bus, node = Bus(), Node()
    node.free = False
    async with untargeted(here, bus, node):
        await asyncio.sleep(600)
        assert 9 <= bus.opened <= 10
        bus.send(DRAIN)
        await asyncio.sleep(65)
    assert len(here.taken) == 1


async def test_a_node_whose_slot_comes_free_listens_again_at_once(here):
    bus, node = Bus(), Node()
    node.free = False
    async with untargeted(here, bus, node):
        await asyncio.sleep(10)
        node.change(free=True)
        bus.send(DRAIN)
        await asyncio.sleep(1)
    assert len(here.taken) == 1


async def test_a_node_that_accepts_nothing_leaves_such_an_order_to_another(here):
    bus, node = Bus(b'{"operation": "do-not-accept-new-tasks"}'), Node()
    node.pulling = False
    async with untargeted(here, bus, node):
        await asyncio.sleep(1)
    assert bus.settled == [("abandon", "")]
    assert here.taken == []


async def test_faults_of_the_bus_are_waited_out(here):
    bus = Bus(DRAIN)
    bus.open_faults.extend(BusError("down") for _ in range(5))
    async with untargeted(here, bus, Node()):
        await asyncio.sleep(60)
    assert len(here.taken) == 1


async def test_the_session_is_looked_at_before_work_starts(here):
    bus = Bus(json.dumps({"operation": "graceful-downscale", "id": "o1", "revision": 3}).encode())
    async with targeted(here, bus) as listener:
        await listener.first_look()
        assert [(intent.id, intent.revision) for intent in here.taken] == [("o1", 3)]
    assert bus.state == 3


async def test_an_old_order_of_a_late_leader_does_nothing(here):
    bus = Bus(json.dumps({"operation": "graceful-downscale", "id": "o1", "revision": 3}).encode())
    bus.state = 4
    async with targeted(here, bus) as listener:
        await listener.first_look()
    assert bus.settled == [("complete", "")]
    assert here.taken == []


async def test_work_waits_ten_seconds_for_a_bus_that_is_down_and_no_longer(here):
    bus = Bus()
    bus.open_faults.extend(BusError("down") for _ in range(100))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with targeted(here, bus) as listener:
        await listener.first_look()
    assert 10 <= loop.time() - begun < 11


async def test_a_session_of_a_dead_predecessor_is_waited_for(here):
    bus = Bus(DRAIN)
    bus.open_faults.extend(SessionBusy("locked") for _ in range(50))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with targeted(here, bus) as listener:
        await listener.first_look()
        assert len(here.taken) == 1
    assert 240 < loop.time() - begun < 300


async def test_a_session_that_is_never_free_is_given_up_after_330_seconds(here):
    bus = Bus()
    bus.open_faults.extend(SessionBusy("locked") for _ in range(500))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with targeted(here, bus) as listener:
        await listener.first_look()
    assert 330 <= loop.time() - begun < 331


async def test_the_session_is_kept_by_renewal(here):
    bus = Bus()
    async with targeted(here, bus):
        await asyncio.sleep(1000)
    assert 6 <= bus.renewed <= 8


async def test_the_session_is_given_back_while_the_node_is_being_taken_away(here):
    """The job's next process needs it first thing; if the node stays after all, this one looks at it again."""
    bus, node = Bus(), Node()
    async with targeted(here, bus, node) as listener:
        await listener.first_look()
        node.change(braced=True)
        await asyncio.sleep(1)
        assert (bus.opened, bus.closed) == (1, 1)
        bus.send(DRAIN)
        await asyncio.sleep(60)
        assert here.taken == []
        node.change(braced=False)
        await asyncio.sleep(1)
    assert len(here.taken) == 1


async def test_one_agent_of_a_job_holds_the_session_and_the_next_takes_it_over(here):
    bus = Bus()
    async with targeted(here, bus) as first:
        await first.first_look()
        async with targeted(here, bus) as second:
            await second.first_look()
            assert bus.opened == 1
    async with targeted(here, bus) as third:
        await third.first_look()
        assert bus.opened == 2


def test_the_session_is_renewed_well_within_its_lock():
    assert control.RENEW_SECONDS + control.RECEIVE_SECONDS < 300
