"""How deletion ends: what is done at last, when the object may go, and whose jobs it leaves. It always ends.

Workers of a Workforce that is being deleted are laid off like any others (its desired number is zero). This module adds
what is particular: ``deletionPolicy: Cancel``, the deadline, and the proof that nothing is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from workforce_operator.api.spec import DeadlineAction, DeletionPolicy
from workforce_operator.api.status import DrainState
from workforce_operator.domain.actions import Action, Cancel, CancelPending, Note
from workforce_operator.domain.counting import Count
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import Job, Phase
from workforce_operator.domain.words import counted

GRACE = timedelta(seconds=60)
"""How long after its deadline deletion still waits for cancels to be accepted."""

_WHAT_TO_DO = "cancel them in the studio, or make the Workforce again: it takes them back"
"""Nobody else remembers these jobs once the object is gone."""


@dataclass(frozen=True, slots=True)
class End:
    """Whether the object may go, and what it leaves."""

    finished: bool
    left_behind: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


def last_actions(
    desired: Desired, region: str, count: Count, usual: tuple[Action, ...], now: datetime
) -> tuple[Action, ...] | None:
    """What deletion does instead of the region's ``usual`` actions, or None if those are right."""
    jobs = [job for job in count.live_jobs if job.phase is not Phase.ENDING]
    if desired.deletion_policy is DeletionPolicy.CANCEL:
        return tuple(Cancel(region, job.name, "deletionPolicy is Cancel") for job in jobs)
    if not _is_overdue(desired, now):
        return None
    told = {each.job: each for each in usual if isinstance(each, CancelPending) and each.order is not None}
    return tuple(action for job in jobs for action in _at_deadline(desired, region, job, told.get(job.name)))


def end_of_deletion(
    desired: Desired, ledger: Ledger, counts: Mapping[str, Count], unreadable: Mapping[str, str], now: datetime
) -> End:
    """Decide whether deletion is over. Regions whose workspace does not exist are in neither mapping: they are empty.

    Args:
        desired: The Workforce that is being deleted.
        ledger: Whom it has told to leave so far, and how many may live where nobody can look.
        counts: Jobs of every region that could be read.
        unreadable: Why, for every region that could not be read.
        now: The time of this pass.
    """
    live = [job for count in counts.values() for job in count.live_jobs]
    if desired.deletion_policy is DeletionPolicy.ORPHAN:
        return _finished(desired, ledger, live, unreadable)
    unread = any(count.unread or count.late for count in counts.values())
    if not unreadable and not unread and all(_may_stay(desired, job) for job in live):
        return _finished(desired, ledger, live, unreadable)
    if not _is_overdue(desired, now):
        return End(finished=False)
    outstanding = unreadable or unread or any(_is_cancelled_now(desired, job) for job in live)
    patience = desired.deletion_deadline is not None and now < desired.deletion_deadline + GRACE
    return End(finished=False) if outstanding and patience else _finished(desired, ledger, live, unreadable)


def _is_overdue(desired: Desired, now: datetime) -> bool:
    return desired.deletion_deadline is not None and now >= desired.deletion_deadline


def _at_deadline(desired: Desired, region: str, job: Job, told: CancelPending | None) -> list[Action]:
    """What is done about one job; ``told`` orders it to leave first, in case it starts in that moment."""
    if job.phase in (Phase.PENDING, Phase.PAUSED):
        # Where the order cannot be sent, it is cancelled all the same: this is the end.
        unordered = CancelPending(region, job.name, None, "the deletion deadline has passed")
        return [unordered] if told is None else [told, unordered]
    if _cancels_running(desired):
        return [Cancel(region, job.name, "the deletion deadline has passed")]
    return []


def _cancels_running(desired: Desired) -> bool:
    return desired.spec.control is not None and desired.spec.drain.on_deadline is DeadlineAction.CANCEL


def _may_stay(desired: Desired, job: Job) -> bool:
    """Without a policy and a control channel, running jobs are reported and stay."""
    return desired.deletion_policy is None and job.phase is Phase.RUNNING


def _is_cancelled_now(desired: Desired, job: Job) -> bool:
    return job.phase is not Phase.RUNNING or _cancels_running(desired)


def _finished(desired: Desired, ledger: Ledger, live: list[Job], unreadable: Mapping[str, str]) -> End:
    left = tuple(sorted(job.name for job in live if job.phase is not Phase.ENDING))
    notes = []
    if left:
        names = ", ".join(left[:20]) + (f" and {len(left) - 20} more" if len(left) > 20 else "")
        orphaned = desired.deletion_policy is DeletionPolicy.ORPHAN
        notes.append(Note("JobsLeftBehind", f"left as they are: {names}; {_WHAT_TO_DO}", warning=not orphaned))
    if unreadable:
        why = "; ".join(_unread_text(desired, ledger, region, reason) for region, reason in sorted(unreadable.items()))
        text = f"jobs may be left, because regions could not be read: {why}; {_WHAT_TO_DO}"
        notes.append(Note("RegionsUnreadable", text, warning=True))
    return End(finished=True, left_behind=left, notes=tuple(notes))


def _unread_text(desired: Desired, ledger: Ledger, region: str, reason: str) -> str:
    known = ledger.regions[region]
    most = "jobs" if known.reserved is None else f"at most {counted(known.reserved, 'job')},"
    told = sum(len(wave.jobs) + wave.count for wave in known.waves if wave.state is DrainState.SENT)
    return f"{region} ({most} {desired.job_prefix(region)}-*, {told or 'none'} told to leave): {reason}"
