"""The sign of life."""

import asyncio
import itertools

import pytest
import structlog
from structlog.testing import capture_logs

from jobq.backends.port import QueueSize
from jobq.errors import QueueUnavailable
from workforce_agent.pulse import PULSE_SECONDS, Pulse, load


class Counted:
    """A queue that grows by one with each look, and cannot be looked at sometimes."""

    def __init__(self, *, broken=False):
        self.broken = broken
        self.looks = itertools.count(1)

    async def size(self):
        if self.broken:
            raise QueueUnavailable("down")
        return QueueSize(next(self.looks), None)


@pytest.fixture(autouse=True)
def _no_load(monkeypatch):
    async def nothing():
        return 0.25, 0.5

    monkeypatch.setattr("workforce_agent.pulse.load", nothing)


async def beat(pulse, seconds):
    structlog.reset_defaults()
    with capture_logs() as told:
        running = asyncio.create_task(pulse.run())
        await asyncio.sleep(seconds)
        running.cancel()
    return [record for record in told if record["event"] == "worker_running"]


@pytest.mark.looptime
async def test_every_five_minutes_the_queue_and_the_load_are_told():
    told = await beat(Pulse(Counted(), shown=False), 3 * PULSE_SECONDS + 1)
    assert [record["queue_size"] for record in told] == [1, 2, 3]
    assert (told[0]["cpu_util"], told[0]["memory_util"]) == (0.25, 0.5)


@pytest.mark.looptime
async def test_a_person_gets_a_number_every_few_seconds_and_the_log_no_more_than_before():
    pulse = Pulse(Counted(), shown=True)
    told = await beat(pulse, PULSE_SECONDS)
    assert pulse.queue_size > 50
    assert len(told) == 1


@pytest.mark.looptime
async def test_a_person_does_not_wait_for_the_first_number():
    pulse = Pulse(Counted(), shown=True)
    await beat(pulse, 1.0)
    assert pulse.queue_size == 1


@pytest.mark.looptime
async def test_a_queue_that_cannot_be_counted_is_unknown_and_not_empty():
    pulse = Pulse(Counted(broken=True), shown=True)
    told = await beat(pulse, PULSE_SECONDS)
    assert pulse.queue_size is None
    assert told[0]["queue_size"] == -1


async def test_the_load_of_this_machine_is_between_nothing_and_all(monkeypatch):
    monkeypatch.setattr("workforce_agent.pulse._LOAD_SECONDS", 0.0)
    for share in await load():
        assert 0 <= share <= 1
