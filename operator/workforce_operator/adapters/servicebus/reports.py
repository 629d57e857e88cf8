"""What workers reported, kept in memory: bounded, the latest state per job. Pure but for its memory.

Nothing depends on a report: the oldest are forgotten first, and a worker's last words end its entry.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import TypeVar

from jobq.control import DrainAccepted, DrainFinished, Exit, Hello, State
from workforce_operator.domain.observed import LastReport

T = TypeVar("T")

KEPT = 20_000
LAST_WORDS_KEPT = 2_000
"""Exit reports are kept for those that failed a short while ago; each may hold fifty lines."""


class Reports:
    """The latest ``state`` of each job of one Service Bus namespace, and the last words of those that ended."""

    def __init__(self, *, kept: int = KEPT, last_words_kept: int = LAST_WORDS_KEPT) -> None:
        self._kept, self._last_words_kept = kept, last_words_kept
        self._states: OrderedDict[str, LastReport] = OrderedDict()
        self._last_words: OrderedDict[str, Exit] = OrderedDict()
        self._finished: deque[DrainFinished] = deque(maxlen=kept)

    def add(self, report: Hello | State | DrainAccepted | DrainFinished | Exit) -> None:
        """Learn from a report. They may come late, twice and in any order."""
        self._forget_last_words(report)
        match report:
            case State():
                known = self._states.get(report.job)
                if known is None or known.time <= report.time:
                    self._states[report.job] = LastReport.of(report)
                    self._states.move_to_end(report.job)
            case Exit():
                # Another agent of the same job, as after a preemption, reports its own state when it starts.
                self._states.pop(report.job, None)
                self._last_words[report.job] = report
            case DrainFinished():
                self._finished.append(report)
            case Hello() | DrainAccepted():
                pass
        while len(self._states) > self._kept:
            self._states.popitem(last=False)
        while len(self._last_words) > self._last_words_kept:
            self._last_words.popitem(last=False)

    def take_finished(self) -> tuple[DrainFinished, ...]:
        """The drains that came to an end since the last call."""
        finished = tuple(self._finished)
        self._finished.clear()
        return finished

    def last_words(self, jobs: Iterable[str]) -> dict[str, Exit]:
        """The exit reports of these jobs, by name."""
        return _of(jobs, self._last_words)

    def states(self, jobs: Iterable[str]) -> dict[str, LastReport]:
        """The latest states of these jobs, by name."""
        return _of(jobs, self._states)

    def recall_confirmed(self, job: str, revision: int) -> bool:
        """Whether the job said that it accepts tasks under this or a later revision."""
        state = self._states.get(job)
        return state is not None and state.accepting and state.revision >= revision

    def _forget_last_words(self, report: Hello | State | DrainAccepted | DrainFinished | Exit) -> None:
        """A job that speaks after its last words has another agent by now."""
        known = self._last_words.get(report.job)
        if known is not None and known.time < report.time:
            del self._last_words[report.job]


def _of(jobs: Iterable[str], known: Mapping[str, T]) -> dict[str, T]:
    """Only what is asked for: a namespace may serve thousands of Workforces, and each asks at every pass."""
    return {job: known[job] for job in jobs if job in known}
