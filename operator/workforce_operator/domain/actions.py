"""What a plan asks the executor to do. Each action is idempotent, and each says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from jobq.control import Order
from workforce_operator.domain.announcement import Announcement
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import ScalingHistory
from workforce_operator.domain.placement.sites import Shift
from workforce_operator.domain.ranking import Loss
from workforce_operator.domain.template_backoff import TemplateBackoff
from workforce_operator.domain.value import value


@dataclass(frozen=True, slots=True)
class Hire:
    """Submit one worker job under a reserved name: one PUT, repeated with the same name whatever happens."""

    region: str
    job: str
    sequence: int


class SendOrder(NamedTuple):
    """Send a targeted order to one job's session; the same message id is never sent twice by one process.

    A tuple, because there are thousands in one plan and nothing else is made as fast.

    Attributes:
        announced: What the job's wave says.
        pending: The job waits for a node.
    """

    region: str
    job: str
    sequence: int
    announced: Announcement
    pending: bool = False

    @property
    def said(self) -> Order:
        """The order without the job that it is for; one for all jobs of a wave."""
        return self.announced.said

    @property
    def order(self) -> Order:
        """The order as it is sent."""
        return self.said.model_copy(update={"id": self.announced.order_id(self.sequence), "node": self.job})

    @property
    def message_id(self) -> str:
        """Equal for repeats. Who ran, took its order and was then preempted is pending, and has to be told anew."""
        identity = self.announced.message_id(self.sequence)
        return f"{identity}p" if self.pending else identity


@dataclass(frozen=True, slots=True)
class SendToAny:
    """Send an order to the region's topic: whichever worker takes it follows it. Never sent twice; see ``wave``."""

    region: str
    wave: str
    order: Order
    message_id: str

    @property
    def job(self) -> str:
        """Nobody's: each message is an action of its own."""
        return self.message_id


@dataclass(frozen=True, slots=True)
class CancelPending:
    """Lay off a job that never ran: ``order`` first (None without control), then read, cancel only if pending."""

    region: str
    job: str
    order: SendOrder | None
    reason: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel a job whatever it does: after a drain deadline with onDeadline Cancel, or by deletionPolicy Cancel."""

    region: str
    job: str
    reason: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Let a paused job wait for a node again; one that has used up its execution time is cancelled, and replaced."""

    region: str
    job: str


Action = Hire | SendOrder | SendToAny | CancelPending | Cancel | Resume


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that a person should hear of; becomes an Event. ``reason`` is CamelCase and stable."""

    reason: str
    message: str
    warning: bool = False


def cancel_notes(actions: Iterable[Action]) -> tuple[Note, ...]:
    """Tell people of jobs that are cancelled whatever they do: one note for each region and reason."""
    cancelled = Counter((action.region, action.reason) for action in actions if isinstance(action, Cancel))
    return tuple(
        Note("Cancelling", f"{region}: cancelling {number} ({reason})", warning=True)
        for (region, reason), number in cancelled.items()
    )


@value
class RegionPlan:
    """Numbers of one region behind the plan, for the status.

    Attributes:
        supply: Jobs that count towards desired, after it was decided who leaves and who stays.
        there: Those that did before anybody was chosen to leave.
        readable: False = the region could not be read; the counts are then those last known, or 0.
        waiting: Why wanted hires are not made now.
        held: How many of them.
        idle: All of them wait for work to be visible in the queue.
        crash_loop: Jobs fail fast here.
        error: The error of the last job that did.
        overdue: Jobs that should have left by their drain deadline.
        blind: How many of the held hires wait only until the queue can be read.
        queue_outdated: Some wait until the queue has been read once more.
        template_backoff: The template, here and everywhere, is in back-off.
        losses: By sequence, what is lost by each job that was chosen to leave in this pass: why it and no other.
    """

    desired: int
    supply: int
    pending: int
    running: int
    paused: int
    draining: int
    live: int
    readable: bool = True
    resumes: int = 0
    hires: int = 0
    lay_offs: int = 0
    waiting: str | None = None
    retry_at: datetime | None = None
    idle: bool = False
    held: int = 0
    crash_loop: bool = False
    error: str | None = None
    overdue: int = 0
    blind: int = 0
    queue_outdated: bool = False
    template_backoff: TemplateBackoff | None = None
    losses: Mapping[int, Loss] = field(default_factory=dict)
    there: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one pass decided.

    Attributes:
        ledger: To be written before any action, if it differs from the one read.
        actions: To be executed in this order of kinds: orders and cancels, then resumes, then hires.
        desired: Worker jobs wanted now, over all regions.
        regions: Numbers by region name.
        channels_awaited: Regions where nobody is hired before their control channel is ready for the first time.
        history: What the next pass is to be told of autoscaling.
        notes: For people.
        shifts: How the regions' shares changed, and why.
        full: While something has no place: regions without a free node, and whether a quota is why.
        free: Further jobs that would find a node, by region, as far as it is known.
        finished: The resource is being deleted and nothing is left to do: the finalizer may go.
        left_behind: Names of jobs that deletion leaves, told to people when the finalizer goes.
        retry_at: When to look again at the latest, if earlier than the regular time.
    """

    ledger: Ledger
    actions: tuple[Action, ...] = ()
    desired: int = 0
    regions: dict[str, RegionPlan] = field(default_factory=dict)
    channels_awaited: frozenset[str] = frozenset()
    history: ScalingHistory | None = None
    notes: tuple[Note, ...] = ()
    shifts: tuple[Shift, ...] = ()
    full: Mapping[str, bool] = field(default_factory=dict)
    free: Mapping[str, int] = field(default_factory=dict)
    finished: bool = False
    left_behind: tuple[str, ...] = ()
    retry_at: datetime | None = None
