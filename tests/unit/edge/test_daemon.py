"""The life of the process: it waits, stands by, leads, ends in order, and never outlives its lease."""

import asyncio

import pytest
from structlog.testing import capture_logs

from workforce_operator.adapters.memory import MemoryWorkforceStore
from workforce_operator.domain.errors import Fenced, Unavailable
from workforce_operator.edge.daemon import Daemon, ExitCode, Parts, State
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.telemetry import Pulse
from workforce_operator.reconcile.work_queue import WorkQueue

KEY = Key("chem", "md")


@pytest.fixture(autouse=True)
def said():
    """What is logged; printing one traceback, with colours and frames, takes as long as all these tests."""
    with capture_logs() as lines:
        yield lines


class HandMadeLeadership:
    def __init__(self, *, elected=True):
        self.elected, self.lost, self.released = asyncio.Event(), asyncio.Event(), False
        if elected:
            self.elected.set()

    async def acquire(self, standing_by):
        if not self.elected.is_set():
            standing_by()
        await self.elected.wait()

    async def hold(self):
        await self.lost.wait()

    async def release(self):
        self.released = True


class RecordingLoop:
    def __init__(self, queue):
        self.queue, self.keys, self.error, self.gate = queue, [], None, None

    async def run(self):
        while (key := await self.queue.get()) is not None:
            self.keys.append(key)
            if self.error is not None:
                raise self.error
            if self.gate is not None:
                await self.gate.wait()
            self.queue.done(key)


class Process:
    def __init__(self, *, pulse=None, **options):
        self.leadership = HandMadeLeadership(**options)
        self.store, self.queue, self.pulse = MemoryWorkforceStore(), WorkQueue(), pulse or Pulse()
        self.store.apply(KEY, {})
        self.loop = RecordingLoop(self.queue)
        self.installation_errors, self.settled = [], True
        self.informer = asyncio.Event().wait
        self.daemon = Daemon(
            Parts(
                leadership=self.leadership,
                store=self.store,
                queue=self.queue,
                pulse=self.pulse,
                installation=self.installation,
                loop=lambda _: self.loop,
                informer=self.inform,
                pass_seconds=300,
                drain_seconds=10,
                settled=lambda: self.settled,
            )
        )

    async def inform(self):
        await self.informer()

    async def installation(self):
        if self.installation_errors:
            raise self.installation_errors.pop(0)
        return "k3v9x2ab"

    async def until(self, condition):
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come to that")


@pytest.fixture
def process():
    return Process()


@pytest.mark.looptime
async def test_the_leader_works_on_every_workforce_that_exists(process):
    running = asyncio.create_task(process.daemon.run())
    await process.until(lambda: process.loop.keys == [KEY])
    assert process.daemon.state is State.LEADING
    process.daemon.stop()
    assert await running is ExitCode.STOPPED
    assert process.leadership.released


@pytest.mark.looptime
async def test_a_replica_that_is_not_elected_stands_by_and_is_ready_but_makes_no_pass(looptime):
    process = Process(elected=False)
    assert not process.daemon.ready().ok
    running = asyncio.create_task(process.daemon.run())
    await process.until(lambda: process.daemon.state is State.STANDBY)
    assert process.daemon.ready().ok
    assert process.daemon.alive().ok
    assert process.loop.keys == []
    process.leadership.elected.set()
    await process.until(lambda: process.loop.keys == [KEY])
    process.daemon.stop()
    await running


@pytest.mark.looptime
async def test_an_unreachable_api_server_is_waited_for(process, looptime):
    process.installation_errors = [Unavailable("refused"), Unavailable("refused")]
    process.store.faults.next_error("list_keys", Unavailable("refused"))
    running = asyncio.create_task(process.daemon.run())
    await process.until(lambda: process.loop.keys == [KEY])
    assert process.daemon.alive().ok
    process.daemon.stop()
    await running


@pytest.mark.looptime
async def test_a_lost_lease_ends_the_process_with_its_own_exit_code(process):
    running = asyncio.create_task(process.daemon.run())
    await process.until(lambda: process.loop.keys == [KEY])
    process.leadership.lost.set()
    assert await running is ExitCode.LEASE_LOST
    assert not process.leadership.released


@pytest.mark.looptime
async def test_a_write_that_was_fenced_ends_the_process_the_same_way(process):
    process.loop.error = Fenced("another process leads")
    assert await process.daemon.run() is ExitCode.LEASE_LOST


@pytest.mark.looptime
async def test_a_part_that_dies_ends_the_process(process):
    async def dies():
        raise RuntimeError("gone")

    process.informer = dies
    assert await process.daemon.run() is ExitCode.BROKEN


@pytest.mark.looptime
async def test_the_pass_under_way_may_finish_before_the_lease_is_given_back(process, looptime):
    process.loop.gate = asyncio.Event()
    running = asyncio.create_task(process.daemon.run())
    await process.until(lambda: process.loop.keys == [KEY])
    process.pulse._under_way[KEY] = -1.0
    process.daemon.stop()
    await asyncio.sleep(5)
    assert not running.done()
    process.loop.gate.set()
    assert await running is ExitCode.STOPPED
    assert looptime < 10


@pytest.mark.looptime
async def test_a_pass_that_does_not_finish_is_broken_off(process, looptime):
    process.loop.gate = asyncio.Event()
    running = asyncio.create_task(process.daemon.run())
    await process.until(lambda: process.loop.keys == [KEY])
    process.pulse._under_way[KEY] = -1.0
    process.daemon.stop()
    assert await running is ExitCode.STOPPED
    assert 10 <= looptime < 16
    assert process.leadership.released


@pytest.mark.looptime
async def test_the_lease_is_left_to_run_out_while_a_hire_may_be_on_its_way(process):
    running = asyncio.create_task(process.daemon.run())
    await process.until(lambda: process.loop.keys == [KEY])
    process.settled = False
    process.daemon.stop()
    assert await running is ExitCode.STOPPED
    assert not process.leadership.released


@pytest.mark.looptime
async def test_stopping_while_waiting_for_the_election_ends_at_once(looptime):
    process = Process(elected=False)
    running = asyncio.create_task(process.daemon.run())
    await process.until(lambda: process.daemon.state is State.STANDBY)
    process.daemon.stop()
    assert await running is ExitCode.STOPPED
    assert looptime < 1


async def test_a_pass_that_outlived_its_own_timeout_is_not_alive():
    now = [0.0]
    process = Process(pulse=Pulse(clock=lambda: now[0]))
    process.pulse.begin(KEY)
    now[0] = 350.0
    assert process.daemon.alive().ok
    now[0] = 361.0
    assert not process.daemon.alive().ok
    process.pulse.end(KEY)
    assert process.daemon.alive().ok
