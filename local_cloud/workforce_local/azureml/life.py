"""Takes one job through its life: waiting for nodes, running, being cancelled, ending.

One task per job. Every wait ends early when the job is cancelled. Invariants: the processes of a job have ended before
its status is terminal; its nodes are given back however it ends.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, TypeVar

from workforce_local.azureml.cluster import Cluster
from workforce_local.azureml.durations import parse_duration
from workforce_local.azureml.jobs import Clock, Job, utc_now
from workforce_local.azureml.node import Node, Running
from workforce_local.azureml.shapes import run_time
from workforce_local.azureml.states import Status, outcome
from workforce_local.config import TimingConfig

T = TypeVar("T")


class JobLife:
    """The life of one job on a cluster."""

    def __init__(self, job: Job, cluster: Cluster, timing: TimingConfig, *, clock: Clock = utc_now) -> None:
        self._job = job
        self._cluster = cluster
        self._timing = timing
        self._clock = clock

    async def run(self) -> None:
        """Until the job has ended."""
        job = self._job
        try:
            await self._live()
        except (OSError, RuntimeError) as error:
            # A node that cannot start the command is that job's failure, not the service's.
            job.note(error=str(error)[:1000])
            self._end(Status.FAILED)
        finally:
            job.ended.set()

    async def _live(self) -> None:
        if await self._cancelled_within(self._timing.starting_seconds):
            return await self._cancel()
        self._go(Status.PREPARING)
        if await self._cancelled_within(self._timing.preparing_seconds):
            return await self._cancel()
        self._go(Status.QUEUED)
        wish = self._cluster.ask(int(self._job.properties["resources"]["instanceCount"]))
        try:
            nodes = await first(wish.granted, self._job.cancelled)
            ending = await self._on(nodes) if nodes else None
        finally:
            self._cluster.release(wish)
        if ending is None:
            return await self._cancel()
        return await self._finish(ending)

    async def _on(self, nodes: list[Node]) -> Status | None:
        """Run on these nodes. Returns how it ends, or None if it was cancelled before it ran."""
        job = self._job
        job.node = nodes[0].node_id
        for node in nodes:
            node.job = job.name
        try:
            async with nodes[0].running(job.launch) as running:
                return await self._while_running(running)
        finally:
            for node in nodes:
                node.job = None

    async def _while_running(self, running: Running) -> Status | None:
        job = self._job
        if job.cancelled.is_set():
            # Whoever cancelled a job that nobody ever saw running has not cancelled a running one.
            running.kill()
            await asyncio.shield(running.ended)
            return None
        job.pid, job.environment = running.pid, running.environment
        self._go(Status.RUNNING)
        job.note(StartTimeUtc=run_time(self._clock()))
        limit = time_limit(job.properties)
        code = await first(running.ended, job.cancelled, timeout=limit.total_seconds() if limit else None)
        if code is None:
            self._go(Status.CANCEL_REQUESTED)
            code = await self._stop(running)
            ending = Status.CANCELED
        else:
            ending = outcome(code)
        job.exit_code = code
        return ending

    async def _stop(self, running: Running) -> int:
        """SIGTERM, and SIGKILL for what is left after the grace period."""
        running.terminate()
        await asyncio.wait([running.ended], timeout=self._timing.cancel_grace_seconds)
        running.kill()
        return await asyncio.shield(running.ended)

    async def _finish(self, ending: Status) -> None:
        if ending is not Status.CANCELED:
            self._go(Status.FINALIZING)
            await asyncio.sleep(self._timing.finalizing_seconds)
        self._end(ending)

    async def _cancel(self) -> None:
        """Cancel a job that has no process."""
        self._go(Status.CANCEL_REQUESTED)
        await asyncio.sleep(self._timing.canceling_seconds)
        self._end(Status.CANCELED)

    def _end(self, status: Status) -> None:
        self._job.note(EndTimeUtc=run_time(self._clock()))
        self._go(status)

    def _go(self, status: Status) -> None:
        self._job.go(status, self._clock())

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


async def first(future: asyncio.Future[T], event: asyncio.Event, timeout: float | None = None) -> T | None:
    """The future's result, or None if the event or the time comes first. The future goes on either way."""
    waiting = asyncio.ensure_future(event.wait())
    both: set[asyncio.Future[Any]] = {future, waiting}
    try:
        await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return future.result() if future.done() else None
