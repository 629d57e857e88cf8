"""Jobs that are records only, on a virtual clock: their states follow the times of the compute."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workforce_local.azureml.cluster import Capacity
from workforce_local.azureml.ids import WorkspaceId
from workforce_local.azureml.jobs import Job
from workforce_local.azureml.pace import Pace
from workforce_local.azureml.shapes import job_properties
from workforce_local.azureml.simulated import SimulatedCluster
from workforce_local.azureml.states import Interruption, Status
from workforce_local.config import TimingConfig

pytestmark = pytest.mark.looptime

START = datetime(2026, 1, 1, tzinfo=UTC)
WORKSPACE = WorkspaceId("s", "g", "w")
TIMING = TimingConfig(
    starting_seconds=1, preparing_seconds=2, node_start_seconds=10, finalizing_seconds=3, canceling_seconds=1,
    node_idle_seconds=60, not_responding_seconds=5,
)  # fmt: skip


def clock():
    return START + timedelta(seconds=asyncio.get_running_loop().time())


class Stage:
    def __init__(self, nodes=1, **spans):
        self.capacity = Capacity(nodes)
        self.cluster = SimulatedCluster(self.capacity, Pace(TIMING, spans), clock)
        self.jobs = []

    def hire(self, name="j", **properties):
        submitted = {"computeId": "/c", "command": "x", **properties}
        document = job_properties(WORKSPACE, "uksouth", name, submitted, "Starting")
        job = Job(WORKSPACE, name, "c", len(self.jobs), submitted, document, START, "me", Path("/nowhere"))
        job.go(self.cluster.pace.first(name), clock())
        job.life = self.cluster.submit(job)
        self.jobs.append(job)
        return job


def times(job):
    return [(str(step.status), round((step.at - START).total_seconds())) for step in job.history]


async def test_a_job_passes_through_its_states_at_their_times():
    """AzureML JobStatus: Starting, Preparing, Queued until there is a node, Running, Finalizing, Completed."""
    job = Stage(running=(7, 7)).hire()
    await asyncio.wait_for(job.ended.wait(), 60)
    assert times(job) == [
        ("Starting", 0), ("Preparing", 1), ("Queued", 3), ("Running", 13), ("Finalizing", 20), ("Completed", 23),
    ]  # fmt: skip
    assert {"StartTimeUtc", "EndTimeUtc"} <= set(job.properties["properties"])


async def test_without_a_running_time_a_job_runs_until_it_is_cancelled():
    stage = Stage()
    job = stage.hire()
    await asyncio.sleep(100)
    assert job.status is Status.RUNNING
    job.life.cancel()
    assert job.status is Status.CANCEL_REQUESTED
    await job.ended.wait()
    assert (job.status, stage.cluster.counts().running) == (Status.CANCELED, 0)
    job.life.cancel()
    assert job.status is Status.CANCELED, "terminal jobs are left alone"


@pytest.mark.parametrize("after", [0.5, 2, 5])
async def test_a_job_can_be_cancelled_in_every_state_before_it_runs(after):
    stage = Stage()
    job = stage.hire()
    await asyncio.sleep(after)
    job.life.cancel()
    await job.ended.wait()
    assert job.status is Status.CANCELED
    assert stage.cluster.counts().target == stage.cluster.counts().current


async def test_all_states_can_be_given_a_time():
    job = Stage(not_started=(4, 4), provisioning=(6, 6)).hire()
    await asyncio.sleep(60)
    assert [name for name, _ in times(job)] == [
        "NotStarted", "Starting", "Provisioning", "Preparing", "Queued", "Running",
    ]  # fmt: skip


async def test_nodes_are_given_in_the_order_of_the_queue_and_never_more_than_there_are():
    stage = Stage(nodes=2, running=(100, 100))
    jobs = []
    for number in range(3):
        jobs.append(stage.hire(f"j{number}"))
        await asyncio.sleep(0.1)
    await asyncio.sleep(20)
    assert [str(job.status) for job in jobs] == ["Running", "Running", "Queued"]
    counts = stage.cluster.counts()
    assert (counts.running, counts.current, counts.target) == (2, 2, 2)
    await asyncio.sleep(100)
    assert jobs[2].status is Status.RUNNING


async def test_a_preempted_job_is_the_same_run_queued_again():
    """AzureML low-priority VMs: the node is removed, the same run id goes back to Queued and is run
    again on another node.
    """
    stage = Stage()
    job = stage.hire()
    await asyncio.sleep(20)
    assert job.life.interrupt(Interruption.PREEMPTED)
    assert job.status is Status.QUEUED
    assert stage.cluster.counts().preempted == 1
    assert not job.life.interrupt(Interruption.PREEMPTED), "it does not run"
    await asyncio.sleep(11)
    assert job.status is Status.RUNNING
    assert stage.cluster.counts().preempted == 0


async def test_a_job_whose_node_is_lost_does_not_respond_before_it_is_queued():
    """AzureML JobStatus: NotResponding may go back to any earlier state."""
    job = Stage().hire()
    await asyncio.sleep(20)
    job.life.interrupt(Interruption.LOST)
    assert job.status is Status.NOT_RESPONDING
    await asyncio.sleep(6)
    assert job.status is Status.QUEUED


async def test_a_job_that_the_service_fails_ends_and_gives_its_node_back():
    stage = Stage()
    job = stage.hire()
    await asyncio.sleep(20)
    after = stage.hire("after")
    await asyncio.sleep(20)
    assert after.status is Status.QUEUED
    job.error = {"error": {"code": "SystemError"}}
    job.life.cancel()
    assert job.status is Status.FAILED
    assert job.ended.is_set()
    assert after.status is Status.RUNNING


async def test_a_paused_job_waits_for_its_resumption():
    """As ai4s-jobq met it: Singularity suspends to Paused; only a resume goes on."""
    job = Stage().hire()
    await asyncio.sleep(20)
    assert not job.life.resume()
    job.life.interrupt(Interruption.PAUSED)
    await asyncio.sleep(500)
    assert job.status is Status.PAUSED
    assert job.life.resume()
    await asyncio.sleep(20)
    assert job.status is Status.RUNNING


async def test_nodes_that_others_hold_are_not_ours_until_they_are_given_back():
    """AmlCompute: hireable is the maximum less the target, whoever holds the nodes."""
    stage = Stage(nodes=2)
    stage.cluster.share(2)
    job = stage.hire()
    await asyncio.sleep(50)
    assert (job.status, stage.cluster.counts().running) == (Status.QUEUED, 2)
    stage.cluster.share(1)
    await asyncio.sleep(11)
    assert job.status is Status.RUNNING


async def test_a_quota_keeps_nodes_from_starting():
    stage = Stage()
    stage.capacity.quota = lambda: 0
    job = stage.hire()
    await asyncio.sleep(50)
    assert job.status is Status.QUEUED
    stage.capacity.quota = lambda: None
    stage.cluster.balance()
    await asyncio.sleep(11)
    assert job.status is Status.RUNNING


@pytest.mark.parametrize(
    ("spans", "first"),
    [({}, Status.STARTING), ({"not_started": (3, 3)}, Status.NOT_STARTED), ({"not_started": (0, 0)}, Status.STARTING)],
)
async def test_a_job_begins_in_the_first_state_of_its_opening(spans, first):
    pace = Pace(TIMING, spans)
    assert (pace.first("j"), pace.opening("j")[0][0]) == (first, first)


async def test_idle_nodes_go_after_a_while():
    stage = Stage(running=(5, 5))
    job = stage.hire()
    await job.ended.wait()
    assert stage.cluster.counts().idle == 1
    await asyncio.sleep(61)
    assert stage.cluster.counts().current == 0


async def test_each_idle_node_waits_for_itself():
    stage = Stage(nodes=2)
    first, second = stage.hire("first"), stage.hire("second")
    await asyncio.sleep(80)
    first.life.cancel()
    await asyncio.sleep(20)
    second.life.cancel()
    seen = []
    for _ in range(5):
        seen.append(stage.cluster.counts().current)
        await asyncio.sleep(15)
    assert seen == [2, 2, 2, 1, 0]


async def test_a_job_of_several_nodes_takes_them_all():
    stage = Stage(nodes=3)
    stage.hire("wide", resources={"instanceCount": 3})
    narrow = stage.hire("narrow")
    await asyncio.sleep(30)
    assert stage.cluster.counts().running == 3
    assert narrow.status is Status.QUEUED


async def test_the_time_that_a_job_ran_is_counted_over_its_attempts():
    job = Stage().hire()
    await asyncio.sleep(23)
    job.life.interrupt(Interruption.PAUSED)
    await asyncio.sleep(1000)
    job.life.resume()
    await asyncio.sleep(20)
    assert 19 <= job.ran_seconds(clock()) <= 21
    assert job.status_at(START - timedelta(seconds=1)) is None
    assert job.status_at(START + timedelta(seconds=5)) is Status.QUEUED
