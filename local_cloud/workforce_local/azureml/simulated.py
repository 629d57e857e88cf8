"""Computes whose jobs are records only: their states follow the times of the compute, and no process ever runs.

For thousands of jobs in dozens of regions in one process. Everything is driven by the event loop's timers, one per job
at most, so that an idle job costs nothing. Invariants: a job has at most one timer; never more nodes than the maximum
less the shared ones; a terminal job holds no node.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from workforce_local.azureml.cluster import Capacity
from workforce_local.azureml.jobs import Clock, Job
from workforce_local.azureml.pace import Pace
from workforce_local.azureml.shapes import NodeCounts, run_time
from workforce_local.azureml.states import CANCELLABLE, Interruption, Status


@dataclass(eq=False)
class _Run:
    """One job on a simulated compute."""

    job: Job
    count: int
    opening: list[tuple[Status, float]]
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    holds: bool = False


class SimulatedCluster:
    """One compute without processes."""

    def __init__(self, capacity: Capacity, pace: Pace, clock: Clock) -> None:
        self.capacity = capacity
        self.pace = pace
        self.changed = self.created = datetime.now(UTC)
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._waiting: OrderedDict[str, _Run] = OrderedDict()
        self._present = capacity.least
        self._preparing = 0
        self._busy = 0
        self._wanted = 0
        """Nodes that the waiting jobs want."""
        self._preempted = 0
        self._idle_until: deque[float] = deque()
        """When nodes that became idle have been so for long enough, on the loop's clock; it is as long for all."""
        self._closed = False

    # -- what it looks like

    def counts(self) -> NodeCounts:
        """The node counts that the cluster reports; nodes that others hold are running."""
        present = self._present + self._preparing + self.capacity.shared
        running = self._busy + self.capacity.shared
        target = min(max(running + self._wanted, present), self.capacity.maximum)
        return NodeCounts(self._preparing, running, self._present - self._busy, 0, target, self._preempted)

    # -- what jobs do

    def submit(self, job: Job) -> SimulatedLife:
        """Begin a job's life; its first state has been entered by the caller."""
        count = int(job.properties["resources"]["instanceCount"])
        run = self._runs[job.name] = _Run(job, count, self.pace.opening(job.name)[::-1])
        _, seconds = run.opening.pop()
        self._after(run, seconds, self._open)
        return SimulatedLife(self, run)

    def _open(self, run: _Run) -> None:
        """Take the next state before Queued, or queue."""
        if not run.opening:
            self._queue(run)
            return
        status, seconds = run.opening.pop()
        self._go(run, status)
        self._after(run, seconds, self._open)

    def _queue(self, run: _Run) -> None:
        self._go(run, Status.QUEUED)
        self._waiting[run.job.name] = run
        self._wanted += run.count
        self.balance()

    def _run(self, run: _Run) -> None:
        run.holds = True
        self._busy += run.count
        self._go(run, Status.RUNNING)
        run.job.note(StartTimeUtc=run_time(self._clock()))
        seconds = self.pace.running(run.job.name)
        if seconds is not None:
            self._after(run, seconds, self._finalize)

    def _finalize(self, run: _Run) -> None:
        self._release(run)
        self._go(run, Status.FINALIZING)
        self._after(run, self.pace.seconds("finalizing", run.job.name), lambda done: self._end(done, Status.COMPLETED))

    def _end(self, run: _Run, status: Status) -> None:
        run.job.note(EndTimeUtc=run_time(self._clock()))
        self._go(run, status)
        run.job.exit_code = 0 if status is Status.COMPLETED else None
        del self._runs[run.job.name]
        run.job.ended.set()

    # -- what is done to jobs

    def cancel(self, run: _Run) -> None:
        """End a job unless it is ending already; one with an error ends as failed."""
        if run.job.status not in CANCELLABLE:
            return
        run.job.cancelled.set()
        self._leave(run)
        if run.job.error is not None:
            self._end(run, Status.FAILED)
        else:
            self._go(run, Status.CANCEL_REQUESTED)
            seconds = self.pace.seconds("canceling", run.job.name)
            self._after(run, seconds, lambda done: self._end(done, Status.CANCELED))
        self.balance()

    def interrupt(self, run: _Run, how: Interruption) -> bool:
        """Take the node from a running job. Returns whether it ran."""
        if run.job.status is not Status.RUNNING:
            return False
        self._leave(run)
        if how is not Interruption.PAUSED:
            self._lose(run.count, preempted=how is Interruption.PREEMPTED)
        match how:
            case Interruption.PREEMPTED:
                self._queue(run)
            case Interruption.LOST:
                self._go(run, Status.NOT_RESPONDING)
                self._after(run, self.pace.seconds("not_responding", run.job.name), self._queue)
            case Interruption.PAUSED:
                self._go(run, Status.PAUSED)
        self.balance()
        return True

    def resume(self, run: _Run) -> bool:
        """Queue a paused job again. Returns whether it was paused."""
        if run.job.status is not Status.PAUSED:
            return False
        self._queue(run)
        return True

    def share(self, count: int) -> None:
        """Somebody else's jobs hold this many nodes from now on; idle nodes of ours make room, busy ones do not."""
        self.capacity.shared = count
        self._present = max(self._busy, min(self._present, self.capacity.most))
        self.changed = datetime.now(UTC)
        self.balance()

    def close(self) -> None:
        """Stop all timers."""
        self._closed = True
        for run in self._runs.values():
            self._stop_timer(run)

    # -- nodes

    def balance(self) -> None:
        """Give idle nodes to the first in the queue, then start what is missing."""
        while self._waiting:
            run = next(iter(self._waiting.values()))
            if self._present - self._busy < run.count:
                break
            self._unqueue(run)
            self._run(run)
        missing = self._wanted - (self._present - self._busy) - self._preparing
        if missing <= 0:
            return
        for _ in range(min(missing, self.capacity.room(self._present + self._preparing))):
            self._preparing += 1
            self._later(self.pace.seconds("allocation", f"node {self._present + self._preparing}"), self._arrive)

    def _arrive(self) -> None:
        self._preparing -= 1
        self._present += 1
        self.balance()
        self._idle()

    def _idle(self) -> None:
        """A node has come or was released: each starts a wait of its own, so that none is forgotten."""
        seconds = self.pace.timing.node_idle_seconds
        self._idle_until.append(asyncio.get_running_loop().time() + seconds)
        if len(self._idle_until) == 1:
            self._later(seconds, self._expire)

    def _expire(self) -> None:
        """Give an idle node up, then wait for the next: one timer for thousands of nodes."""
        self._idle_until.popleft()
        if self._idle_until:
            self._later(self._idle_until[0] - asyncio.get_running_loop().time(), self._expire)
        if self._present > max(self._busy, self.capacity.least):
            self._present -= 1
            self.capacity.freed()

    def _lose(self, count: int, *, preempted: bool) -> None:
        self._present -= count
        self.capacity.freed()
        if preempted:
            self._preempted += count
            self._later(self.pace.seconds("allocation", "preempted"), lambda: self._forget(count))

    def _forget(self, count: int) -> None:
        self._preempted -= count

    # -- small steps

    def _leave(self, run: _Run) -> None:
        """Neither waiting, nor timed, nor on a node."""
        self._unqueue(run)
        self._stop_timer(run)
        self._release(run, balance=False)

    def _unqueue(self, run: _Run) -> None:
        if self._waiting.pop(run.job.name, None) is not None:
            self._wanted -= run.count

    def _release(self, run: _Run, *, balance: bool = True) -> None:
        if run.holds:
            run.holds = False
            self._busy -= run.count
            self._idle()
            if balance:
                self.balance()

    def _go(self, run: _Run, status: Status) -> None:
        run.job.go(status, self._clock())

    def _after(self, run: _Run, seconds: float, then: Callable[[_Run], None]) -> None:
        run.timer = asyncio.get_running_loop().call_later(seconds, then, run)

    @staticmethod
    def _stop_timer(run: _Run) -> None:
        if run.timer is not None:
            run.timer.cancel()
            run.timer = None

    def _later(self, seconds: float, then: Callable[[], None]) -> None:
        def act() -> None:
            if not self._closed:
                then()

        asyncio.get_running_loop().call_later(seconds, act)


@dataclass(frozen=True)
class SimulatedLife:
    """What can be done to one simulated job."""

    _cluster: SimulatedCluster
    _run: _Run

    def cancel(self) -> None:
        """Ask it to end."""
        self._cluster.cancel(self._run)

    def interrupt(self, how: Interruption) -> bool:
        """Take its node. Returns whether it ran."""
        return self._cluster.interrupt(self._run, how)

    def resume(self) -> bool:
        """Queue it again. Returns whether it was paused."""
        return self._cluster.resume(self._run)
