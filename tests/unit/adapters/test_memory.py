"""What the fakes offer to tests beyond the ports: logs, faults and lag."""

from __future__ import annotations

import pytest

from jobq.control import Operation, Order
from tests.contract.operator_ports.conftest import body_for, name_of, place
from workforce_operator.adapters.memory import (
    ManualClock,
    MemoryControlChannel,
    MemoryWorkerJobs,
    MemoryWorkforceStore,
)
from workforce_operator.api.spec import Control, ServiceBusNamespace
from workforce_operator.domain.errors import Unavailable
from workforce_operator.domain.observed import Outcome, Phase
from workforce_operator.ports.kubernetes import Key

HERE = place()
CONTROL = Control(
    service_bus=ServiceBusNamespace(
        subscription_id="00000000-0000-0000-0000-000000000001", resource_group="g", namespace="bus"
    )
)


async def hire(jobs: MemoryWorkerJobs, sequence: int):
    return await jobs.hire(HERE, name_of(HERE, sequence), sequence, body_for(HERE))


async def test_an_ordered_error_is_raised_once_and_nothing_happens():
    jobs = MemoryWorkerJobs()
    jobs.faults.next_error("hire", Unavailable("lost"))
    with pytest.raises(Unavailable):
        await hire(jobs, 0)
    assert jobs.jobs == {}
    await hire(jobs, 0)
    assert [call.arguments[1] for call in jobs.faults.made("hire")] == [name_of(HERE, 0)] * 2


async def test_an_answer_can_be_lost_after_the_effect():
    jobs = MemoryWorkerJobs()
    jobs.faults.next_error("hire", Unavailable("lost"), after=True)
    with pytest.raises(Unavailable):
        await hire(jobs, 0)
    assert len(jobs.live()) == 1


async def test_an_error_can_be_meant_for_one_call():
    jobs = MemoryWorkerJobs()
    jobs.faults.next_error("hire", Unavailable("lost"), matches=lambda given: given[2] == 1)
    await hire(jobs, 0)
    with pytest.raises(Unavailable):
        await hire(jobs, 1)


async def test_an_error_can_last_until_it_is_taken_back():
    jobs = MemoryWorkerJobs()
    jobs.faults.always_error("get", Unavailable("away"))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await jobs.get(HERE, name_of(HERE, 0))
    jobs.faults.always_error("get", None)
    assert await jobs.get(HERE, name_of(HERE, 0)) is None


async def test_frozen_lists_lag_while_reads_by_name_do_not():
    jobs = MemoryWorkerJobs()
    jobs.freeze_lists()
    job = await hire(jobs, 0)
    assert await jobs.list_owned(HERE) == ()
    assert await jobs.get(HERE, job.name) == job
    jobs.thaw_lists()
    assert await jobs.list_owned(HERE) == (job,)


async def test_a_job_goes_through_its_life():
    clock = ManualClock()
    jobs = MemoryWorkerJobs(clock)
    job = await hire(jobs, 0)
    jobs.settle()
    clock.advance(60)
    ended = jobs.set_state(job.name, "Failed", error="out of memory")
    assert (ended.phase, ended.outcome, ended.error) == (Phase.ENDED, Outcome.FAILED, "out of memory")
    assert (ended.ended - ended.started).total_seconds() == 60
    assert jobs.live() == []


async def test_the_state_in_which_a_job_was_cancelled_is_kept_for_the_verdict():
    jobs = MemoryWorkerJobs()
    job = await hire(jobs, 0)
    jobs.settle()
    await jobs.cancel(HERE, job.name)
    (stored,) = jobs.jobs.values()
    assert stored.canceled_while == "Running"


async def test_a_message_id_is_swallowed_for_five_minutes():
    clock = ManualClock()
    channel = MemoryControlChannel(clock)
    await channel.ensure(CONTROL, frozenset({"topic"}), "inst1234")
    order = Order(operation=Operation.GRACEFUL_DOWNSCALE)
    for seconds in (0, 299, 2):
        clock.advance(seconds)
        await channel.send(CONTROL, "inst1234", "job", order, "id-0")
    assert len(channel.orders_for("job")) == 2


async def test_reset_forgets_calls_and_errors_and_keeps_the_world():
    store = MemoryWorkforceStore()
    store.apply(Key("chem", "md"), {"replicas": 1})
    store.faults.next_error("get", Unavailable("away"))
    await store.list_keys()
    store.faults.reset()
    assert store.faults.calls == []
    assert await store.get(Key("chem", "md")) is not None
