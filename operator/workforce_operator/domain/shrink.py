"""Laying off and taking back: which jobs enter a wave in this pass. The orders follow from the ledger (``orders``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from itertools import chain

from workforce_operator.api.spec import ControlDialect, DeadlineAction, DrainMode
from workforce_operator.api.status import DrainState
from workforce_operator.domain.actions import Action, CancelPending
from workforce_operator.domain.counting import Count
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Wave
from workforce_operator.domain.observed import Job, Phase
from workforce_operator.domain.orders import unnamed_orders
from workforce_operator.domain.ranking import Loss, by_loss, first_to_leave, take_back_order
from workforce_operator.domain.recovery import restored_until, unheard
from workforce_operator.domain.situation import Situation
from workforce_operator.domain.value import value
from workforce_operator.domain.waves import REQUESTED, above_seen, add, wave_id
from workforce_operator.domain.words import counted

_flat = chain.from_iterable
_NEXT = timedelta(microseconds=1)


@value
class Shrunk:
    """What laying off or taking back changes.

    Attributes:
        waves: The region's waves from now on.
        jobs: Jobs that were chosen in this pass.
        direct: Actions of this pass alone: cancels that no wave announces, messages that are never repeated.
        waiting: Why more is not done, for people.
        leaving: The jobs that were chosen to leave, by what is lost.
        unnamed: How many more were told to leave, whoever they are.
        reason: Why they leave; None where they stay after all.
    """

    waves: tuple[Wave, ...]
    jobs: tuple[Job, ...] = ()
    direct: tuple[Action, ...] = ()
    waiting: str | None = None
    leaving: Mapping[Loss, Sequence[Job]] = field(default_factory=dict)
    unnamed: int = 0
    reason: str | None = None


def lay_off(situation: Situation, excess: int) -> Shrunk:
    """Choose the jobs that leave: never-run ones first, and all of them into a wave before anything is sent.

    Without a control channel only pending jobs go, and a repeated pass chooses the same ones until they are gone.
    With one that does not work now, nobody goes: a job that starts between its cancel and a missing order would be
    killed at work.
    """
    waves = situation.ledger.waves
    if situation.desired.spec.control is None:
        return _without_control(situation, excess)
    if situation.desired.spec.control.dialect is ControlDialect.JOBQ:
        return _unnamed(situation, excess)
    if not situation.can_order:
        return Shrunk(
            waves, waiting=f"{counted(excess, 'worker')} cannot be told to leave: the control channel is not ready"
        )
    leaving = _victims(situation, excess)
    victims = tuple(_flat(leaving.values()))
    waiting = _waits_for_reports(situation, excess - len(victims))
    if not victims:
        return Shrunk(waves, waiting=waiting)
    wave = _leaving(situation, leaving, situation.reason)
    return Shrunk(add(waves, wave), victims, waiting=waiting, leaving=leaving, reason=situation.reason)


def requested(situation: Situation) -> Shrunk | None:
    """The running jobs that somebody wants to have drained and that were not told to leave yet; None if there are none.

    Others take their place, and they are not taken back: whoever names a worker wants it gone.
    """
    asked = situation.desired.drain_requested
    if not asked or not situation.can_order or not situation.names_victims:
        return None
    jobs = tuple(job for job in situation.count.running if job.name in asked)
    if not jobs:
        return None
    leaving = by_loss(jobs, situation.reports)
    wave = _leaving(situation, leaving, REQUESTED)
    return Shrunk(add(situation.ledger.waves, wave), jobs, leaving=leaving, reason=REQUESTED)


def take_back(situation: Situation, deficit: int) -> Shrunk:
    """Choose draining jobs that stay after all: they count as supply at once, and are told until they confirm."""
    waves = situation.ledger.waves
    if not situation.can_order:
        return Shrunk(waves)
    candidates = recallable(situation.desired, situation.count, waves, situation.now)
    chosen = take_back_order(candidates, waves, situation.reports)[:deficit]
    if not chosen:
        return Shrunk(waves)
    deadlines = [wave.deadline for wave in waves if not wave.jobs.isdisjoint({job.sequence for job in chosen})]
    revision = _revision(situation, chosen)
    wave = Wave(
        id=wave_id(revision),
        mode=DrainMode.FINISH,
        state=DrainState.RECALLED,
        revision=revision,
        jobs=frozenset(job.sequence for job in chosen),
        sent=situation.now,
        deadline=max(deadlines),
        reason="ScaleUp",
    )
    return Shrunk(add(waves, wave), chosen)


def recallable(desired: Desired, count: Count, waves: Iterable[Wave], now: datetime) -> list[Job]:
    """Draining jobs that may still be told to stay."""
    jobs = {job for wave in waves if _recallable(desired, wave, now) for job in wave.jobs}
    return [job for job in count.draining if job.sequence in jobs]


def _leaving(situation: Situation, leaving: Mapping[Loss, Sequence[Job]], reason: str) -> Wave:
    """A new wave of jobs that are told to leave."""
    revision = _revision(situation, _flat(jobs for loss, jobs in leaving.items() if loss is not Loss.SILENT))
    return Wave(
        id=wave_id(revision),
        mode=situation.desired.spec.drain.mode,
        state=DrainState.SENT,
        revision=revision,
        jobs=frozenset([job.sequence for job in _flat(leaving.values())]),
        sent=situation.now,
        deadline=situation.desired.drain_deadline(situation.now),
        reason=reason,
    )


def _revision(situation: Situation, jobs: Iterable[Job]) -> int:
    return above_seen(situation.revision, map(situation.reports.get, [job.name for job in jobs]))


def _victims(situation: Situation, excess: int) -> Mapping[Loss, Sequence[Job]]:
    """Who leaves, by what is lost. After a lost ledger the excess may be leaving already, without having said so.

    Then running workers go only as far as those that have spoken are too many by themselves. Where nobody is wanted,
    there is nothing to take care of.
    """
    if situation.ledger.restored is None or situation.share == 0:
        return first_to_leave(situation.ranking, running=True, most=excess)
    order = [job for jobs in first_to_leave(situation.ranking, running=True).values() for job in jobs]
    silent = unheard(order, situation.reports, situation.ledger.restored)
    if not silent:
        return first_to_leave(situation.ranking, running=True, most=excess)
    never_ran = [job for job in order[:excess] if job.phase is not Phase.RUNNING]
    unsure = silent | {job.sequence for job in never_ran}
    heard = [job for job in order if job.phase is Phase.RUNNING and job.sequence not in silent]
    return by_loss(
        [*never_ran, *heard[: max(0, len(order) - len(unsure) - situation.share)]],
        situation.reports,
    )


def _waits_for_reports(situation: Situation, number: int) -> str | None:
    until = restored_until(situation.desired, situation.ledger)
    if number <= 0 or until is None:
        return None
    return (
        f"who was told to leave was forgotten with the status: {counted(number, 'worker')} may be leaving already, "
        f"and nobody else is told to until they report, or until {until:%Y-%m-%dT%H:%M:%SZ}"
    )


def _without_control(situation: Situation, excess: int) -> Shrunk:
    leaving = first_to_leave(situation.ranking, running=False, most=excess)
    victims = tuple(_flat(leaving.values()))
    cancels = tuple(CancelPending(situation.name, job.name, None, situation.reason) for job in victims)
    left = excess - len(victims)
    waiting = (
        f"{counted(left, 'worker')} running too many, and without spec.control they cannot be told to leave"
        if left
        else None
    )
    return Shrunk(situation.ledger.waves, victims, cancels, waiting, leaving, reason=situation.reason)


def _unnamed(situation: Situation, excess: int) -> Shrunk:
    """Workers of ai4s-jobq: pending jobs are cancelled; of running ones, so many leave as take a message.

    Each message is sent in this pass or never: who took it cannot be known, so that a second one might be a second
    worker's.
    """
    never_ran = _without_control(situation, excess)
    left = excess - len(never_ran.direct)
    waiting = _why_nobody_is_told(situation, left)
    if left == 0 or waiting is not None:
        return replace(never_ran, waiting=waiting)
    wave = replace(_leaving(situation, {}, situation.reason), count=left, sent=_after_known_ends(situation))
    messages = unnamed_orders(situation.desired, situation.name, wave)
    return Shrunk(
        add(situation.ledger.waves, wave),
        never_ran.jobs,
        (*never_ran.direct, *messages),
        leaving=never_ran.leaving,
        unnamed=left,
        reason=situation.reason,
    )


def _after_known_ends(situation: Situation) -> datetime:
    """The time of a wave that names nobody: now, but after each end that is known, for those are no answers to it.

    The service tells when a job ended by its own clock, which may be ahead of ours.
    """
    ends = (job.ended for job in situation.count.ended if job.ended is not None)
    return max([situation.now, *(end + _NEXT for end in ends)])


def _why_nobody_is_told(situation: Situation, number: int) -> str | None:
    if number == 0:
        return None
    if not situation.can_order:
        return f"{counted(number, 'worker')} cannot be told to leave: the control channel is not ready"
    until = restored_until(situation.desired, situation.ledger)
    if until is None or situation.share == 0:
        return None
    return (
        f"how many were told to leave was forgotten with the status: {counted(number, 'worker')} may be leaving "
        f"already, and nobody else is told to until {until:%Y-%m-%dT%H:%M:%SZ}"
    )


def _recallable(desired: Desired, wave: Wave, now: datetime) -> bool:
    """A drain that has turned into a checkpoint or a cancel at its deadline is not taken back."""
    if wave.state is not DrainState.SENT or wave.mode is not DrainMode.FINISH or wave.reason == REQUESTED:
        return False
    return now < wave.deadline or desired.spec.drain.on_deadline is DeadlineAction.WAIT
