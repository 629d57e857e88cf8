"""The messages and cancels that the waves of a ledger call for, at every pass until the jobs have ended.

A pass repeats what the last one said: message ids depend on the wave, the job and the clock's half TTL only, so that
the executor and the service's duplicate detection swallow repeats. Nothing here chooses a job.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jobq.control import Mode, OnDeadline, Operation, Order, message_id, order_id, resend_number
from workforce_operator.api.spec import DeadlineAction, DrainMode
from workforce_operator.api.status import DrainState
from workforce_operator.domain.actions import Action, Cancel, CancelPending, SendOrder, SendToAny
from workforce_operator.domain.counting import Count
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Wave
from workforce_operator.domain.observed import Job, Phase

_MODES = {DrainMode.FINISH: Mode.FINISH, DrainMode.CHECKPOINT: Mode.CHECKPOINT}
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
    living = {job.sequence: job for job in count.live_jobs if job.phase is not Phase.ENDING}
    actions: list[Action] = []
    for wave in waves:
        for sequence in sorted(wave.jobs):
            job = living.get(sequence)
            if wave.state is DrainState.RECALLED:
                actions += _recall(desired, region, wave, job, now)
            elif job is not None:
                actions += _lay_off(desired, region, wave, job, now)
            elif sequence in count.unread:
                actions += _told(desired, region, wave, sequence, now)
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


def _recall(desired: Desired, region: str, wave: Wave, job: Job | None, now: datetime) -> list[Action]:
    if job is None:
        return []
    order = _order(desired, region, wave, job.sequence, now)
    return [] if order is None else [order]


def _lay_off(desired: Desired, region: str, wave: Wave, job: Job, now: datetime) -> list[Action]:
    if is_due(wave, now) and desired.spec.drain.on_deadline is DeadlineAction.CANCEL:
        return [Cancel(region, job.name, "its drain deadline has passed")]
    if job.phase is Phase.RUNNING:
        return _told(desired, region, wave, job.sequence, now)
    return [
        CancelPending(region, job.name, _order(desired, region, wave, job.sequence, now, pending=True), wave.reason)
    ]


def _told(desired: Desired, region: str, wave: Wave, sequence: int, now: datetime) -> list[Action]:
    order = _order(desired, region, wave, sequence, now)
    return [] if order is None else [order]


def _order(
    desired: Desired, region: str, wave: Wave, sequence: int, now: datetime, *, pending: bool = False
) -> SendOrder | None:
    if desired.spec.control is None:
        return None
    job, identity = desired.job_name(region, sequence), order_id(wave.id, desired.hash10(region), sequence)
    number = message_id(identity, resend_number(wave.sent, now))
    # A job that ran, took its order and was then preempted is pending again: it needs a message it has not had yet.
    return SendOrder(region, job, _content(desired, wave, job, identity), f"{number}p" if pending else number)


def _content(desired: Desired, wave: Wave, job: str, identity: str) -> Order:
    if wave.state is DrainState.RECALLED:
        return Order(
            operation=Operation.ACCEPT_NEW_TASKS,
            id=identity,
            revision=wave.revision,
            node=job,
            workforce=desired.owner,
            reason=wave.reason,
        )
    return Order(
        operation=Operation.GRACEFUL_DOWNSCALE,
        id=identity,
        revision=wave.revision,
        mode=_MODES[wave.mode],
        deadline=wave.deadline,
        on_deadline=_ON_DEADLINE[desired.spec.drain.on_deadline],
        node=job,
        workforce=desired.owner,
        reason=wave.reason,
    )
