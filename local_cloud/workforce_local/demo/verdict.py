"""What really happened, counted from the tasks' own files and from ARM's list of jobs. Pure.

The operator's status is never consulted here: the verdict is about it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One line of a task's own record: it started or ended, on which worker, when (seconds since 1970)."""

    event: str
    task: int
    worker: str
    time: float


def parse_record(text: str) -> list[TaskRun]:
    """Read lines of ``start|end <task> <worker> <time>``.

    Raises:
        ValueError: A line has another form: the record itself is broken, and no verdict may stand on it.
    """
    runs = []
    for number, line in enumerate(text.splitlines(), start=1):
        match line.split():
            case [("start" | "end") as event, task, worker, time]:
                runs.append(TaskRun(event, int(task), worker, float(time)))
            case _:
                raise ValueError(f"line {number} of the tasks' record is broken: {line!r}")
    return runs


def busy_at(runs: Iterable[TaskRun], moment: float) -> dict[str, set[int]]:
    """Which tasks each worker was in the middle of at a moment."""
    running: dict[str, set[int]] = {}
    for run in sorted(runs, key=lambda run: run.time):
        if run.time > moment:
            break
        tasks = running.setdefault(run.worker, set())
        if run.event == "start":
            tasks.add(run.task)
        else:
            tasks.discard(run.task)
    return {worker: tasks for worker, tasks in running.items() if tasks}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The counts that the demonstration stands or falls with."""

    enqueued: int
    completed_once: int
    completed_twice: int
    lost: int
    started_twice: int
    hired: int
    completed_workers: int
    cancelled_while_running: int
    failed_workers: int
    jobs_left: int
    drained_mid_task: int

    def faults(self, *, least_mid_task: int) -> list[str]:
        """What is wrong with it, a sentence each; empty when the promise was kept."""
        checks = [
            (self.completed_once == self.enqueued, f"{self.completed_once} of {self.enqueued} tasks completed once"),
            (self.lost == 0, f"{self.lost} tasks lost"),
            (self.completed_twice == 0, f"{self.completed_twice} tasks completed more than once"),
            (self.started_twice == 0, f"{self.started_twice} tasks started more than once"),
            (self.cancelled_while_running == 0, f"{self.cancelled_while_running} workers cancelled while running"),
            (self.failed_workers == 0, f"{self.failed_workers} workers failed"),
            (self.jobs_left == 0, f"{self.jobs_left} jobs left behind"),
            (self.hired > 0, "nobody was hired"),
            (
                self.drained_mid_task >= least_mid_task,
                f"only {self.drained_mid_task} of the drained workers were in the middle of a task",
            ),
        ]
        return [text for good, text in checks if not good]

    def as_dict(self) -> dict[str, int]:
        """For programs."""
        return asdict(self)


_TERMINAL = ("Completed", "Failed", "Canceled")


def judge(
    *, enqueued: int, runs: Iterable[TaskRun], jobs: Iterable[Mapping[str, Any]], drained_mid_task: int
) -> Verdict:
    """Count.

    Args:
        enqueued: Tasks pushed, numbered from 0.
        runs: The tasks' own record.
        jobs: Job objects as ARM lists them.
        drained_mid_task: Workers that were in the middle of a task when they were told to leave.
    """
    runs = list(runs)
    ends = Counter(run.task for run in runs if run.event == "end")
    starts = Counter(run.task for run in runs if run.event == "start")
    properties = [job["properties"] for job in jobs]
    states = Counter(job["status"] for job in properties)
    return Verdict(
        enqueued=enqueued,
        completed_once=sum(1 for task in range(enqueued) if ends[task] == 1),
        completed_twice=sum(1 for task in range(enqueued) if ends[task] > 1),
        lost=sum(1 for task in range(enqueued) if ends[task] == 0),
        started_twice=sum(1 for task in range(enqueued) if starts[task] > 1),
        hired=len(properties),
        completed_workers=states["Completed"],
        cancelled_while_running=sum(
            1 for job in properties if job["status"] == "Canceled" and job.get("properties", {}).get("StartTimeUtc")
        ),
        failed_workers=states["Failed"],
        jobs_left=sum(count for state, count in states.items() if state not in _TERMINAL),
        drained_mid_task=drained_mid_task,
    )
