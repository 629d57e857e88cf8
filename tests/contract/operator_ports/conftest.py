"""The two sides of each port: the fake, and the real adapter against the local Azure. One suite runs against both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jobq.cloud import Cloud, load_cloud
from jobq.connect import open_credential, open_transport
from jobq.names import job_name, owner, region_hash
from workforce_local.azure import LocalAzure
from workforce_local.config import (
    ArmConfig,
    ComputeConfig,
    EnvironmentConfig,
    LocalConfig,
    TimingConfig,
    VirtualClusterConfig,
    WorkspaceConfig,
)
from workforce_operator.adapters.arm.client import ArmClient
from workforce_operator.adapters.arm.governor import Governor
from workforce_operator.adapters.azureml.worker_jobs import ArmWorkerJobs
from workforce_operator.adapters.memory import ManualClock, MemoryGuard, MemoryWorkerJobs
from workforce_operator.api.status import RegionCoordinates
from workforce_operator.domain.observed import Job, Phase
from workforce_operator.ports.azure import JobBody, WorkerJobs, Workplace

INSTALLATION = "inst1234"
SUBSCRIPTION = LocalConfig().subscription_id
MACHINE_LEARNING = "Microsoft.MachineLearningServices"
VIRTUAL = "virtualclusters/vc"
QUICK = TimingConfig(
    starting_seconds=0.01,
    preparing_seconds=0.01,
    node_start_seconds=0.01,
    finalizing_seconds=0.01,
    canceling_seconds=0.01,
    cancel_grace_seconds=0.5,
)


PAGE_SIZE = 2
"""Jobs per page of a list."""


def place(region: str = "uksouth", *, name: str = "md", workspace: str = "ws-uksouth", group: str = "workforce"):
    """A region of a Workforce ``chem/<name>``."""
    hash10 = region_hash(INSTALLATION, "chem", name, region)
    return Workplace(
        region=region,
        owner=owner(INSTALLATION, "chem", name),
        installation_id=INSTALLATION,
        hash10=hash10,
        prefix=f"{name}-{region}-{hash10}",
        coordinates=RegionCoordinates(
            subscription_id=SUBSCRIPTION,
            resource_group=group,
            workspace=workspace,
            compute="cluster",
            experiment=f"chem-{name}-{region}",
            topic=f"chem-{name}-{region}",
        ),
    )


def name_of(where: Workplace, sequence: int) -> str:
    """The job name of a sequence."""
    return job_name(where.owner.rsplit("/", 1)[1], where.region, where.hash10, sequence)


def body_for(where: Workplace, command: str = "sleep 60") -> JobBody:
    """A resolved body without azure-ai-ml."""
    at = where.coordinates
    workspace = (
        f"/subscriptions/{at.subscription_id}/resourceGroups/{at.resource_group}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{at.workspace}"
    )
    return JobBody(
        {
            "jobType": "Command",
            "command": command,
            "computeId": f"{workspace}/computes/{at.compute}",
            "environmentId": f"{workspace}/environments/worker/versions/1",
            "experimentName": at.experiment,
            "environmentVariables": {"JOBQ_TIME_LIMIT": "3600s"},
            "inputs": {},
            "outputs": {},
            "isArchived": False,
            "properties": {},
            "tags": {},
        },
        template_hash="v1:test",
    )


@dataclass
class JobsBench:
    """A `WorkerJobs` and what a test needs to see and to do behind its back."""

    jobs: WorkerJobs
    guard: MemoryGuard
    settle: Callable[[], Awaitable[None]]
    stored: Callable[[], list[str]]
    add_foreign: Callable[[Workplace, str], Awaitable[None]]
    pause: Callable[[str], None]
    use_up: Callable[[str], None]

    async def paused(self, where: Workplace, sequence: int, *, used_up: bool = False) -> str:
        """A job on the virtual cluster that was paused, perhaps after all the time that it is granted."""
        compute = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/workforce/providers/{MACHINE_LEARNING}/{VIRTUAL}"
        body = JobBody(dict(body_for(where).properties) | {"computeId": compute}, template_hash="v1:test")
        name = name_of(where, sequence)
        await self.jobs.hire(where, name, sequence, body)
        await self.until(where, name, Phase.RUNNING)
        if used_up:
            self.use_up(name)
        self.pause(name)
        await self.until(where, name, Phase.PAUSED)
        return name

    async def until(self, where: Workplace, name: str, *phases: Phase) -> Job:
        """Wait until the job is in one of the phases."""
        async with asyncio.timeout(60):
            while True:
                job = await self.jobs.get(where, name)
                if job is not None and job.phase in phases:
                    return job
                await self.settle()


def memory_jobs() -> JobsBench:
    guard = MemoryGuard()
    jobs = MemoryWorkerJobs(ManualClock(), guard)
    jobs.missing.add("ws-nowhere")
    jobs.page_size = PAGE_SIZE

    async def settle() -> None:
        jobs.settle()

    async def add_foreign(where: Workplace, name: str) -> None:
        jobs.add_foreign(where.coordinates, name)

    return JobsBench(
        jobs,
        guard,
        settle,
        stored=lambda: [stored.job.name for stored in jobs.jobs.values()],
        add_foreign=add_foreign,
        pause=lambda name: jobs.set_state(name, "Paused"),
        use_up=jobs.used_up.add,
    )


@dataclass
class RealArm:
    """The real pipeline against a local Azure."""

    azure: LocalAzure
    cloud: Cloud
    arm: ArmClient
    guard: MemoryGuard
    governor: Governor
    credential: Any
    transport: Any
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)


@asynccontextmanager
async def real_arm(
    folder: Path, monkeypatch: pytest.MonkeyPatch, config: LocalConfig | None = None
) -> AsyncIterator[RealArm]:
    """Start a local Azure and open the operator's pipeline to it, by nothing but the cloud setting."""
    async with AsyncExitStack() as stack:
        azure = await stack.enter_async_context(LocalAzure(folder / "azure", config or local_config()))
        for name, value in azure.environment().items():
            monkeypatch.setenv(name, value)
        cloud = load_cloud(str(azure.cloud_file))
        credential = await stack.enter_async_context(open_credential(cloud))
        transport = await stack.enter_async_context(open_transport(cloud))
        guard, governor = MemoryGuard(), Governor()
        arm = ArmClient(cloud, credential, transport, governor, guard)
        yield RealArm(azure, cloud, arm, guard, governor, credential, transport, stack)


