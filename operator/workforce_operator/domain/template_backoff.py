"""When workers of one template fail soon after their start wherever they run, hiring all but stops. Pure.

A region by itself backs off sooner (``replace``). Here it is about the template: as many workers as
``failurePolicy.maxConsecutiveFailures`` failed fast, and none has lasted in the meantime. Then one worker at a time is
tried, and the others wait until one lasts or the template is edited. Computed from the jobs at each pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobq.control import Exit
from workforce_operator.api.spec import FailurePolicy
from workforce_operator.domain.failures import classify, last_description
from workforce_operator.domain.observed import Job, Outcome, Phase
from workforce_operator.domain.replace import FAST, back_off, ended_at, was_fast
from workforce_operator.domain.words import clock, counted, verb

HELD = "the template is in back-off"
"""What regions say that would hire but for that; why is said once, for all of them."""
_NEVER = datetime(1970, 1, 1, tzinfo=UTC) - timedelta(days=1)
_YOUNG = timedelta(seconds=60)
"""A worker that lives no longer than this has proven nothing, however soon the others failed."""


@dataclass(frozen=True, slots=True)
class TemplateBackoff:
    """Hiring is held back because of the template.

    Attributes:
        failures: How many workers failed in a row.
        error: What is known of the last of them.
        allowed: How many may be hired now, over all regions: 0 or 1.
        turn: Changes with every trial, so that the trials go round the regions.
        retry_at: When the next trial is made, if not now.
        trial: The last one that was hired since the last failure, while it lives.
    """

    failures: int
    error: str | None
    allowed: int
    turn: int
    retry_at: datetime | None
    trial: Job | None = None

    @property
    def text(self) -> str:
        """For people."""
        row = (
            f"{counted(self.failures, 'worker')} in a row failed soon after {verb(self.failures, 'its', 'their')} start"
        )
        text = f"the template: {row}; {self._tried}"
        return f"{text} (last error: {self.error})" if self.error else text

    @property
    def _tried(self) -> str:
        when = f"at {clock(self.retry_at)}" if self.retry_at else "now"
        if self.trial is None:
            return f"the next one is tried {when}"
        if self.trial.phase is Phase.RUNNING:
            since = self.trial.started or self.trial.created
            return "a trial runs" + (f" since {clock(since)}" if since else "")
        return f"a trial waits for a node; another one is tried {when}"


def template_backoff(
    ended: Sequence[Job], live: Iterable[Job], last_words: Mapping[str, Exit], policy: FailurePolicy, now: datetime
) -> TemplateBackoff | None:
    """Whether the template is in back-off.

    Args:
        ended: Jobs of this template that are known to have ended, of all regions.
        live: Those that live; looked at only if enough have failed.
        last_words: Exit reports by job name.
        policy: When and how long to back off.
        now: The time of this pass.
    """
    failed = [job for job in ended if _fails_fast(job, last_words)]
    if len(failed) < policy.max_consecutive_failures:
        return None
    living = tuple(live)
    success = max((time for job in (*ended, *living) if (time := _lasted_at(job, now)) is not None), default=_NEVER)
    run = sorted((job for job in failed if ended_at(job) > success), key=lambda job: (ended_at(job), job.name))
    if len(run) < policy.max_consecutive_failures or _outlived(living, run, now):
        return None
    last = ended_at(run[-1])
    retry_at = last + back_off(len(run) - policy.max_consecutive_failures + 1, policy)
    trials = [job for job in living if job.created is not None and job.created > last]
    # One that runs will fail, complete, or last, whatever the longest back-off is: nobody else is tried until then.
    running = [job for job in trials if job.phase is Phase.RUNNING and job.started is not None]
    trial = max(running or trials, key=lambda job: (job.created or _NEVER, job.name), default=None)
    if trial is not None and trial.created is not None:
        # A trial that gets no node for long says nothing: another one, elsewhere.
        retry_at = max(retry_at, trial.created + timedelta(seconds=policy.backoff_max_seconds))
    return TemplateBackoff(
        failures=len(run),
        error=last_description(reversed(run), last_words),
        allowed=int(now >= retry_at and not running),
        turn=len(run) + len(trials),
        retry_at=retry_at if now < retry_at and not running else None,
        trial=trial,
    )


def _fails_fast(job: Job, last_words: Mapping[str, Exit]) -> bool:
    failed = job.outcome is Outcome.FAILED and was_fast(job)
    return failed and classify(job, last_words.get(job.name)).blames_template


def _lasted_at(job: Job, now: datetime) -> datetime | None:
    """When a job had proven that its template works, or None if it has not."""
    if job.outcome is Outcome.COMPLETED:
        return ended_at(job)
    if job.started is None or (job.ended or now) - job.started < FAST:
        return None
    return job.started + FAST if job.phase in (Phase.RUNNING, Phase.ENDED) else None


def _outlived(living: Iterable[Job], run: Sequence[Job], now: datetime) -> bool:
    """Whether a worker that was hired at the same time or later lives longer already than any that failed did."""
    first = min((job.created for job in run if job.created), default=None)
    lives = [job.ended - job.started for job in run if job.started and job.ended]
    longest = max(lives, default=timedelta(0))
    return any(
        job.phase is Phase.RUNNING
        and job.started is not None
        and now - job.started > max(longest, _YOUNG)
        and (first is None or job.created is None or job.created >= first)
        for job in living
    )
