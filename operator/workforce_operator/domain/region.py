"""All decisions about one readable region: restore what was forgotten, lay off, take back, hire, what to list next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from workforce_operator.api.spec import DeadlineAction
from workforce_operator.api.status import DrainState
from workforce_operator.domain.actions import Action, CancelPending, Hire, Note, RegionPlan, Resume
from workforce_operator.domain.cohorts import open_cohorts
from workforce_operator.domain.counting import Count, count_jobs
from workforce_operator.domain.hire import Hiring, hire, no_hiring
from workforce_operator.domain.ledger import RegionLedger, Wave
from workforce_operator.domain.observed import Job
from workforce_operator.domain.orders import wave_actions
from workforce_operator.domain.ranking import Loss
from workforce_operator.domain.replace import ended_here, evidence, why_missing
from workforce_operator.domain.resume import resumes
from workforce_operator.domain.shrink import Shrunk, lay_off, requested, take_back
from workforce_operator.domain.situation import Situation
from workforce_operator.domain.template_backoff import HELD
from workforce_operator.domain.value import value
from workforce_operator.domain.waves import RECALL_ENDS_AFTER
from workforce_operator.domain.words import counted, verb


@value
class Decision:
    """What one pass decided about one region."""

    ledger: RegionLedger
    numbers: RegionPlan
    count: Count
    actions: tuple[Action, ...] = ()
    notes: tuple[Note, ...] = ()


def decide(situation: Situation) -> Decision:
    """Decide about a region that could be read."""
    if situation.ledger.next_sequence is None:
        situation = replace(situation, ledger=_restored(situation))
        if situation.listed.jobs:
            return _restore(situation)
    named = requested(situation)
    if named is not None:
        # Their places become free, as if never filled: who takes them is hired in the next pass, work or not.
        free = max(0, situation.ledger.filled - len(named.jobs))
        going_on = situation.ledger.hiring & (situation.count.unread | situation.count.absent)
        return _finish(situation, named, replace(no_hiring(situation), filled=free, hiring=going_on))
    missing = situation.share - situation.count.supply
    if missing < 0:
        return _finish(situation, lay_off(situation, -missing), no_hiring(situation))
    if missing == 0 or not situation.may_hire:
        return _finish(situation, Shrunk(situation.ledger.waves), no_hiring(situation))
    back = take_back(situation, missing)
    # A reserved name that could not be read is perhaps one of those that are missing.
    deficit = max(0, missing - len(back.jobs) - len(situation.count.unread))
    return _finish(situation, back, hire(situation, deficit) if deficit else no_hiring(situation))


def only_counted(situation: Situation) -> Decision:
    """Numbers of a region about which nothing is decided."""
    waves = situation.ledger.waves
    return Decision(
        situation.ledger, _numbers(situation, waves, retry_at=_next_wave_event(situation, waves)), situation.count
    )


def _restored(situation: Situation) -> RegionLedger:
    """The ledger of a region whose names in use were not known, or forgotten, and have now all been listed."""
    count, created = situation.count, situation.desired.created
    ended = ended_here(count.ended, created, situation.first_sequence)
    vacant = max(0, min(situation.share - count.supply, len(ended)))
    # Known at once, for the next pass may be unable to read this region, and place them elsewhere.
    failing, idle = why_missing(vacant, ended, drained=situation.drained)
    idle += situation.ledger.idle
    return replace(
        situation.ledger,
        next_sequence=max(situation.listed.next_sequence, situation.first_sequence),
        # Who lives here under an earlier name is looked at like the others.
        first_sequence=min([situation.first_sequence, *(job.sequence for job in count.live_jobs)]),
        filled=min(situation.share, count.supply + failing + idle),
        hiring=frozenset(),
        idle=idle,
        failing=failing,
        surveyed=situation.now,
        restored=situation.now if count.live and situation.desired.spec.control is not None else None,
    )


def _restore(situation: Situation) -> Decision:
    """Jobs were found whose names were forgotten: remember them, and decide in the next pass. No job: nothing to do."""
    numbers = _numbers(situation, situation.ledger.waves, retry_at=situation.now)
    names = _new_names(situation, situation.ledger.next_sequence)
    ledger = replace(
        situation.ledger,
        open_cohorts=_open_cohorts(situation, names, situation.ledger.waves),
        reserved=_reserved(situation, names),
    )
    return Decision(ledger, numbers, situation.count)


def _finish(situation: Situation, shrunk: Shrunk, hiring: Hiring) -> Decision:
    same = shrunk.waves == situation.ledger.waves
    after = situation if same else replace(situation, count=count_jobs(situation.listed, shrunk.waves))
    hires = tuple(
        Hire(situation.name, situation.desired.job_name(situation.name, sequence), sequence)
        for sequence in hiring.sequences
    )
    resumed = resumes(situation, after.count, shrunk)
    orders = wave_actions(situation.desired, situation.name, shrunk.waves, after.count, situation.now)
    chosen = len(shrunk.jobs) + shrunk.unnamed if shrunk.reason else 0
    numbers = _numbers(
        after,
        shrunk.waves,
        # Who is in a wave is no supply any more; who is cancelled without one counts until it has ended.
        gone=chosen - sum(isinstance(action, CancelPending) for action in shrunk.direct),
        resumes=len(resumed),
        hires=len(hires),
        lay_offs=chosen,
        losses={job.sequence: loss for loss, jobs in shrunk.leaving.items() for job in jobs},
        waiting=_waiting(after, shrunk, hiring),
        retry_at=_earliest(
            _next_wave_event(after, shrunk.waves),
            hiring.gate.retry_at,
            situation.backoff.retry_at if situation.backoff else None,
            _circuit_ends(after),
        ),
        held=hiring.gate.held,
        idle=hiring.gate.idle,
        crash_loop=hiring.gate.crash_loop,
        error=hiring.gate.error,
        blind=hiring.gate.blind,
        queue_outdated=hiring.gate.outdated,
        template_backoff=situation.backoff,
    )
    notes = _notes(situation, shrunk, resumed, hiring)
    actions = (*shrunk.direct, *orders, *resumed, *hires)
    return Decision(_remembered(after, shrunk, hiring), numbers, after.count, actions, notes)


def _remembered(situation: Situation, shrunk: Shrunk, hiring: Hiring) -> RegionLedger:
    """What is intended from now on, what must be listed for that, and how many jobs may live."""
    names = _new_names(situation, hiring.next_sequence)
    return replace(
        situation.ledger,
        next_sequence=hiring.next_sequence,
        filled=hiring.filled,
        hiring=hiring.hiring,
        idle=hiring.idle,
        failing=hiring.failing,
        row=hiring.row,
        waves=shrunk.waves,
        open_cohorts=_open_cohorts(situation, names, shrunk.waves),
        reserved=_reserved(situation, names),
    )


def _new_names(situation: Situation, next_sequence: int | None) -> range:
    """Sequences that this pass reserves; it ends at the first that is not reserved."""
    return range(situation.ledger.next_sequence or 0, next_sequence or 0)


def _open_cohorts(situation: Situation, names: range, waves: Sequence[Wave]) -> frozenset[int]:
    """What must be listed from now on."""
    count = situation.count
    why_missing = (
        *evidence(
            count.ended,
            situation.drained,
            max(0, situation.share - count.supply),
            row=situation.desired.spec.failure_policy.max_consecutive_failures,
        ),
        *(job for job in count.ended if _may_have_answered(job, waves)),
    )
    listed = situation.ledger.open_cohorts | situation.listed.cohorts
    return open_cohorts(
        listed, count, new=names, evidence=why_missing, desired=situation.share, first=situation.ledger.first_sequence
    )


def _reserved(situation: Situation, names: range) -> int:
    """How many jobs may live from now on."""
    count = situation.count
    # Names without a job count because somebody may be hired under them at any time; not so while nobody may be.
    unused = 0 if situation.channel_awaited else len(count.absent)
    return count.possibly_live + unused + len(names)


def _may_have_answered(job: Job, waves: Sequence[Wave]) -> bool:
    """Forgotten, it would count as one that has not left yet."""
    return any(wave.count and job.ended is not None and job.ended >= wave.sent for wave in waves)


def _numbers(situation: Situation, waves: Sequence[Wave], *, gone: int = 0, **decided: Any) -> RegionPlan:
    """The numbers of a region, with what was ``decided`` about it; ``gone`` were supply before, and are none now."""
    count, now = situation.count, situation.now
    leaving = {job.sequence for job in (*count.draining, *count.ending)}
    due = [wave for wave in waves if wave.state is DrainState.SENT and now >= wave.deadline]
    return RegionPlan(
        desired=situation.share,
        supply=count.supply,
        there=count.supply + gone,
        pending=len(count.pending),
        running=len(count.running) - count.unnamed,
        paused=len(count.paused),
        draining=count.leaving,
        live=count.live,
        overdue=sum(len(leaving & wave.jobs) for wave in due),
        **decided,
    )


def _next_wave_event(situation: Situation, waves: Sequence[Wave]) -> datetime | None:
    """When a recall is given up or a drain deadline calls for a cancel."""
    cancels = situation.desired.spec.drain.on_deadline is DeadlineAction.CANCEL
    times = [
        wave.sent + RECALL_ENDS_AFTER if wave.state is DrainState.RECALLED else wave.deadline
        for wave in waves
        if wave.state is DrainState.RECALLED or wave.count or cancels
    ]
    return min((time for time in times if time > situation.now), default=None)


def _waiting(situation: Situation, shrunk: Shrunk, hiring: Hiring) -> str | None:
    count = situation.count
    if shrunk.waiting:
        return shrunk.waiting
    if count.late and not count.live and (situation.desired.deleting or situation.gone):
        return f"no job is left, and hires under {len(count.late)} of the names may still be on their way"
    if count.supply < situation.share and not situation.may_hire:
        awaited = "nobody is hired before ControlChannelReady is True"
        return awaited if situation.channel_awaited else "hiring is suspended"
    if situation.backoff and count.supply + len(hiring.sequences) < situation.share:
        return HELD
    if situation.limit is not None and count.supply + len(hiring.sequences) < situation.share:
        return _circuit_text(situation) if situation.room is None else _cap_text(situation)
    if not hiring.room:
        return f"maxReplicas {situation.most} leaves no room until jobs that still live have ended"
    if hiring.gate.waiting:
        return hiring.gate.waiting
    if count.unread:
        unread = len(count.unread)
        return f"{counted(unread, 'reserved name')} {verb(unread, 'has', 'have')} not been read yet"
    return None


def _circuit_ends(situation: Situation) -> datetime | None:
    """When a hire may be tried here again, if one is wanted."""
    circuit = situation.ledger.circuit
    if circuit is None or circuit.retry_at is None or situation.count.supply >= situation.share:
        return None
    return circuit.retry_at if circuit.retry_at > situation.now else None


def _cap_text(situation: Situation) -> str:
    scaling = situation.desired.spec.autoscaling
    most = "" if scaling is None else f" {scaling.max_replicas}"
    return f"autoscaling.maxReplicas{most} leaves no room until workers that still live have ended, in any region"


def _circuit_text(situation: Situation) -> str:
    circuit = situation.ledger.circuit
    return "" if circuit is None or circuit.retry_at is None else circuit.text(situation.now)


def _notes(situation: Situation, shrunk: Shrunk, resumed: tuple[Resume, ...], hiring: Hiring) -> tuple[Note, ...]:
    notes = []
    chosen = len(shrunk.jobs) + shrunk.unnamed
    if chosen and shrunk.reason:
        text = f"{situation.name}: laying off {chosen} ({shrunk.reason})"
        lost = _losses(shrunk.leaving)
        notes.append(Note("LayingOff", f"{text}: {lost}" if lost else text))
    elif shrunk.jobs:
        notes.append(Note("TakingBack", f"{situation.name}: taking back {_that_were(shrunk.jobs)} to leave"))
    if resumed:
        notes.append(Note("Resuming", f"{situation.name}: resuming {_that_were(resumed)} paused"))
    if hiring.fresh:
        notes.append(Note("Hiring", f"{situation.name}: hiring {hiring.fresh}"))
    return tuple(notes)


def _that_were(those: Sequence[Job | Resume]) -> str:
    return f"{len(those)} that {verb(len(those), 'was', 'were')}"


def _losses(leaving: Mapping[Loss, Sequence[Job]]) -> str:
    """What leaving loses, for people: "3 waiting for a node, 1 idle"."""
    return ", ".join(f"{len(jobs)} {loss.words}" for loss, jobs in leaving.items() if jobs)


def _earliest(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time is not None), default=None)
