"""What an order means on this node. Pure: the listener does what the answer says.

An order that makes no sense is refused with a reason and goes to the dead-letter queue; one that is out of date is
dropped; one that only another node can follow is left to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from jobq.operations import Operation

if TYPE_CHECKING:
    from jobq.control import Order

LISTEN_WHILE_FREE = timedelta(minutes=1)
"""A node holds its receiver open while a slot was free this recently."""
LOOK_EVERY = timedelta(minutes=1)
"""A node with nothing but long tasks looks for an order this often."""


class Act(StrEnum):
    """What to do with a message."""

    APPLY = "apply"
    DROP = "drop"
    REFUSE = "refuse"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Answer:
    """What to do with a message, and why if it is not applied."""

    act: Act
    order: Order | None = None
    reason: str = ""


def judge_targeted(body: bytes, *, job: str, known_revision: int) -> Answer:
    """An order from this job's session.

    Args:
        body: The message's text.
        job: This node's job.
        known_revision: The highest revision that the session has seen.
    """
    answer = _read(body)
    if answer.order is None:
        return answer
    if answer.order.node is not None and answer.order.node != job:
        return Answer(Act.REFUSE, reason=f"the order is for node {answer.order.node!r}, its session is {job!r}")
    if answer.order.revision < known_revision:
        return Answer(Act.DROP, reason=f"revision {answer.order.revision} is older than {known_revision}")
    return answer


def judge_untargeted(body: bytes, *, job: str | None, accepting: bool) -> Answer:
    """An order from the topic, for whichever node takes it first.

    Args:
        body: The message's text.
        job: This node's job, if it has one.
        accepting: Whether this node takes new tasks; one that does not has nothing to stop accepting.
    """
    answer = _read(body)
    if answer.order is None:
        return answer
    if answer.order.operation is Operation.ACCEPT_NEW_TASKS:
        return Answer(Act.REFUSE, reason="accept-new-tasks must be targeted: send it to the job's session")
    if answer.order.node is not None and answer.order.node != job:
        return Answer(Act.REFUSE, reason="orders for one node travel on the queue for nodes, in the job's session")
    if answer.order.operation is Operation.DO_NOT_ACCEPT_NEW_TASKS and not accepting:
        return Answer(Act.LEAVE, answer.order, "this node accepts no tasks already")
    return answer


def holds_receiver(*, pulling: bool, since_free: timedelta) -> bool:
    """Whether to hold the topic's receiver open, as nodes do while slots come free."""
    return pulling and since_free <= LISTEN_WHILE_FREE


def _read(body: bytes) -> Answer:
    from jobq.control import ControlError, decode_order  # noqa: PLC0415 - only who gets orders pays for their models

    try:
        return Answer(Act.APPLY, decode_order(body))
    except ControlError as error:
        return Answer(Act.REFUSE, reason=str(error))
