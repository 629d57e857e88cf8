"""Which cohorts of sequences must be listed: those in which something may still happen, whatever the history."""

from __future__ import annotations

from collections.abc import Iterable

from jobq.names import COHORT_SIZE, cohort
from workforce_operator.domain.counting import Count
from workforce_operator.domain.observed import Job


def open_cohorts(
    before: Iterable[int], count: Count, *, new: range, evidence: Iterable[Job], desired: int, first: int = 0
) -> frozenset[int]:
    """Cohorts to be listed from now on.

    A cohort is open as long as it holds a reserved name that was not seen ended. While something is desired, so is the
    newest cohort, and those of the jobs whose end decides about their replacement: closed, they would be forgotten.

    Args:
        before: Cohorts that were open in this pass, and hence listed, and those of all jobs that were. Others say
            nothing by being silent.
        count: The region's jobs.
        new: Sequences reserved in this pass; ``new.stop`` is the first that is not reserved.
        evidence: Ended jobs that still decide about something.
        desired: The region's desired number.
        first: The first sequence that was ever reserved.
    """
    ended = frozenset(job.sequence for job in count.ended)
    candidates = frozenset(before) | {cohort(sequence) for sequence in new}
    unresolved = frozenset(number for number in candidates if _has_unresolved(number, first, new.stop, ended))
    if desired == 0:
        return unresolved
    newest = {cohort(new.stop - 1)} if new.stop else set()
    return unresolved | newest | {cohort(job.sequence) for job in evidence}


def _has_unresolved(number: int, first: int, next_sequence: int, ended: frozenset[int]) -> bool:
    return any(sequence not in ended for sequence in reserved_in(number, first, next_sequence))


def reserved_in(number: int, first: int, next_sequence: int) -> range:
    """The sequences of a cohort that are reserved."""
    begin = number * COHORT_SIZE
    return range(max(begin, first), min(begin + COHORT_SIZE, next_sequence))
