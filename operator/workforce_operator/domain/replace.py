"""When an ended worker is replaced: at once, when work is visible, or after a back-off.

How long to wait is computed from the list of ended jobs at each pass, which shows the newest only: the ledger remembers
how many have been replaced in a row. It also remembers how many replicas wait and why, so that an end is judged once:
else a cancelled worker's end would let all idle ones in, one at each pass. Without that memory the most recently ended
jobs are judged anew, which costs at most one hire too many or too late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from jobq.control import Exit
from workforce_operator.api.spec import FailurePolicy
from workforce_operator.domain.failures import classify, last_description
from workforce_operator.domain.ledger import Row
from workforce_operator.domain.observed import Job, Known, Outcome, Phase, QueueDepth, Unknown
from workforce_operator.domain.value import value
from workforce_operator.domain.words import clock

FAST = timedelta(minutes=10)
"""A job that ended sooner than this after its start did not do what it was hired for."""
COMPLETED_BASE, COMPLETED_MOST = timedelta(seconds=30), timedelta(seconds=3600)

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_DOUBLINGS = 20
_POLICY = FailurePolicy()
_NO_WORDS: Mapping[str, Exit] = {}


@value
class Gate:
    """How many replacements may be hired now, and why not the others.

    Attributes:
        allowed: Replacements that may be hired now.
        held: Replacements that wait.
        completed: How many of them because their workers completed.
        failed: How many of them because their workers failed.
        waiting: Why, for people.
        retry_at: When to look again: a back-off ends, or the queue is to be read again.
        idle: All that wait do so because there is no work to do.
        crash_loop: Jobs fail fast through the template's fault, and their replacements too: more than one of each
            replica has failed in a row.
        blind: How many of them only wait for the queue to be read.
        outdated: Some wait for a reading of the queue that is younger than the last worker's end.
        error: What is known of the last failed one.
        row: Workers that ended fast one after the other, without those that are missing.
        of_row: How many of those that may be replaced now belong to it.
    """

    allowed: int
    held: int = 0
    completed: int = 0
    failed: int = 0
    waiting: str | None = None
    retry_at: datetime | None = None
    idle: bool = False
    crash_loop: bool = False
    error: str | None = None
    blind: int = 0
    outdated: bool = False
    row: Row | None = None
    of_row: int = 0


def evidence(ended: Sequence[Job], drained: frozenset[int], replacements: int, *, row: int) -> tuple[Job, ...]:
    """The jobs whose end decides about replacements, now or later.

    Args:
        ended: All ended jobs that are known.
        drained: Sequences of jobs that were told to leave.
        replacements: How many are missing: as many of those decide that ended last and were not drained.
        row: Of those that failed fast in a row, so many decide about the template.
    """
    recent = _recent(ended, drained)
    return (*recent[:replacements], *_fast_run(recent, Outcome.FAILED)[:row])


def gate(
    replacements: int,
    ended: Sequence[Job],
    *,
    drained: frozenset[int],
    desired: int,
    queue: Known[QueueDepth] | Unknown,
    now: datetime,
    idle: int = 0,
    failing: int = 0,
    row: Row | None = None,
    living: Sequence[Job] = (),
    policy: FailurePolicy = _POLICY,
    last_words: Mapping[str, Exit] = _NO_WORDS,
    template: str | None = None,
) -> Gate:
    """Decide about replacements.

    Args:
        replacements: How many are missing that were hired before.
        ended: All ended jobs that are known.
        drained: Sequences of jobs that were told to leave: their end says nothing.
        desired: The region's desired number: so many jobs failing are one round of failures.
        queue: The task queue.
        now: The time of this pass.
        idle: How many of the replacements wait already because their workers completed.
        failing: How many wait already because their workers failed.
        row: What is remembered of workers that ended fast one after the other: lists show the newest only.
        living: Workers that run: one of them that has lasted ends the row.
        policy: How long failures are waited out.
        last_words: Exit reports by job name.
        template: Hash of the template that is hired now: failures of jobs of another one say nothing about it.
    """
    recent = _recent(ended, drained)
    failed, completed = _why_missing(replacements, recent, idle=idle, failing=failing)
    of_template = tuple(job for job in recent if template is None or job.template_hash in (None, template))
    missing = {Outcome.FAILED: failed, Outcome.COMPLETED: completed}
    if row is not None and (row.template != template or _has_lasted(living, row.until, now)):
        row = None
    row = _continued(row, recent, missing, template)
    loop = _failing(of_template, desired, failed, row=row, policy=policy, last_words=last_words, now=now)
    rest = _idling(recent, desired, completed, queue, now, row=row)
    waits = [wait for wait in (loop, rest) if wait.held]
    held = sum(wait.held for wait in waits)
    return Gate(
        allowed=replacements - held,
        held=held,
        completed=rest.held,
        failed=loop.held,
        waiting="; ".join(wait.waiting for wait in waits if wait.waiting) or None,
        retry_at=min((wait.retry_at for wait in waits if wait.retry_at), default=None),
        idle=bool(waits) and all(wait.idle for wait in waits),
        crash_loop=loop.crash_loop,
        error=loop.error,
        blind=rest.blind,
        outdated=rest.outdated,
        row=row,
        of_row=0 if row is None else missing[row.outcome] - (loop if row.outcome is Outcome.FAILED else rest).held,
    )


def why_missing(
    replacements: int, ended: Sequence[Job], *, drained: frozenset[int], idle: int = 0, failing: int = 0
) -> tuple[int, int]:
    """How many are missing because workers failed, and because they completed, whether or not their replacement waits.

    Arguments as of ``gate``.
    """
    return _why_missing(replacements, _recent(ended, drained), idle=idle, failing=failing)


def _why_missing(replacements: int, recent: tuple[Job, ...], *, idle: int, failing: int) -> tuple[int, int]:
    idle = min(idle, replacements)
    failing = min(failing, replacements - idle)
    outcomes = [job.outcome for job in recent[: replacements - idle - failing]]
    return failing + outcomes.count(Outcome.FAILED), idle + outcomes.count(Outcome.COMPLETED)


def _failing(
    recent: tuple[Job, ...],
    desired: int,
    failed: int,
    *,
    row: Row | None,
    policy: FailurePolicy,
    last_words: Mapping[str, Exit],
    now: datetime,
) -> Gate:
    run = _fast_run(recent, Outcome.FAILED)
    if not run:
        return Gate(allowed=failed)
    last = ended_at(run[0])
    retry_at = last + back_off(_rounds(_length(run, row, failed), desired), policy)
    error = last_description(run, last_words)
    # One bad node in a fleet is no crash loop: its replacement waits, and only if more follow is it told as one.
    blamed = [job for job in run if classify(job, last_words.get(job.name)).blames_template]
    again = bool(blamed) and _rounds(len(blamed), desired) > 1
    if failed == 0 or now >= retry_at:
        return Gate(allowed=failed, crash_loop=again and now < last + FAST, error=error)
    text = f"workers fail within {_minutes(FAST)} minutes: trying again at {clock(retry_at)}"
    text += f" (last error: {error})" if error else ""
    return Gate(0, failed, waiting=text, retry_at=retry_at, crash_loop=again, error=error)


def _idling(
    recent: tuple[Job, ...],
    desired: int,
    completed: int,
    queue: Known[QueueDepth] | Unknown,
    now: datetime,
    *,
    row: Row | None,
) -> Gate:
    if completed == 0:
        return Gate(allowed=0)
    if isinstance(queue, Unknown):
        text = "who has left is not replaced until the queue can be read"
        return Gate(0, completed, waiting=text, blind=completed)
    if not queue.value.has_visible:
        return Gate(0, completed, waiting="who has left is not replaced while no task waits in the queue", idle=True)
    # Whoever has left since may have seen it empty. By a clock of the service that is ahead, an end tells nothing.
    if any(queue.at < ended_at(job) <= now for job in recent if job.outcome is Outcome.COMPLETED):
        text = "who has left is not replaced before the queue has been read again"
        return Gate(0, completed, waiting=text, retry_at=now, idle=True, outdated=True)
    run = _fast_run(recent, Outcome.COMPLETED)
    if not run:
        return Gate(allowed=completed)
    delay = _delay(_rounds(_length(run, row, completed), desired), COMPLETED_BASE, COMPLETED_MOST)
    retry_at = ended_at(run[0]) + delay
    if now >= retry_at:
        return Gate(allowed=completed)
    text = f"workers complete within {_minutes(FAST)} minutes: replaced at {clock(retry_at)}"
    return Gate(0, completed, waiting=text, retry_at=retry_at, idle=True)


def _recent(ended: Sequence[Job], drained: frozenset[int]) -> tuple[Job, ...]:
    own = (job for job in ended if job.sequence not in drained)
    return tuple(sorted(own, key=lambda job: (ended_at(job), job.sequence), reverse=True))


def _fast_run(recent: Sequence[Job], outcome: Outcome) -> list[Job]:
    """The most recent jobs with this outcome in a row that ended fast; cancelled jobs say nothing and are skipped."""
    run: list[Job] = []
    for job in recent:
        if job.outcome is Outcome.CANCELED:
            continue
        if not _is_of(outcome, job):
            break
        run.append(job)
    return run


def of_former(job: Job, created: datetime | None) -> bool:
    """Whether a job ended before this object was made: its end, of which nothing else is known, asks for no wait."""
    return created is not None and job.phase is Phase.ENDED and ended_at(job) < created


def _continued(
    row: Row | None, recent: Sequence[Job], missing: Mapping[Outcome, int], template: str | None
) -> Row | None:
    """The row as of now, less those that are missing; None where the one that ended last has lasted."""
    telling = [job for job in recent if job.outcome is not Outcome.CANCELED]
    since = [job for job in telling if row is None or ended_at(job) > row.until]
    if not since:
        return row
    outcome = Outcome.FAILED if since[0].outcome is Outcome.FAILED else Outcome.COMPLETED
    run = _fast_run(recent, outcome)
    if not run:
        return None
    goes_on = row is not None and row.outcome is outcome and all(_is_of(outcome, job) for job in since)
    before = row.replaced if row is not None and goes_on else 0
    return Row(outcome, template, max(before, len(run) - missing[outcome]), ended_at(since[0]))


def _is_of(outcome: Outcome, job: Job) -> bool:
    return job.outcome is outcome and was_fast(job)


def _has_lasted(living: Iterable[Job], since: datetime, now: datetime) -> bool:
    """Whether a worker that lives has proven since then that workers do not all end fast."""
    starts = (job.started for job in living if job.started is not None)
    return any(since < started + FAST <= now for started in starts)


def _length(run: Sequence[Job], row: Row | None, missing: int) -> int:
    """How many ended fast one after the other: those that are listed, or those that are remembered and are missing."""
    if row is None or row.outcome is not run[0].outcome:
        return len(run)
    return max(len(run), missing + row.replaced)


def ended_here(ended: Sequence[Job], created: datetime | None, first: int = 0) -> list[Job]:
    """The ended jobs of this object, and of this region since it was last added: its names begin at ``first``.

    Where the names are forgotten they alone tell, with those who live, what there was.
    """
    return [job for job in ended if job.sequence >= first and not of_former(job, created)]


def was_fast(job: Job) -> bool:
    """Whether an ended job did not last."""
    return job.started is None or job.ended is None or job.ended - job.started < FAST


def ended_at(job: Job) -> datetime:
    """When a job ended, as far as it is known."""
    return job.ended or job.created or _LONG_AGO


def _rounds(row: int, desired: int) -> int:
    return -(-row // max(1, desired))


def _delay(rounds: int, base: timedelta, most: timedelta) -> timedelta:
    return min(most, base * (1 << min(rounds - 1, _MOST_DOUBLINGS)))


def back_off(rounds: int, policy: FailurePolicy) -> timedelta:
    """How long to wait after so many rounds of failures in a row."""
    return _delay(rounds, timedelta(seconds=policy.backoff_base_seconds), timedelta(seconds=policy.backoff_max_seconds))


def _minutes(time: timedelta) -> int:
    return int(time.total_seconds() // 60)
