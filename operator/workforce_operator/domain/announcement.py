"""What a drain wave says to its jobs, worked out when it is sent: a plan may tell thousands to leave at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from jobq.control import Mode, OnDeadline, Operation, Order, message_id, order_id
from workforce_operator.api.spec import DrainMode
from workforce_operator.api.status import DrainState
from workforce_operator.domain.ledger import Wave

_MODES = {DrainMode.FINISH: Mode.FINISH, DrainMode.CHECKPOINT: Mode.CHECKPOINT}


@dataclass(frozen=True)
class Announcement:
    """A wave as it is told in this pass: the same to each of its jobs but for their names.

    Attributes:
        wave: Who is told, and what.
        region: Hash of the region, for the ids.
        number: Half TTLs since the wave was first sent: equal numbers are the same message.
        workforce: Whose wave it is, as workers know it.
        on_deadline: What a worker does at the deadline.
    """

    wave: Wave
    region: str
    number: int
    workforce: str
    on_deadline: OnDeadline

    @cached_property
    def said(self) -> Order:
        """The order, without the job that it is for."""
        wave = self.wave
        if wave.state is DrainState.RECALLED:
            return Order(
                operation=Operation.ACCEPT_NEW_TASKS,
                revision=wave.revision,
                workforce=self.workforce,
                reason=wave.reason,
            )
        return Order(
            operation=Operation.GRACEFUL_DOWNSCALE,
            revision=wave.revision,
            mode=_MODES[wave.mode],
            deadline=wave.deadline,
            on_deadline=self.on_deadline,
            workforce=self.workforce,
            reason=wave.reason,
        )

    def order_id(self, sequence: int) -> str:
        """The id of the order to one job."""
        return order_id(self.wave.id, self.region, sequence)

    def message_id(self, sequence: int) -> str:
        """The id of the message that carries it in this pass."""
        return message_id(self.order_id(sequence), self.number)
