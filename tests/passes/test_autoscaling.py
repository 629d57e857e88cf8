"""Whole passes over fakes with autoscaling: when the queue is read, a fleet that follows it, restarts, rest."""

import pytest

from tests.passes.test_reconciler import Operator
from workforce_operator.domain.errors import Unavailable

SCALING = {"policy": "TasksPerReplica", "tasksPerReplica": 1, "maxReplicas": 50}


@pytest.fixture
def op(world):
    return Operator(world)


def autoscaling(**fields):
    return {"replicas": None, "autoscaling": SCALING | fields}


async def test_autoscaling_reads_the_queue_at_its_own_interval(op):
    op.apply(**autoscaling(pollIntervalSeconds=20))
    reads = op.world.depth.faults
    await op.once()
    assert len(reads.made("read")) == 1
    for _ in range(3):
        op.world.clock.advance(5)
        verdict = await op.once()
        assert len(reads.made("read")) == 1
        assert verdict.delay <= 20
    op.world.clock.advance(5)
    await op.once()
    assert len(reads.made("read")) == 2
    op.world.clock.advance(1)
    op.apply(**autoscaling(pollIntervalSeconds=20, maxReplicas=40))
    await op.once()
    assert len(reads.made("read")) == 3


async def test_the_next_look_is_no_later_than_the_next_reading_of_the_queue(op):
    op.world.depth.set("acct", "tasks", 0)
    op.apply(**autoscaling(pollIntervalSeconds=7))
    await op.settle(4, seconds=60)
    assert (await op.once()).delay == 7
    op.world.clock.advance(3)
    assert (await op.once()).delay == 4


async def test_a_queue_that_could_not_be_read_is_read_again_in_the_next_pass(op):
    op.apply(**autoscaling())
    await op.settle(3)
    op.world.clock.advance(60)
    op.world.depth.faults.next_error("read", Unavailable("storage away"))
    await op.once()
    assert (await op.condition("QueueReachable"))[0] == "False"
    assert (await op.status()).desired_replicas == 4
    op.world.clock.advance(5)
    await op.once()
    assert (await op.condition("QueueReachable"))[0] == "True"


async def test_a_fleet_follows_its_queue_up_by_the_ramp_and_down_by_a_drain(op):
    op.world.depth.set("acct", "tasks", 1600)
    scaling = {"policy": "JobQ", "tasksPerReplica": 4, "minReplicas": 1, "maxReplicas": 100}
    op.apply(replicas=None, autoscaling=scaling)
    await op.once()
    assert (await op.status()).last_scale_decision.desired == 10
    await op.settle(8, seconds=30)
    assert len(op.live()) == 50
    decision = (await op.status()).last_scale_decision
    assert (decision.raw_desired, decision.desired, decision.clamps) == (50, 50, [])

    op.world.depth.set("acct", "tasks", 0)
    await op.settle(9, seconds=30)
    assert len(op.live()) == 50
    assert (await op.status()).last_scale_decision.clamps[0].name.endswith("stabilizationWindowSeconds")
    await op.settle(4, seconds=30)
    op.finish_drained()
    await op.settle(3, seconds=30)
    assert len(op.live()) == 1
    hired = len(op.world.jobs.jobs)
    await op.settle(10, seconds=60)
    assert len(op.world.jobs.jobs) == hired == 50


async def test_a_restart_lets_nobody_go_before_the_window_has_passed(op):
    op.world.depth.set("acct", "tasks", 10)
    op.apply(**autoscaling())
    await op.settle(8, seconds=30)
    assert len(op.live()) == 10
    op.world.depth.set("acct", "tasks", 0)
    for _ in range(6):
        op.world.restart()
        await op.settle(4, seconds=60)
        assert len(op.live()) == 10
    assert (await op.status()).desired_replicas == 10
    await op.settle(3, seconds=60)
    assert (await op.status()).desired_replicas == 0


async def test_an_autoscaled_fleet_at_rest_is_not_written_about(op):
    op.world.depth.set("acct", "tasks", 10)
    op.apply(**autoscaling())
    await op.settle(10, seconds=60)
    version = (await op.stored()).resource_version
    await op.settle(5, seconds=60)
    assert (await op.stored()).resource_version == version


async def test_a_fleet_that_completed_on_an_empty_queue_is_not_hired_again_by_an_older_reading(op):
    op.world.depth.set("acct", "tasks", 40)
    op.apply(**autoscaling(maxReplicas=4, pollIntervalSeconds=3600))
    await op.settle(6)
    op.world.clock.advance(3600)
    await op.once()
    made, reads = len(op.world.jobs.jobs), len(op.world.depth.faults.made("read"))
    op.world.depth.set("acct", "tasks", 0)
    op.world.clock.advance(5)
    for job in op.live():
        op.world.jobs.set_state(job.name, "Completed")
    verdict = await op.once()
    assert verdict.delay == 0
    await op.settle(4, seconds=30)
    assert len(op.world.jobs.jobs) == made
    assert len(op.world.depth.faults.made("read")) == reads + 1
    assert (await op.condition("Ready"))[1] == "Idle"
