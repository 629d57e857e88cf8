"""The life of a job on a virtual clock, with a node whose processes are only futures."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workforce_local.azureml.cluster import Cluster
from workforce_local.azureml.ids import WorkspaceId
from workforce_local.azureml.jobs import Job
from workforce_local.azureml.life import JobLife, first, time_limit
from workforce_local.azureml.pace import Pace
from workforce_local.azureml.shapes import job_properties
from workforce_local.azureml.states import Interruption, Status
from workforce_local.config import ComputeConfig, TimingConfig

pytestmark = pytest.mark.looptime

TIMING = TimingConfig(
    starting_seconds=1,
    preparing_seconds=2,
    node_start_seconds=10,
    finalizing_seconds=3,
    canceling_seconds=1,
    cancel_grace_seconds=5,
)
START = datetime(2026, 1, 1, tzinfo=UTC)
WORKSPACE = WorkspaceId("s", "g", "w")


@dataclass
class PaperProcess:
    """Processes that end when the test says so, or when they are told to."""

    ended: asyncio.Future
    heeds_sigterm: bool = True
    signals: list = field(default_factory=list)
    pid: int = 7
    environment: dict = field(default_factory=dict)

    def _end(self, number, code):
        self.signals.append((number, asyncio.get_running_loop().time()))
        if not self.ended.done() and (number == "KILL" or self.heeds_sigterm):
            self.ended.set_result(code)

    def terminate(self):
        self._end("TERM", 143)

    def kill(self):
        self._end("KILL", 137)


class PaperNode:
    """A node that starts paper processes."""

    def __init__(self, position):
        self.node_id = f"node-{position}"
        self.job = None
        self.process = None
        self.heeds_sigterm = True
        self.broken = None

    async def start(self):
        pass

    async def stop(self):
        pass

    @contextlib.asynccontextmanager
    async def running(self, launch):
        if self.broken:
            raise self.broken
        self.process = PaperProcess(asyncio.get_running_loop().create_future(), self.heeds_sigterm)
        yield self.process


class Stage:
    """One cluster of one node, and one job."""

    def __init__(self, **properties):
        self.node = PaperNode(0)
        self.cluster = Cluster(ComputeConfig(name="c", max_nodes=1), Pace(TIMING), lambda _: self.node)
        submitted = {"computeId": "/c", "command": "x", **properties}
        document = job_properties(WORKSPACE, "uksouth", "j", submitted, "Starting")
        self.job = Job(WORKSPACE, "j", "c", 1, submitted, document, START, "me", Path("/nowhere"))
        self.job.go(Status.STARTING, START)
        self.life = JobLife(self.job, self.cluster, Pace(TIMING), clock=self.clock)
        self.task = asyncio.create_task(self.life.run())

    @staticmethod
    def clock():
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    def steps(self):
        return [(str(step.status), round((step.at - START).total_seconds())) for step in self.job.history]

    async def until_running(self):
        await asyncio.sleep(14)
        assert self.job.status is Status.RUNNING

    async def end(self):
        await self.task
        await self.cluster.close()


async def test_a_job_takes_each_step_in_its_time():
    stage = Stage()
    await stage.until_running()
    assert stage.node.job == "j"
    await asyncio.sleep(100)
    stage.node.process.ended.set_result(0)
    await stage.end()
    assert stage.steps()[:4] == [("Starting", 0), ("Preparing", 1), ("Queued", 3), ("Running", 13)]
    assert [status for status, _ in stage.steps()[4:]] == ["Finalizing", "Completed"]
    assert stage.steps()[5][1] - stage.steps()[4][1] == 3
    assert (stage.job.exit_code, stage.node.job) == (0, None)
    assert stage.job.ended.is_set()


async def test_a_job_that_fails_keeps_its_exit_code():
    stage = Stage()
    await stage.until_running()
    stage.node.process.ended.set_result(3)
    await stage.end()
    assert (stage.job.status, stage.job.exit_code) == (Status.FAILED, 3)


@pytest.mark.parametrize(("after", "last"), [(0.5, "Starting"), (2, "Preparing"), (5, "Queued")])
async def test_a_job_without_a_process_is_cancelled_within_a_second(after, last):
    stage = Stage()
    await asyncio.sleep(after)
    stage.job.cancelled.set()
    await stage.end()
    names = [status for status, _ in stage.steps()]
    assert names[names.index(last) :] == [last, "CancelRequested", "Canceled"]
    assert stage.node.process is None
    assert "StartTimeUtc" not in stage.job.properties["properties"]


async def test_a_polite_job_is_canceled_by_sigterm():
    stage = Stage()
    await stage.until_running()
    stage.job.cancelled.set()
    await stage.end()
    assert stage.job.status is Status.CANCELED
    assert stage.node.process.signals[0][0] == "TERM"
    assert stage.steps()[-1][1] == stage.steps()[-2][1]


async def test_a_stubborn_job_is_killed_after_the_grace():
    stage = Stage()
    stage.node.heeds_sigterm = False
    await stage.until_running()
    stage.job.cancelled.set()
    await stage.end()
    (term, at), (kill, later) = stage.node.process.signals
    assert (term, kill, stage.job.exit_code) == ("TERM", "KILL", 137)
    assert later - at == pytest.approx(5)


async def test_a_job_cancelled_in_the_moment_it_starts_never_ran():
    stage = Stage()
    real = stage.node.running

    def running(launch):
        stage.job.cancelled.set()
        return real(launch)

    stage.node.running = running
    await stage.end()
    assert [status for status, _ in stage.steps()][-3:] == ["Queued", "CancelRequested", "Canceled"]
    assert [number for number, _ in stage.node.process.signals] == ["KILL"]


async def test_a_job_is_canceled_when_its_time_is_up():
    stage = Stage(limits={"timeout": "PT1M"})
    await stage.end()
    steps = dict(stage.steps())
    assert stage.job.status is Status.CANCELED
    assert steps["CancelRequested"] - steps["Running"] == 60


async def test_a_cancel_during_finalizing_changes_nothing():
    stage = Stage()
    await stage.until_running()
    stage.node.process.ended.set_result(0)
    await asyncio.sleep(1)
    assert stage.job.status is Status.FINALIZING
    stage.job.cancelled.set()
    await stage.end()
    assert stage.job.status is Status.COMPLETED


@pytest.mark.parametrize("error", [OSError("no space left on device"), ValueError("embedded null byte")])
async def test_a_node_that_cannot_start_the_command_fails_the_job_and_is_free_again(error):
    stage = Stage()
    stage.node.broken = error
    await stage.task
    assert stage.job.status is Status.FAILED
    assert str(error) in stage.job.properties["properties"]["error"]
    assert stage.cluster.counts().idle == 1
    await stage.cluster.close()


async def test_a_life_that_is_broken_off_gives_its_node_back():
    stage = Stage()
    await stage.until_running()
    stage.task.cancel()
    await asyncio.wait([stage.task])
    assert stage.cluster.counts().idle == 1
    assert stage.job.ended.is_set()
    await stage.cluster.close()


async def test_the_first_of_future_event_and_time_decides():
    loop = asyncio.get_running_loop()
    event, future = asyncio.Event(), loop.create_future()
    assert await first(future, event, timeout=2) is None
    assert loop.time() == pytest.approx(2)
    loop.call_later(1, event.set)
    assert await first(future, event) is None
    future.set_result("x")
    assert await first(future, event) == "x"


def test_only_a_job_with_a_limit_has_one():
    assert time_limit({"limits": None}) is None
    assert time_limit({"limits": {"timeout": "PT1H"}}) == timedelta(hours=1)


async def interrupted(how):
    """A running job whose node is taken, or which is paused."""
    stage = Stage()
    await stage.until_running()
    process = stage.node.process
    assert stage.life.interrupt(how)
    await asyncio.sleep(0)
    return stage, process


async def test_a_preempted_job_is_killed_without_a_word_and_queued_again():
    """AzureML low-priority VMs: the user process gets no reliable signal; the same run is run again from the start."""
    stage, process = await interrupted(Interruption.PREEMPTED)
    await asyncio.sleep(1)
    assert [number for number, _ in process.signals] == ["KILL"]
    assert stage.job.attempt == 2
    stage.node.process.ended.set_result(0)
    await stage.end()
    assert [status for status, _ in stage.steps()[3:]] == ["Running", "Queued", "Running", "Finalizing", "Completed"]


async def test_a_job_of_a_lost_node_does_not_respond_for_a_while_and_can_be_cancelled_then():
    """AzureML JobStatus: NotResponding may go back to any earlier state."""
    stage, _ = await interrupted(Interruption.LOST)
    await asyncio.sleep(0.5)
    assert stage.job.status is Status.NOT_RESPONDING
    stage.life.cancel()
    await stage.end()
    assert stage.job.status is Status.CANCELED


async def test_a_paused_job_is_told_first_and_goes_on_only_when_it_is_resumed():
    """Singularity as ai4s-jobq met it: SIGTERM, then the container is stopped; Paused is resumable."""
    stage, process = await interrupted(Interruption.PAUSED)
    await asyncio.sleep(50)
    assert process.signals[0][0] == "TERM"
    assert stage.job.status is Status.PAUSED
    assert not stage.life.interrupt(Interruption.LOST), "it does not run"
    assert stage.life.resume()
    await asyncio.sleep(30)
    assert stage.job.status is Status.RUNNING
    stage.life.cancel()
    await stage.end()


async def test_a_paused_job_can_be_cancelled():
    stage, _ = await interrupted(Interruption.PAUSED)
    await asyncio.sleep(1)
    stage.life.cancel()
    await stage.end()
    assert [status for status, _ in stage.steps()[4:]] == ["Paused", "CancelRequested", "Canceled"]


async def test_only_a_running_job_is_interrupted_and_only_a_paused_one_resumed():
    stage = Stage()
    assert not stage.life.interrupt(Interruption.PREEMPTED)
    assert not stage.life.resume()
    stage.life.cancel()
    await stage.end()
