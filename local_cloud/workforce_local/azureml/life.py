"""Takes one job through its life: waiting for nodes, running, being interrupted or cancelled, ending.

One task per job. Every wait ends early when the job is cancelled. Invariants: the processes of a job have ended before
its status is terminal, Queued again or Paused; its nodes are given back however it ends.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, TypeVar

from workforce_local.azureml.cluster import Cluster
from workforce_local.azureml.durations import parse_duration
from workforce_local.azureml.jobs import Clock, Job, utc_now
from workforce_local.azureml.node import Node, Running
from workforce_local.azureml.pace import Pace, Step
from workforce_local.azureml.shapes import run_time
from workforce_local.azureml.states import Interruption, Status, outcome

T = TypeVar("T")


class JobLife:
    """The life of one job on a cluster."""

    def __init__(self, job: Job, cluster: Cluster, pace: Pace, *, clock: Clock = utc_now) -> None:
        self._job = job
        self._cluster = cluster
        self._pace = pace
        self._clock = clock
        self._interruption: Interruption | None = None
        self._interrupted = asyncio.Event()
        self._resumed = asyncio.Event()

    # -- what can be done to it

    def cancel(self) -> None:
        """Ask it to end; one with an error ends as failed."""
        self._job.cancelled.set()

    def interrupt(self, how: Interruption) -> bool:
        """Take its node. Returns whether it ran."""
        if self._job.status is not Status.RUNNING or self._interrupted.is_set():
            return False
        self._interruption = how
        self._interrupted.set()
        return True

    def resume(self) -> bool:
        """Queue it again. Returns whether it was paused."""
        if self._job.status is not Status.PAUSED:
            return False
        self._resumed.set()
        return True

    # -- what it does

    async def run(self) -> None:
        """Until the job has ended."""
        job = self._job
        try:
            await self._live()
        except (OSError, RuntimeError, ValueError) as error:
            # A node that cannot start the command (too long for the system, a zero byte) is that job's failure, not
            # the service's.
            job.note(error=str(error)[:1000])
            self._end(Status.FAILED)
        finally:
            job.ended.set()

    async def _live(self) -> None:
        for status, seconds in self._pace.opening(self._job.name):
            if status is not self._job.status:
                self._go(status)
            if await self._cancelled_within(seconds):
                return await self._cancel()
        while True:
            self._go(Status.QUEUED)
            ending = await self._attempt()
            if isinstance(ending, Status):
                return await self._finish(ending)
            if ending is None or not await self._recover(ending):
                return await self._cancel()

    async def _attempt(self) -> Status | Interruption | None:
        """From Queued on, once. Returns how the job ends, what interrupted it, or None for a cancel before it ran."""
        wish = self._cluster.ask(int(self._job.properties["resources"]["instanceCount"]))
        try:
            nodes = await first(wish.granted, self._job.cancelled)
            return await self._on(nodes) if nodes else None
        finally:
            self._cluster.release(wish)

    async def _recover(self, interruption: Interruption) -> bool:
        """From the end of its processes until it may be queued again. Returns False if it was cancelled meanwhile."""
        self._job.pid = self._job.node = None
        match interruption:
            case Interruption.PREEMPTED:
                return not self._job.cancelled.is_set()
            case Interruption.LOST:
                self._go(Status.NOT_RESPONDING)
                return not await self._cancelled_within(self._seconds("not_responding"))
            case Interruption.PAUSED:
                self._go(Status.PAUSED)
                return await self._resumed_before_cancelled()

    async def _resumed_before_cancelled(self) -> bool:
        resumed = asyncio.ensure_future(self._resumed.wait())
        try:
            return await first(resumed, self._job.cancelled) is not None
        finally:
            resumed.cancel()

    async def _on(self, nodes: list[Node]) -> Status | Interruption | None:
        """Run on these nodes. Returns how it goes on, or None if it was cancelled before it ran."""
        job = self._job
        job.node = nodes[0].node_id
        job.attempt += 1
        for node in nodes:
            node.job = job.name
        try:
            async with nodes[0].running(job.launch) as running:
                return await self._while_running(running)
        finally:
            for node in nodes:
                node.job = None

    async def _while_running(self, running: Running) -> Status | Interruption | None:
        job = self._job
        if job.cancelled.is_set():
            # Whoever cancelled a job that nobody ever saw running has not cancelled a running one.
            running.kill()
            await asyncio.shield(running.ended)
            return None
        job.pid, job.environment = running.pid, running.environment
        self._interruption = None
        self._interrupted.clear()
        self._resumed.clear()
        self._go(Status.RUNNING)
        job.note(StartTimeUtc=run_time(self._clock()))
        limit = time_limit(job.properties)
        seconds = limit.total_seconds() if limit else None
        code = await first(running.ended, job.cancelled, self._interrupted, timeout=seconds)
        if code is None and self._interruption is not None and not job.cancelled.is_set():
            await self._interrupt(running, self._interruption)
            return self._interruption
        if code is None and job.error is not None:
            await self._interrupt(running, Interruption.LOST)
            return None
        if code is None:
            self._go(Status.CANCEL_REQUESTED)
            code = await self._stop(running)
            ending = Status.CANCELED
        else:
            ending = outcome(code)
        job.exit_code = code
        return ending

    async def _interrupt(self, running: Running, how: Interruption) -> None:
        """A paused job is told; a node that is gone tells nobody anything."""
        if how is Interruption.PAUSED:
            await self._stop(running)
            return
        running.kill()
        await asyncio.shield(running.ended)

    async def _stop(self, running: Running) -> int:
        """SIGTERM, and SIGKILL for what is left after the grace period."""
        running.terminate()
        await asyncio.wait([running.ended], timeout=self._pace.timing.cancel_grace_seconds)
        running.kill()
        return await asyncio.shield(running.ended)

    async def _finish(self, ending: Status) -> None:
        if ending is not Status.CANCELED:
            self._go(Status.FINALIZING)
            await asyncio.sleep(self._seconds("finalizing"))
        self._end(ending)

    async def _cancel(self) -> None:
        """Cancel a job that has no process, or end one that the service has failed."""
        if self._job.error is not None:
            self._end(Status.FAILED)
            return
        self._go(Status.CANCEL_REQUESTED)
        await asyncio.sleep(self._seconds("canceling"))
        self._end(Status.CANCELED)

    def _end(self, status: Status) -> None:
        self._job.note(EndTimeUtc=run_time(self._clock()))
        self._go(status)

    def _go(self, status: Status) -> None:
        self._job.go(status, self._clock())

    def _seconds(self, step: Step) -> float:
        return self._pace.seconds(step, self._job.name)

    async def _cancelled_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._job.cancelled.wait(), seconds)
        except TimeoutError:
            return False
        return True


def time_limit(properties: dict[str, Any]) -> timedelta | None:
    """After how long a running job is cancelled."""
    timeout = (properties.get("limits") or {}).get("timeout")
    return parse_duration(timeout) if timeout else None


async def first(future: asyncio.Future[T], *events: asyncio.Event, timeout: float | None = None) -> T | None:
    """The future's result, or None if an event or the time comes first. The future goes on either way."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    every: set[asyncio.Future[Any]] = {future, *waiting}
    try:
        await asyncio.wait(every, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    return future.result() if future.done() else None
