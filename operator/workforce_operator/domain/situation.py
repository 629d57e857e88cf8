"""One readable region in the midst of a pass: all that the decisions about it need, and nothing of other regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from jobq.control import Exit
from workforce_operator.api.spec import ControlDialect, Suspend
from workforce_operator.domain.counting import Count, count_jobs
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.failures import was_told_to_leave
from workforce_operator.domain.ledger import RegionLedger, Wave
from workforce_operator.domain.observed import Known, LastReport, Observed, Phase, QueueDepth, RegionJobs, Unknown
from workforce_operator.domain.ranking import Ranking
from workforce_operator.domain.recovery import rebuilt, restored_until
from workforce_operator.domain.template_backoff import TemplateBackoff
from workforce_operator.domain.value import value
from workforce_operator.domain.waves import settle


@value
class Situation:
    """What is known about one region that could be read.

    Attributes:
        name: The region.
        share: Replicas wanted here.
        most: Live jobs are never more than this.
        listed: Everything that was read.
        count: The jobs by what they count as, under the ledger's waves.
        ranking: Of its supply, what each job loses by leaving.
        ledger: What is intended, less what has come to an end.
        revision: For a wave that this pass makes.
        reason: CamelCase: why jobs would be laid off.
        drained: Sequences of jobs that were told to leave: by a wave that this pass began with, or by their last words.
        channel_ready: The region's control channel can be sent on.
        channel_awaited: Nobody is hired before that is so for the first time; see ``plan``.
        last_words: Exit reports by job name.
        template: Hash of the template that is hired here now.
        backoff: The template is in back-off.
        trials: Hires allowed here while it is.
        gone: The spec does not have the region, or has it elsewhere by now.
        first_sequence: Where the names of a region begin that was not known before.
        room: Hires that the cap over all regions leaves for this one; None = as many as are wanted.
    """

    desired: Desired
    name: str
    share: int
    most: int
    listed: RegionJobs
    count: Count
    ranking: Ranking
    ledger: RegionLedger
    revision: int
    reason: str
    now: datetime
    queue: Known[QueueDepth] | Unknown
    channel_ready: bool
    reports: Mapping[str, LastReport]
    drained: frozenset[int]
    channel_awaited: bool
    last_words: Mapping[str, Exit]
    template: str
    backoff: TemplateBackoff | None = None
    trials: int = 0
    room: int | None = None
    gone: bool = False
    first_sequence: int = 0

    @property
    def may_hire(self) -> bool:
        """Whether anybody may be hired or taken back."""
        suspended = self.desired.spec.suspend is Suspend.SCALE_UP_ONLY
        return not (self.desired.deleting or suspended or self.channel_awaited)

    @property
    def limit(self) -> int | None:
        """Hires that may be made now: by back-off of the template, circuit of the region, cap; None = any number."""
        circuit = None if self.ledger.circuit is None else self.ledger.circuit.allowed(self.now)
        limits = [each for each in (self.trials if self.backoff else None, circuit, self.room) if each is not None]
        return min(limits, default=None)

    @property
    def can_hire(self) -> bool:
        """Whether one more may be hired: nothing forbids it, and the circuit and maxReplicas leave room."""
        return self.may_hire and self.limit != 0 and self.count.possibly_live < self.most

    @property
    def can_order(self) -> bool:
        """Whether workers can be told something now."""
        return self.desired.spec.control is not None and self.channel_ready

    @property
    def names_victims(self) -> bool:
        """Whether single workers can be told to leave: those of ai4s-jobq cannot."""
        control = self.desired.spec.control
        return control is not None and control.dialect is not ControlDialect.JOBQ


@value
class Seen:
    """One readable region before its share is decided.

    Attributes:
        listed: Everything that was read.
        count: The jobs by what they count as, under the settled waves.
        ranking: Of its supply, what each job loses by leaving.
        ledger: What was intended before.
        waves: Of that, the waves that have not come to an end.
        restored: Of that, when the ledger began anew, as long as it matters.
        revision: For a wave that this pass makes.
        drained: Sequences of jobs that were told to leave: by a wave that this pass began with, or by their last words.
    """

    name: str
    listed: RegionJobs
    count: Count
    ranking: Ranking
    ledger: RegionLedger
    waves: tuple[Wave, ...]
    restored: datetime | None
    revision: int
    drained: frozenset[int] = frozenset()


def look(
    desired: Desired, observed: Observed, name: str, *, listed: RegionJobs, ledger: RegionLedger, revision: int
) -> Seen:
    """Settle the waves of a region and count its jobs."""

    def confirmed(sequence: int, revision: int) -> bool:
        report = observed.reports.get(desired.job_name(name, sequence))
        return report is not None and report.accepting and report.revision >= revision

    waves = settle(ledger.waves, listed.by_phase[Phase.ENDED], listed.absent, confirmed, observed.now)
    until = restored_until(desired, ledger)
    restored = ledger.restored if until is not None and observed.now < until else None
    if restored is not None:
        waves = rebuilt(desired, name, listed.jobs, waves, observed.reports, before=revision, now=observed.now)
    # A wave is forgotten when all its jobs have left, and what is said by their ends is needed for longer.
    said = [
        job.sequence for job in listed.by_phase[Phase.ENDED] if was_told_to_leave(observed.last_words.get(job.name))
    ]
    known = frozenset(job for wave in ledger.waves for job in wave.jobs).union(said)
    count = count_jobs(listed, waves)
    return Seen(name, listed, count, Ranking(count, observed.reports), ledger, waves, restored, revision, drained=known)


def assess(
    desired: Desired,
    observed: Observed,
    seen: Seen,
    *,
    share: int,
    most: int,
    reason: str,
    template: str,
    channel_awaited: bool = False,
    gone: bool = False,
    first_sequence: int = 0,
    idle: int = 0,
) -> Situation:
    """The situation of a region once its share is known, with so many places that were ``idle`` in another one."""
    return Situation(
        desired=desired,
        name=seen.name,
        share=share,
        most=most,
        listed=seen.listed,
        count=seen.count,
        ranking=seen.ranking,
        ledger=_settled(desired, seen, share, idle, observed.now),
        revision=seen.revision,
        reason=reason,
        now=observed.now,
        queue=observed.queue,
        channel_ready=observed.can_order(seen.name),
        reports=observed.reports,
        drained=seen.drained,
        channel_awaited=channel_awaited,
        last_words=observed.last_words,
        template=template,
        gone=gone,
        first_sequence=first_sequence,
    )


def _settled(desired: Desired, seen: Seen, share: int, idle: int, now: datetime) -> RegionLedger:
    """What is intended once the share is known, less what has come to an end."""
    before = _surveyed(desired, seen, now)
    # A job under a name that was never reserved (a lost status, an operator of another time) is counted, and its
    # name is not given out again.
    next_sequence = None if before.next_sequence is None else max(before.next_sequence, seen.listed.next_sequence)
    return replace(
        before,
        share=share,
        next_sequence=next_sequence,
        # Whoever is here was hired once, whatever share that was for.
        filled=min(share, max(before.filled, seen.count.supply) + idle),
        idle=before.idle + idle,
        waves=seen.waves,
        reserved=None,
        unreadable_since=None,
    )


def _surveyed(desired: Desired, seen: Seen, now: datetime) -> RegionLedger:
    """The ledger with the live jobs that only a list of all has shown: they may be draining without a wave knowing."""
    before = replace(seen.ledger, restored=seen.restored)
    if not seen.listed.complete or before.next_sequence is None:
        return before
    found = [job.sequence for job in seen.count.live_jobs if not before.knows(job.sequence)]
    return replace(
        before,
        first_sequence=min([before.first_sequence, *found]),
        surveyed=None,
        restored=now if found and desired.spec.control is not None else before.restored,
    )
