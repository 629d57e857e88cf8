"""A worker that lost its node waits for another one as long as it may, and then gives its place to another region."""

from __future__ import annotations

import pytest

from tests.passes.test_reconciler import op  # noqa: F401 - a fixture
from workforce_operator.domain.capacity import ClusterCapacity

FREE = ClusterCapacity(most=9, target=0, running=0, idle=0)
FULL = ClusterCapacity(most=1, target=1, running=1, idle=0)


async def minutes(op, number):  # noqa: F811
    for _ in range(number):
        await op.once()
        op.world.clock.advance(60)


async def preempted(op, **spec):  # noqa: F811
    """A worker ran for two hours in a cluster that is full, and has lost its node; another region has nodes free."""
    clusters = op.world.capacity.clusters
    clusters["ws-uksouth", "cluster"] = FREE
    op.apply(replicas=1, regions=("uksouth", "westeurope"), **spec)
    await op.settle()
    clusters.update({("ws-uksouth", "cluster"): FULL, ("ws-westeurope", "cluster"): FREE})
    op.world.clock.advance(7200)
    await op.once()
    (worker,) = op.live()
    return op.world.jobs.set_state(worker.name, "Queued")


@pytest.mark.parametrize("control", [True, False])
async def test_a_worker_that_lost_its_node_after_hours_moves_an_hour_later_and_not_before(op, control):  # noqa: F811
    worker = await preempted(op, control=control)
    await minutes(op, 60)
    assert op.live() == [worker]
    await op.settle()
    (other,) = op.live()
    assert "westeurope" in other.name


async def test_after_a_restart_of_the_operator_a_worker_that_lost_its_node_waits_anew(op):  # noqa: F811
    worker = await preempted(op)
    await minutes(op, 50)
    op.world.restart()
    await minutes(op, 60)
    assert op.live() == [worker]
    await op.settle()
    assert worker not in op.live()
