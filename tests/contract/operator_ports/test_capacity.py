"""The contract of ``ports.azure.Capacity``: the fake and the ARM adapter keep the same promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from tests.contract.operator_ports.conftest import body_for, name_of, place, real_arm
from workforce_operator.adapters.azureml.capacity import ArmCapacity
from workforce_operator.adapters.azureml.worker_jobs import ArmWorkerJobs
from workforce_operator.adapters.memory import MemoryCapacity
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.errors import Missing
from workforce_operator.ports.azure import Capacity

HERE = place()
VIRTUAL = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/virtualclusters/vc"


@dataclass
class CapacityBench:
    """A `Capacity` of a cluster of two nodes, and what a test does to the cluster behind its back."""

    capacity: Capacity
    occupy: Callable[[int], Awaitable[None]]
    hire: Callable[[int], Awaitable[None]]
    forbid: Callable[[], Awaitable[None]]

    async def until(self, check: Callable[[ClusterCapacity], bool]) -> ClusterCapacity:
        async with asyncio.timeout(60):
            while True:
                found = await self.capacity.read(HERE)
                if found is not None and check(found):
                    return found
                await asyncio.sleep(0.05)


def memory() -> CapacityBench:
    capacity = MemoryCapacity()
    capacity.missing |= {"ws-nowhere", "nowhere"}
    key = ("ws-uksouth", "cluster")
    capacity.clusters[key] = ClusterCapacity(2, 0, 0, 0)

    async def occupy(nodes: int) -> None:
        capacity.clusters[key] = replace(capacity.clusters[key], target=nodes, running=nodes)

    async def forbid() -> None:
        capacity.clusters[key] = replace(capacity.clusters[key], target=1, quota=True)

    return CapacityBench(capacity, occupy, occupy, forbid)


@pytest_asyncio.fixture(params=["memory", "azure"])
async def bench(request, tmp_path, monkeypatch) -> AsyncIterator[CapacityBench]:
    if request.param == "memory":
        yield memory()
        return
    async with real_arm(tmp_path, monkeypatch) as real:
        jobs = ArmWorkerJobs(real.arm)

        async def occupy(nodes: int) -> None:
            real.azure.control.set_shared("ws-uksouth", "cluster", nodes)

        async def hire(number: int) -> None:
            for sequence in range(number):
                await jobs.hire(HERE, name_of(HERE, sequence), sequence, body_for(HERE))

        async def forbid() -> None:
            real.azure.control.set_quota("uksouth", 0)
            await hire(1)

        yield CapacityBench(ArmCapacity(real.arm), occupy, hire, forbid)


async def test_an_empty_cluster_is_free_up_to_its_maximum(bench: CapacityBench):
    found = await bench.capacity.read(HERE)
    assert found == ClusterCapacity(most=2, target=0, running=0, idle=0)
    assert found.free(0) == 2


async def test_nodes_that_somebody_else_uses_are_not_free(bench: CapacityBench):
    await bench.occupy(1)
    found = await bench.capacity.read(HERE)
    assert found is not None
    assert found.free(0) == 1


async def test_o8_our_own_jobs_count_once_from_their_hire_to_their_node(bench: CapacityBench):
    await bench.hire(2)
    found = await bench.until(lambda cluster: cluster.running == 2)
    assert found.free(0) == 0


async def test_a_refused_quota_is_told_while_nodes_are_wanted(bench: CapacityBench):
    await bench.forbid()
    found = await bench.until(lambda cluster: cluster.quota)
    assert found.free(1) == 0


async def test_a_virtual_cluster_does_not_tell(bench: CapacityBench):
    virtual = replace(HERE, coordinates=HERE.coordinates.model_copy(update={"compute": VIRTUAL}))
    assert await bench.capacity.read(virtual) is None


@pytest.mark.parametrize("wrong", [{"workspace": "ws-nowhere"}, {"compute": "nowhere"}])
async def test_what_does_not_exist_is_missing_and_never_empty(bench: CapacityBench, wrong: dict[str, str]):
    with pytest.raises(Missing):
        await bench.capacity.read(replace(HERE, coordinates=HERE.coordinates.model_copy(update=wrong)))