def local_config(**arm: Any) -> LocalConfig:
    """Two small regions with the environment that the bodies name; short pages, so that lists have several."""
    workspaces = tuple(
        WorkspaceConfig(
            name=f"ws-{location}",
            location=location,
            computes=(ComputeConfig(name="cluster", max_nodes=2),),
            environments=(EnvironmentConfig(name="worker"),),
        )
        for location in ("uksouth", "westeurope")
    )
    virtual = (VirtualClusterConfig(name="vc"),)
    return LocalConfig(
        workspaces=workspaces, virtual_clusters=virtual, timing=QUICK, arm=ArmConfig(page_size=PAGE_SIZE, **arm)
    )


def real_jobs(real: RealArm) -> JobsBench:
    async def settle() -> None:
        await asyncio.sleep(0.05)

    async def add_foreign(where: Workplace, name: str) -> None:
        body = dict(body_for(where, "sleep 60").properties)
        await real.arm.write(
            "PUT",
            f"/subscriptions/{SUBSCRIPTION}/resourceGroups/workforce/providers/Microsoft.MachineLearningServices"
            f"/workspaces/{where.coordinates.workspace}/jobs/{name}",
            api_version="2025-12-01",
            what="add a foreign job",
            turn="somebody",
            body={"properties": body},
        )

    return JobsBench(
        ArmWorkerJobs(real.arm),
        real.guard,
        settle,
        stored=lambda: [job.name for job in real.azure.jobs()],
        add_foreign=add_foreign,
        pause=real.azure.control.pause,
        use_up=real.azure.control.use_up,
    )


@pytest_asyncio.fixture(params=["memory", "azure-replay200", "azure-replay400"])
async def jobs_bench(request, tmp_path, monkeypatch) -> AsyncIterator[JobsBench]:
    """The port, by fake and by the real adapter; the service answers a repeated PUT in one of two ways."""
    if request.param == "memory":
        yield memory_jobs()
        return
    async with real_arm(tmp_path, monkeypatch, local_config(replay=request.param.removeprefix("azure-"))) as real:
        yield real_jobs(real)
