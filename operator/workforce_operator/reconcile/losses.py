"""How much work shrinking has cost: the time that tasks had run which did not complete, from the workers' own reports.

A worker that returns tasks says for how long they had run. One that is cancelled may not come to say anything: then
its last state counts, up to the moment of the cancel. A job is counted once, by what was known of it first: its report
may be delivered twice, and it may be cancelled after its drain has ended.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime

from jobq.control import DrainFinished
from workforce_operator.domain.observed import LastReport
from workforce_operator.reconcile.telemetry import LossCause, Telemetry

REMEMBERED = 20_000
"""Jobs that were counted; what is heard of a forgotten one is counted a second time."""


class Losses:
    """Counts lost task time of all Workforces."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._counted: OrderedDict[str, None] = OrderedDict()

    def returned(self, reports: Iterable[DrainFinished]) -> None:
        """Drains came to an end."""
        for report in reports:
            self._count(report.job, LossCause.RETURNED, report.lost_seconds)

    def cancelled(self, job: str, state: LastReport | None, now: datetime) -> None:
        """A job was cancelled whatever it did."""
        self._count(job, LossCause.CANCELLED, running_seconds(state, now))

    def _count(self, job: str, cause: LossCause, seconds: float) -> None:
        if job in self._counted:
            return
        self._counted[job] = None
        while len(self._counted) > REMEMBERED:
            self._counted.popitem(last=False)
        if seconds > 0:
            self._telemetry.lost(cause, seconds)


def running_seconds(state: LastReport | None, now: datetime) -> float:
    """How long a worker's tasks have run by now, as far as it has said; 0 if it has not spoken."""
    if state is None or state.busy_slots == 0:
        return 0.0
    since = max(0.0, (now - state.time).total_seconds())
    if state.running_seconds is not None:
        return state.running_seconds + state.busy_slots * since
    # An older agent tells only of its longest task.
    return max(0.0, (now - state.oldest_task_start).total_seconds()) if state.oldest_task_start else 0.0
