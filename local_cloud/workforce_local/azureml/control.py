"""What can be done to the local Azure from outside: the typed half of `POST /_local/...`.

Tests and scenarios call it directly; `control_routes` gives it to other programs. Jobs and nodes are named by their
own names, jobs also as `workspace/job`. Everything takes effect at once or raises `LookupError`; what takes time goes
on in tasks of its own, and `close` ends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from workforce_local.azureml.cluster import Cluster
from workforce_local.azureml.jobs import Job
from workforce_local.azureml.maintenance import Event, Notice, take
from workforce_local.azureml.node import Node
from workforce_local.azureml.pace import STEPS
from workforce_local.azureml.permissions import Denial
from workforce_local.azureml.server import ArmServer
from workforce_local.azureml.service import MachineLearning
from workforce_local.azureml.shapes import job_error
from workforce_local.azureml.states import CANCELLABLE, Interruption, Status
from workforce_local.config import ComputeTimes
from workforce_local.identity import Issuer


@dataclass(frozen=True)
class NodeView:
    """A node that is up. A simulated job's node has no id of its own but the job's name."""

    node_id: str
    workspace: str
    compute: str
    location: str
    job: str | None


class Control:
    """Everything that happens to a cloud without its users' doing."""

    def __init__(
        self, service: MachineLearning, arm: ArmServer, issuer: Issuer, *, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._service = service
        self._arm = arm
        self._issuer = issuer
        self._changed = changed
        self._events: dict[str, asyncio.Task[bool]] = {}

    async def close(self) -> None:
        """Stop everything that is under way."""
        tasks = list(self._events.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- nodes and jobs

    def nodes(self, location: str | None = None) -> list[NodeView]:
        """The nodes that are up, in a region or in all; of simulated clusters those with a job."""
        running: dict[tuple[str, str], list[str]] = {}
        for job in self._running():
            running.setdefault(job.place, []).append(job.name)
        found = []
        for compute in self._service.fleet:
            where = (compute.workspace, compute.config.name, compute.location)
            if isinstance(compute.cluster, Cluster):
                found += [NodeView(node.node_id, *where, node.job) for node in compute.cluster.nodes()]
            else:
                found += [NodeView(name, *where, name) for name in running.get(where[:2], [])]
        return [view for view in found if location is None or view.location.lower() == location.lower()]

    def preempt(self, target: str, notice_seconds: float = 30.0, withdraw_after: float | None = None) -> str:
        """Preempt a node, or the node of a job: announced, and done unless it is withdrawn before.

        Returns:
            The event's id, for `withdraw` and `wait`; a simulated job has no metadata service to show it.
        """
        return self.schedule_event(target, Notice("Preempt", notice_seconds, withdraw_after))

    def schedule_event(self, target: str, notice: Notice) -> str:
        """Let any scheduled event happen to a node, or to the node of a job. Returns the event's id."""
        try:
            cluster, node = self._node(target)
        except LookupError:
            return self._simulate(self._job(target), notice)
        event = Event(cluster, node, self._job_on(node), notice)
        event.announce()
        return self._begin(event.event_id, event.run())

    def withdraw(self, event_id: str) -> bool:
        """Take an event back. Returns whether it was under way."""
        task = self._events.get(event_id)
        return task is not None and task.cancel()

    async def wait(self, event_id: str) -> bool:
        """Until an event is over. Returns whether it happened; one that is unknown or was withdrawn did not."""
        task = self._events.get(event_id)
        if task is None:
            return False
        await asyncio.wait([task])
        return not task.cancelled() and task.result()

    def lose_node(self, target: str) -> None:
        """A node is gone without a word: all processes of the job on it get SIGKILL, the job is run again elsewhere."""
        try:
            cluster, node = self._node(target)
        except LookupError:
            self._interrupt(self._job(target), Interruption.LOST)
            return
        take(cluster, node, self._job_on(node), preempted=False)

    def pause(self, job: str) -> None:
        """Suspend a running job, as Singularity does: SIGTERM, then its processes are ended, and it is `Paused`."""
        self._interrupt(self._job(job), Interruption.PAUSED)

    def resume(self, job: str) -> None:
        """Queue a paused job again."""
        found = self._job(job)
        if found.life is None or not found.life.resume():
            raise LookupError(f"job {job} is {found.status}, not Paused")

    def use_up(self, job: str) -> None:
        """From now on a virtual cluster grants this job no more execution time: once it is paused, it stays so."""
        self._job(job).used_up = True

    def fail(self, job: str, codes: Sequence[str], message: str) -> None:
        """End a job as failed with this error, as where its image cannot be pulled or its node does not come back.

        Args:
            job: Which has not ended, and is not about to.
            codes: From the outermost to the innermost.
            message: For people.
        """
        found = self._job(job)
        if found.life is None or found.status not in CANCELLABLE:
            raise LookupError(f"job {job} is {found.status}: it cannot fail any more")
        found.error = job_error(codes, message)
        found.life.cancel()

    def report_status(self, job: str, status: str | None) -> None:
        """Answer this word instead of a job's status, for words that nobody expects; None is the truth again."""
        self._job(job).report(status)

    # -- clusters

    def set_quota(self, location: str, cores: int | None) -> None:
        """How many cores a region may use; None is any number."""
        self._service.fleet.set_quota(location, cores)

    def set_shared(self, workspace: str, compute: str, nodes: int) -> None:
        """How many nodes of a cluster somebody else's jobs hold."""
        self._service.fleet.find(workspace, compute).cluster.share(nodes)

    def shared(self, workspace: str, compute: str) -> int:
        """How many nodes of a cluster somebody else's jobs hold now."""
        return self._service.fleet.find(workspace, compute).cluster.capacity.shared

    def set_times(self, times: ComputeTimes) -> int:
        """Other times for the computes that match, from now on. Returns how many do."""
        spans = {step: span for step in STEPS if (span := getattr(times, step)) is not None}
        matching = [found for found in self._service.fleet if times.matches(found.workspace, found.config.name)]
        for compute in matching:
            compute.cluster.pace.change(spans)
        return len(matching)

    # -- the resource manager and the studio

    def set_index_lag(self, seconds: float) -> None:
        """How old the studio's index is."""
        self._service.index_lag = timedelta(seconds=seconds)

    def set_list_lag(self, seconds: float) -> None:
        """How old lists of jobs of the resource manager are; a GET of one job is never old."""
        self._service.list_lag = timedelta(seconds=seconds)

    def throttle(self, on: bool) -> None:  # noqa: FBT001 - says itself what it means
        """Whether empty token buckets are answered with 429."""
        self._arm.throttle = on

    def set_outage(self, location: str, on: bool = True) -> None:  # noqa: FBT001 - the same
        """Whether a region's gateway (`*`: every region's) answers nothing but 503 and a page for people."""
        (self._arm.outages.add if on else self._arm.outages.discard)(location.lower())

    def deny(self, denial: Denial) -> None:
        """Answer 403 to somebody who wants to do something somewhere."""
        self._arm.denials.append(denial)

    def allow_all(self) -> None:
        """Deny nothing any more."""
        self._arm.denials.clear()

    # -- identities

    def revoke_credentials(self, client_id: str | None = None, *, disable: bool = False) -> None:
        """Refuse the tokens that an application (unset: the operator's) was given, and with `disable` give no more."""
        self._issuer.revoke(client_id or self._service.config.client_id, disable=disable)
        self._changed()

    def restore_credentials(self, client_id: str | None = None) -> None:
        """Give an application tokens again."""
        self._issuer.restore(client_id or self._service.config.client_id)
        self._changed()

    def set_token_lifetime(self, seconds: int) -> None:
        """How long tokens are good that are given from now on."""
        self._issuer.lifetime = seconds

    # -- finding things

    def _running(self) -> list[Job]:
        return [job for job in self._service.records() if job.status is Status.RUNNING]

    def _job(self, name: str) -> Job:
        """The newest job of a name, with or without its workspace before it."""
        workspace, _, job = name.rpartition("/")
        for record in reversed(self._service.records()):
            if record.name == job and workspace in ("", record.workspace.workspace):
                return record
        raise LookupError(f"there is neither a node nor a job '{name}'")

    def _node(self, target: str) -> tuple[Cluster, Node]:
        try:
            return self._service.fleet.node(target)
        except LookupError:
            node_id = self._job(target).node
            if node_id is None:
                raise
        return self._service.fleet.node(node_id)

    def _job_on(self, node: Node) -> Job | None:
        return next((job for job in self._running() if job.node == node.node_id), None)

    @staticmethod
    def _interrupt(job: Job, how: Interruption) -> None:
        if job.life is None or not job.life.interrupt(how):
            raise LookupError(f"job {job.name} is {job.status}, not Running")

    def _simulate(self, job: Job, notice: Notice) -> str:
        """The same for a job without a node: only what comes of it."""
        if job.status is not Status.RUNNING:
            raise LookupError(f"job {job.name} is {job.status}, not Running: it has no node")

        async def run() -> bool:
            if notice.withdraw_after is not None and notice.withdraw_after < notice.seconds:
                await asyncio.sleep(notice.withdraw_after)
                return False
            await asyncio.sleep(notice.seconds)
            how = Interruption.PREEMPTED if notice.event_type in ("Preempt", "Terminate") else Interruption.LOST
            return notice.event_type != "Freeze" and job.life is not None and job.life.interrupt(how)

        return self._begin(f"SIMULATED-{job.sequence}-{len(job.history)}", run())

    def _begin(self, event_id: str, what: Coroutine[Any, Any, bool]) -> str:
        task = asyncio.create_task(what, name=f"event {event_id}")
        self._events[event_id] = task
        task.add_done_callback(lambda _: self._events.pop(event_id, None))
        return event_id
