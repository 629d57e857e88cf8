"""Whom to lay off first, and whom to take back first: those whose leaving loses least.

Jobs that never ran go first. Among running ones reports decide, if there are any: whoever takes no tasks anyway, then
idle ones, then those that have not reported, then those whose longest-running task began, or last saved its state,
most recently. All ties go to the highest sequence, so that the order is total and a repeated pass chooses the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from functools import cached_property
from operator import attrgetter
from typing import Any

from workforce_operator.domain.counting import Count
from workforce_operator.domain.ledger import Wave
from workforce_operator.domain.observed import Job, LastReport, Phase

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Loss(IntEnum):
    """What is lost when a job leaves, the least first."""

    WAITS = 0
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
    Loss.WAITS: "waiting for a node",
    Loss.PAUSED: "paused",
    Loss.REFUSES: "taking no tasks",
    Loss.IDLE: "idle",
    Loss.SILENT: "not heard of",
    Loss.BUSY: "busy",
}
_ALL = tuple(Loss)
_WITHOUT_PROCESS = (Loss.WAITS, Loss.PAUSED)


class Ranking:
    """One region's supply in classes of equal loss.

    What running jobs lose is looked at when it first comes to them, and once, as is who of a class leaves first:
    placement and the region's own decision ask for it, and there may be tens of thousands of jobs.

    Attributes:
        count: The region's jobs.
        reports: What workers said, by job name.
    """

    def __init__(self, count: Count, reports: Mapping[str, LastReport]) -> None:
        self.count, self.reports = count, reports
        self._in_order: dict[Loss, Sequence[Job]] = {}

    def classes(self, *, running: bool = True) -> Iterator[tuple[Loss, Sequence[Job]]]:
        """All classes, or all of jobs that do not run; the smallest loss first, each in the order of its jobs."""
        yield from ((loss, self._jobs(loss)) for loss in (_ALL if running else _WITHOUT_PROCESS))

    def in_order(self, loss: Loss) -> Sequence[Job]:
        """The jobs of a class, the first to leave first."""
        if loss not in self._in_order:
            self._in_order[loss] = sorted(self._jobs(loss), key=youth(loss, self.reports), reverse=True)
        return self._in_order[loss]

    def _jobs(self, loss: Loss) -> Sequence[Job]:
        match loss:
            case Loss.WAITS:
                return self.count.pending
            case Loss.PAUSED:
                return self.count.paused
            case _:
                return self._running[loss]

    @cached_property
    def _running(self) -> Mapping[Loss, Sequence[Job]]:
        return _by_report(self.count.running, self.reports)


def first_to_leave(ranking: Ranking, *, running: bool, most: int | None = None) -> dict[Loss, Sequence[Job]]:
    """Supply in the order in which it is laid off, by what is lost.

    Args:
        ranking: The region's supply.
        running: Whether running jobs may be laid off at all; without a control channel they may not. A paused job has
            given its tasks back and has no process.
        most: How many are asked for; None = all of them.
    """
    leaving: dict[Loss, Sequence[Job]] = {}
    for loss, _ in ranking.classes(running=running):
        leaving[loss] = ranking.in_order(loss)[:most]
        if most is not None:
            most -= len(leaving[loss])
            if most == 0:
                break
    return leaving


def take_back_order(jobs: Iterable[Job], waves: Iterable[Wave], reports: Mapping[str, LastReport]) -> tuple[Job, ...]:
    """Draining jobs in the order in which they are taken back: running ones of the youngest wave first.

    Within a wave it is the reverse of laying off: who has most to finish is most surely still there.
    """
    revisions = {job: wave.revision for wave in waves for job in wave.jobs}
    ordered: list[Job] = []
    for loss, equals in reversed(by_loss(jobs, reports).items()):
        ordered += sorted(equals, key=youth(loss, reports))
    return tuple(sorted(ordered, key=lambda job: (job.phase is not Phase.RUNNING, -revisions.get(job.sequence, 0))))


def by_loss(jobs: Iterable[Job], reports: Mapping[str, LastReport]) -> dict[Loss, list[Job]]:
    """Jobs of the supply in classes of equal loss, the smallest first, each class in the order of the jobs."""
    waiting, paused, running = list[Job](), list[Job](), list[Job]()
    is_running, is_paused = Phase.RUNNING, Phase.PAUSED  # An enumeration is slow to ask, and there may be many jobs.
    for job in jobs:
        if job.phase is is_running:
            running.append(job)
        else:
            (paused if job.phase is is_paused else waiting).append(job)
    return {Loss.WAITS: waiting, Loss.PAUSED: paused, **_by_report(running, reports)}


def _by_report(running: Iterable[Job], reports: Mapping[str, LastReport]) -> dict[Loss, list[Job]]:
    """The same of running jobs. Written for speed: there may be tens of thousands of them."""
    refuses, idle, silent, busy = list[Job](), list[Job](), list[Job](), list[Job]()
    report_of = reports.get
    for job in running:
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


def youth(loss: Loss, reports: Mapping[str, LastReport]) -> Callable[[Job], Any]:
    """By what jobs that lose the same differ: the greatest leaves first.

    That is the youngest of those that never ran, and of busy ones the one that would lose least if it were killed now;
    else, and among equals, the highest sequence.
    """
    match loss:
        case Loss.WAITS:
            return lambda job: (job.created or _LONG_AGO, job.sequence)
        case Loss.BUSY:
            return lambda job: (_unsaved_since(reports[job.name]), job.sequence)
        case _:
            return attrgetter("sequence")


def _unsaved_since(report: LastReport) -> datetime:
    """Since when a worker's longest-running task has done work that a kill would lose, as far as it is known."""
    return max(report.oldest_task_start or _LONG_AGO, report.last_checkpoint or _LONG_AGO)
