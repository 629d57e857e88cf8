"""The messages and cancels that the waves of a ledger call for, at every pass until the jobs have ended.

A pass repeats what the last one said: message ids depend on the wave, the job and the clock's half TTL only, so that
the executor and the service's duplicate detection swallow repeats. Nothing here chooses a job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from jobq.control import OnDeadline, Operation, Order, order_id, resend_number
from workforce_operator.api.spec import DeadlineAction, DrainMode
from workforce_operator.api.status import DrainState
from workforce_operator.domain.actions import Action, Cancel, CancelPending, SendOrder, SendToAny
from workforce_operator.domain.announcement import Announcement
from workforce_operator.domain.counting import Count
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Wave
from workforce_operator.domain.observed import Job, Phase

_RUNNING = Phase.RUNNING
"""An enumeration is slow to ask, and thousands may be told to leave at once."""
_ON_DEADLINE = {
    DeadlineAction.WAIT: OnDeadline.WAIT,
    DeadlineAction.CHECKPOINT: OnDeadline.CHECKPOINT,
    # The node waits; the cancel at the deadline is the operator's own.
    DeadlineAction.CANCEL: OnDeadline.WAIT,
}


def wave_actions(
    desired: Desired, region: str, waves: Sequence[Wave], count: Count, now: datetime
) -> tuple[Action, ...]:
    """What to send, and whom to cancel, for all waves of a region."""
    if not waves:
        return ()
    # Who was told to leave is no supply. Of that, which may be thousands, only those are looked for who are to stay.
    jobs = [*count.draining]
    if any(wave.state is DrainState.RECALLED for wave in waves):
        jobs += (*count.pending, *count.running, *count.paused)
    living = {job.sequence: job for job in jobs}
    actions: list[Action] = []
    for wave in waves:
        actions += _Words(desired, region, wave, now).all(living, count.unread)
    return tuple(actions)


def unnamed_orders(desired: Desired, region: str, wave: Wave) -> tuple[SendToAny, ...]:
    """The messages of a wave that names nobody, in the words of ai4s-jobq.

    Its workers complete what they run on ``do-not-accept-new-tasks`` and then exit; on ``graceful-downscale`` they
    cancel and return it.
    """
    finish = wave.mode is DrainMode.FINISH
    operation = Operation.DO_NOT_ACCEPT_NEW_TASKS if finish else Operation.GRACEFUL_DOWNSCALE
    identities = (order_id(wave.id, desired.hash10(region), number) for number in range(wave.count))
    return tuple(
        SendToAny(region, wave.id, Order(operation=operation, id=identity, workforce=desired.owner), identity)
        for identity in identities
    )


def is_due(wave: Wave, now: datetime) -> bool:
    """Whether a wave is past its deadline."""
    return wave.state is DrainState.SENT and now >= wave.deadline


class _Words:
    """What one wave says and does about its jobs."""

    def __init__(self, desired: Desired, region: str, wave: Wave, now: datetime) -> None:
        self._desired, self._region, self._wave = desired, region, wave
        self._stays = wave.state is DrainState.RECALLED
        self._cancels = is_due(wave, now) and desired.spec.drain.on_deadline is DeadlineAction.CANCEL
        self._announced = None if desired.spec.control is None else _announced(desired, region, wave, now)

    def all(self, living: Mapping[int, Job], unread: frozenset[int]) -> Iterator[Action]:
        """What to do about each of its jobs that lives, or perhaps lives."""
        for sequence in sorted(self._wave.jobs):
            action: Action | None = None
            if (job := living.get(sequence)) is not None:
                told = self._stays or (job.phase is _RUNNING and not self._cancels)
                action = self.order(job.name, sequence) if told else self._cancel(job)
            elif sequence in unread and not self._stays:
                action = self.order(self._desired.job_name(self._region, sequence), sequence)
            if action is not None:
                yield action

    def order(self, job: str, sequence: int, *, pending: bool = False) -> SendOrder | None:
        """The wave's order for one of its jobs; None without a control channel."""
        announced = self._announced
        return None if announced is None else SendOrder(self._region, job, sequence, announced, pending)

    def _cancel(self, job: Job) -> Action:
        if self._cancels:
            return Cancel(self._region, job.name, "the drain deadline has passed")
        order = self.order(job.name, job.sequence, pending=True)
        return CancelPending(self._region, job.name, order, self._wave.reason)


def _announced(desired: Desired, region: str, wave: Wave, now: datetime) -> Announcement:
    return Announcement(
        wave,
        desired.hash10(region),
        resend_number(wave.sent, now),
        desired.owner,
        _ON_DEADLINE[desired.spec.drain.on_deadline],
    )
