"""What a region's jobs count as: supply, live, draining, ended. Words and numbers only, no decision."""

from __future__ import annotations

from collections.abc import Sequence

from workforce_operator.api.status import DrainState
from workforce_operator.domain.ledger import Wave
from workforce_operator.domain.observed import Job, Phase, RegionJobs
from workforce_operator.domain.value import value
from workforce_operator.domain.waves import unanswered

_SUPPLY = (Phase.RUNNING, Phase.PENDING, Phase.PAUSED)


@value
class Count:
    """A region's jobs, each in exactly one place.

    Attributes:
        pending: Supply that waits for a node.
        running: Supply that has a process.
        paused: Supply that is paused.
        draining: Live jobs of a wave that was sent; not supply.
        ending: Live jobs whose cancellation was accepted; not supply.
        ended: Jobs that are gone.
        absent: Reserved sequences without a job: not supply, but caps count them.
        unread: Reserved sequences that are perhaps live.
        late: The absent ones that a hire which is still on its way may bring about.
        unnamed: How many of the running ones were told to leave without anybody knowing which; they are not supply.
    """

    pending: tuple[Job, ...] = ()
    running: tuple[Job, ...] = ()
    paused: tuple[Job, ...] = ()
    draining: tuple[Job, ...] = ()
    ending: tuple[Job, ...] = ()
    ended: tuple[Job, ...] = ()
    absent: frozenset[int] = frozenset()
    unread: frozenset[int] = frozenset()
    late: frozenset[int] = frozenset()
    unnamed: int = 0

    @property
    def supply(self) -> int:
        """Jobs that count towards desired."""
        return len(self.pending) + len(self.running) + len(self.paused) - self.unnamed

    @property
    def placed(self) -> int:
        """Jobs that surely have a node, those who leave included."""
        return len(self.running) + sum(job.phase is Phase.RUNNING for job in self.draining)

    @property
    def leaving(self) -> int:
        """Jobs that were told to leave and have not left."""
        return len(self.draining) + len(self.ending) + self.unnamed

    @property
    def live(self) -> int:
        """Jobs that exist and have not ended: what caps count, with the reserved names."""
        return self.supply + self.leaving

    @property
    def possibly_live(self) -> int:
        """Jobs that exist, or perhaps exist."""
        return self.live + len(self.unread)

    @property
    def is_empty(self) -> bool:
        """Nothing lives here, for sure, nor will. Names that do not exist count as long as a hire may be on its way."""
        return self.possibly_live == 0 and not self.late

    @property
    def live_jobs(self) -> tuple[Job, ...]:
        """All jobs that exist and have not ended."""
        return (*self.pending, *self.running, *self.paused, *self.draining, *self.ending)


def count_jobs(region: RegionJobs, waves: Sequence[Wave]) -> Count:
    """Put each job where it counts."""
    told_to_leave = frozenset(job for wave in waves if wave.state is DrainState.SENT for job in wave.jobs)
    phases = region.by_phase
    running, pending, paused = (phases[phase] for phase in _SUPPLY)
    draining: tuple[Job, ...] = ()
    if told_to_leave:
        named = [region.by_sequence.get(sequence) for sequence in sorted(told_to_leave)]
        draining = tuple([job for job in named if job is not None and job.phase in _SUPPLY])
        running, pending, paused = (_without(told_to_leave, jobs) for jobs in (running, pending, paused))
    unnamed = sum(unanswered(waves, phases[Phase.ENDED]).values())
    return Count(
        pending,
        running,
        paused,
        draining,
        ending=phases[Phase.ENDING],
        ended=phases[Phase.ENDED],
        absent=region.absent,
        unread=region.unread,
        late=region.late,
        unnamed=min(unnamed, len(running)),
    )


def _without(told_to_leave: frozenset[int], jobs: tuple[Job, ...]) -> tuple[Job, ...]:
    return tuple([job for job in jobs if job.sequence not in told_to_leave])
