"""Whom to lay off first, and whom to take back first: those whose leaving loses least.

Jobs that never ran go first. Among running ones reports decide, if there are any: whoever takes no tasks anyway, then
idle ones, then those that have not reported, then those whose longest-running task is youngest. All ties go to
the highest sequence, so that the order is total and a repeated pass chooses the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum

from jobq.control import State
from workforce_operator.domain.counting import Count
from workforce_operator.domain.ledger import Wave
from workforce_operator.domain.observed import Job, Phase

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Loss(IntEnum):
    """What is lost when a job leaves, the least first."""

    NEVER_RAN = 0
    PAUSED = 1
    REFUSES = 2
    """It takes no tasks anyway."""
    IDLE = 3
    SILENT = 4
    """It has not reported: nobody knows."""
    BUSY = 5

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]


_WORDS = {
    Loss.NEVER_RAN: "never ran",
    Loss.PAUSED: "paused",
    Loss.REFUSES: "taking no tasks",
    Loss.IDLE: "idle",
    Loss.SILENT: "not heard of",
    Loss.BUSY: "busy",
}


def lay_off_order(
    count: Count, reports: Mapping[str, State], *, running: bool, most: int | None = None
) -> tuple[Job, ...]:
    """Supply in the order in which it is laid off.

    Args:
        count: The region's jobs.
        reports: What workers said, by job name.
        running: Whether running jobs may be laid off at all; without a control channel they may not. A paused job has
            given its tasks back and has no process.
        most: How many are asked for; None = all of them.
    """
    classes: dict[Loss, Sequence[Job]] = {Loss.NEVER_RAN: count.pending, Loss.PAUSED: count.paused}
    if running and (most is None or most > len(count.pending) + len(count.paused)):
        classes |= running_by_loss(count.running, reports)
    order: list[Job] = []
    for loss, jobs in classes.items():
        if most is not None and len(order) >= most:
            break
        order += sorted(jobs, key=lambda job: (within_loss(job, loss, reports.get(job.name)), -job.sequence))
    return tuple(order[:most])


def running_by_loss(jobs: Iterable[Job], reports: Mapping[str, State]) -> dict[Loss, Sequence[Job]]:
    """Running jobs in classes of equal loss, the smallest first. As ``loss_of`` has it, for many at a time."""
    refuses: list[Job] = []
    idle: list[Job] = []
    silent: list[Job] = []
    busy: list[Job] = []
    report_of = reports.get
    for job in jobs:
        report = report_of(job.name)
        if report is None:
            silent.append(job)
        elif not report.accepting:
            refuses.append(job)
        elif report.busy_slots:
            busy.append(job)
        else:
            idle.append(job)
    return {Loss.REFUSES: refuses, Loss.IDLE: idle, Loss.SILENT: silent, Loss.BUSY: busy}


def take_back_order(jobs: Iterable[Job], waves: Iterable[Wave], reports: Mapping[str, State]) -> tuple[Job, ...]:
    """Draining jobs in the order in which they are taken back: running ones of the youngest wave first.

    Within a wave it is the reverse of laying off: who has most to finish is most surely still there.
    """
    revisions = {job: wave.revision for wave in waves for job in wave.jobs}
    ordered = sorted(jobs, key=lambda job: _lay_off_key(job, reports.get(job.name)), reverse=True)
    return tuple(sorted(ordered, key=lambda job: (job.phase is not Phase.RUNNING, -revisions.get(job.sequence, 0))))


def loss_of(job: Job, report: State | None) -> Loss:
    """What is lost when a job of the supply leaves."""
    if job.phase is Phase.PENDING:
        return Loss.NEVER_RAN
    if job.phase is Phase.PAUSED:
        return Loss.PAUSED
    if report is None:
        return Loss.SILENT
    if not report.accepting:
        return Loss.REFUSES
    return Loss.IDLE if report.busy_slots == 0 else Loss.BUSY


def within_loss(job: Job, loss: Loss, report: State | None) -> float:
    """Order of jobs that lose the same: the youngest, and of busy ones whose longest task is youngest, first."""
    if loss is Loss.NEVER_RAN:
        return -(job.created or _LONG_AGO).timestamp()
    if loss is Loss.BUSY and report is not None:
        return -(report.oldest_task_start or _LONG_AGO).timestamp()
    return 0.0


def _lay_off_key(job: Job, report: State | None) -> tuple[int, float, int]:
    loss = loss_of(job, report)
    return loss, within_loss(job, loss, report), -job.sequence
