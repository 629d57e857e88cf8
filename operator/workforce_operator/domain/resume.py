"""Resuming: which paused jobs wait for a node again. They are supply already, so nobody is hired in their place."""

from __future__ import annotations

from datetime import UTC, datetime

from workforce_operator.domain.actions import Resume
from workforce_operator.domain.counting import Count
from workforce_operator.domain.observed import Job
from workforce_operator.domain.shrink import Shrunk
from workforce_operator.domain.situation import Situation

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def resumes(situation: Situation, count: Count, shrunk: Shrunk) -> tuple[Resume, ...]:
    """The paused jobs that are wanted, the oldest first; whoever is too many stays paused until it is laid off.

    `suspend: ScaleUpOnly` does not hold them: they are replicas that stand, as those that other computes queue again
    by themselves.

    Args:
        situation: The region.
        count: Its jobs, after it was decided who leaves and who stays.
        shrunk: Who was chosen to leave in this pass; without a control channel they are cancelled directly.
    """
    leaving = {action.job for action in shrunk.direct}
    candidates = [job for job in sorted(count.paused, key=_age) if job.name not in leaving]
    # Of those that run some may have been told to leave, nobody knows which: they are no supply.
    wanted = max(0, situation.share - (count.supply - len(count.paused)))
    return tuple(Resume(situation.name, job.name) for job in candidates[:wanted])


def _age(job: Job) -> tuple[datetime, int]:
    return job.created or _LONG_AGO, job.sequence
