"""How much work shrinking has cost: the time that tasks had run which did not complete, from the workers' own reports.

A worker that returns tasks says for how long they had run. One that is cancelled may not come to say anything: then
its last state counts, up to the moment of the cancel. Both are told once per job.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime

from jobq.control import DrainFinished
from workforce_operator.domain.observed import LastReport
from workforce_operator.reconcile.telemetry import LossCause, Telemetry

REMEMBERED = 20_000
"""Jobs that were counted as cancelled; what a forgotten one says yet is counted a second time."""


class Losses:
    """Counts lost task time of all Workforces."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._cancelled: OrderedDict[str, None] = OrderedDict()

    def returned(self, reports: Iterable[DrainFinished]) -> None:
        """Drains came to an end."""
        for report in reports:
            if report.lost_seconds > 0 and report.job not in self._cancelled:
                self._telemetry.lost(LossCause.RETURNED, report.lost_seconds)

    def cancelled(self, job: str, state: LastReport | None, now: datetime) -> None:
        """A job was cancelled whatever it did."""
        if job in self._cancelled:
            return
        self._cancelled[job] = None
        while len(self._cancelled) > REMEMBERED:
            self._cancelled.popitem(last=False)
        seconds = running_seconds(state, now)
        if seconds > 0:
            self._telemetry.lost(LossCause.CANCELLED, seconds)


def running_seconds(state: LastReport | None, now: datetime) -> float:
    """How long a worker's tasks have run by now, as far as it has said; 0 if it has not spoken."""
    if state is None or state.busy_slots == 0:
        return 0.0
    since = max(0.0, (now - state.time).total_seconds())
    if state.running_seconds is not None:
        return state.running_seconds + state.busy_slots * since
    # An older agent tells only of its longest task.
    return max(0.0, (now - state.oldest_task_start).total_seconds()) if state.oldest_task_start else 0.0
