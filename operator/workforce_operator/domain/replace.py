"""When an ended worker is replaced: at once, when work is visible, or after a back-off.

How long to wait is computed from the list of ended jobs at each pass, which shows the newest only: the ledger remembers
how many have been replaced in a row. It also remembers how many replicas wait and why, so that an end is judged once:
else a cancelled worker's end would let all idle ones in, one at each pass. Without that memory the most recently ended
jobs are judged anew, which costs at most one hire too many or too late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from jobq.control import Exit
from workforce_operator.api.spec import FailurePolicy
from workforce_operator.domain.failures import classify, last_description
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
        replaced: How many have been replaced before whose workers ended fast in a row; None = none did.
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
    replaced: int | None = None


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
    replaced: int = 0,
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
        replaced: How many have been replaced before whose workers ended fast in a row: lists show the newest only.
        policy: How long failures are waited out.
        last_words: Exit reports by job name.
        template: Hash of the template that is hired now: failures of jobs of another one say nothing about it.
    """
    recent = _recent(ended, drained)
    failed, completed = _why_missing(replacements, recent, idle=idle, failing=failing)
    of_template = tuple(job for job in recent if template is None or job.template_hash in (None, template))
    loop = _failing(of_template, desired, failed, replaced=replaced, policy=policy, last_words=last_words, now=now)
    rest = _idling(recent, desired, completed, queue, now, replaced=replaced)
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
        replaced=rest.replaced if loop.replaced is None else loop.replaced,
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
    replaced: int,
    policy: FailurePolicy,
    last_words: Mapping[str, Exit],
    now: datetime,
) -> Gate:
    run = _fast_run(recent, Outcome.FAILED)
    if not run:
        return Gate(allowed=failed)
    last = ended_at(run[0])
    row = _row(recent, run, Outcome.FAILED, missing=failed, replaced=replaced)
    retry_at = last + back_off(_rounds(row, desired), policy)
    error = last_description(run, last_words)
    # One bad node in a fleet is no crash loop: its replacement waits, and only if more follow is it told as one.
    blamed = [job for job in run if classify(job, last_words.get(job.name)).blames_template]
    again = bool(blamed) and _rounds(len(blamed), desired) > 1
    before = row - failed
    if failed == 0 or now >= retry_at:
        return Gate(allowed=failed, crash_loop=again and now < last + FAST, error=error, replaced=before)
    text = f"workers fail within {_minutes(FAST)} minutes: trying again at {clock(retry_at)}"
    text += f" (last error: {error})" if error else ""
    return Gate(0, failed, waiting=text, retry_at=retry_at, crash_loop=again, error=error, replaced=before)


def _idling(
    recent: tuple[Job, ...],
    desired: int,
    completed: int,
    queue: Known[QueueDepth] | Unknown,
    now: datetime,
    *,
    replaced: int,
) -> Gate:
    run = _fast_run(recent, Outcome.COMPLETED)
    row = _row(recent, run, Outcome.COMPLETED, missing=completed, replaced=replaced)
    before = row - completed if run else None
    if completed == 0:
        return Gate(allowed=0, replaced=before)
    if isinstance(queue, Unknown):
        text = "who has left is not replaced until the queue can be read"
        return Gate(0, completed, waiting=text, blind=completed, replaced=before)
    if not queue.value.has_visible:
        text = "who has left is not replaced while no task waits in the queue"
        return Gate(0, completed, waiting=text, idle=True, replaced=before)
    # Whoever has left since may have seen it empty. By a clock of the service that is ahead, an end tells nothing.
    if any(queue.at < ended_at(job) <= now for job in recent if job.outcome is Outcome.COMPLETED):
        text = "who has left is not replaced before the queue has been read again"
        return Gate(0, completed, waiting=text, retry_at=now, idle=True, outdated=True, replaced=before)
    retry_at = ended_at(run[0]) + _delay(_rounds(row, desired), COMPLETED_BASE, COMPLETED_MOST) if run else now
    if now >= retry_at:
        return Gate(allowed=completed, replaced=before)
    text = f"workers complete within {_minutes(FAST)} minutes: replaced at {clock(retry_at)}"
    return Gate(0, completed, waiting=text, retry_at=retry_at, idle=True, replaced=before)


def _recent(ended: Sequence[Job], drained: frozenset[int]) -> tuple[Job, ...]:
    own = (job for job in ended if job.sequence not in drained)
    return tuple(sorted(own, key=lambda job: (ended_at(job), job.sequence), reverse=True))


def _fast_run(recent: Sequence[Job], outcome: Outcome) -> list[Job]:
    """The most recent jobs with this outcome in a row that ended fast; cancelled jobs say nothing and are skipped."""
    run: list[Job] = []
    for job in recent:
        if job.outcome is Outcome.CANCELED:
            continue
        if job.outcome is not outcome or not was_fast(job):
            break
        run.append(job)
    return run


def of_former(job: Job, created: datetime | None) -> bool:
    """Whether a job ended before this object was made: its end, of which nothing else is known, asks for no wait."""
    return created is not None and job.phase is Phase.ENDED and ended_at(job) < created


def _row(recent: Sequence[Job], run: Sequence[Job], outcome: Outcome, *, missing: int, replaced: int) -> int:
    """How many ended fast in a row: those that are listed, and before them those that were replaced and are not."""
    # A cancelled job says nothing, however long it ran.
    telling = [job for job in recent if job.outcome is not Outcome.CANCELED]
    whole = all(job.outcome is outcome and was_fast(job) for job in telling)
    return max(len(run), missing + (replaced if whole else 0))


def ended_here(ended: Sequence[Job], created: datetime | None, first: int) -> list[Job]:
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
