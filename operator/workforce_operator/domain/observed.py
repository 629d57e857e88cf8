"""Snapshots of the world that the planner decides on. A reading is known with its time, or unknown with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Generic, TypeVar

from jobq.control import DrainFinished, Exit, State
from jobq.names import cohort
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.errors import NOT_FOUND, OperatorError, reason_of
from workforce_operator.domain.value import value

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """A value that was read."""

    value: T
    at: datetime


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that could not be read. Never to be taken for zero. ``reason`` is CamelCase, ``message`` for people."""

    reason: str
    message: str = ""

    @classmethod
    def because(cls, error: OperatorError) -> Unknown:
        """Unknown because of an error."""
        return cls(reason_of(error), str(error))

    @property
    def is_missing(self) -> bool:
        """What should have been read does not exist, by the word of the service: a region's workspace, for one."""
        return self.reason == NOT_FOUND


class Phase(StrEnum):
    """What a job is counted as."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    ENDING = "ending"
    ENDED = "ended"


class Outcome(StrEnum):
    """How a job ended."""

    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"


_PENDING = frozenset(
    {"notstarted", "provisioning", "preparing", "queued", "waiting", "starting", "scheduled", "validating"}
)
_PHASES = {"paused": Phase.PAUSED, "cancelrequested": Phase.ENDING}
_OUTCOMES = {"completed": Outcome.COMPLETED, "failed": Outcome.FAILED, "canceled": Outcome.CANCELED}


@lru_cache(maxsize=256)
def phase_of(state: str) -> Phase:
    """What an AzureML job state is counted as. An unknown state counts as running: nobody is hired in its place."""
    key = state.replace(" ", "").lower()
    if key in _PENDING:
        return Phase.PENDING
    if key in _OUTCOMES:
        return Phase.ENDED
    return _PHASES.get(key, Phase.RUNNING)


@dataclass(frozen=True, slots=True)
class Job:
    """One worker job of ours, as AzureML tells it. Times are aware; ``None`` = not told.

    ``error`` is for people; ``error_codes`` are AzureML's codes, from the outermost to the innermost.
    """

    name: str
    sequence: int
    state: str
    template_hash: str | None = None
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    error: str | None = None
    error_codes: tuple[str, ...] = ()
    phase: Phase = field(init=False, compare=False, repr=False)
    """What the job is counted as."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "phase", phase_of(self.state))

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, or None while it lives."""
        return _OUTCOMES.get(self.state.replace(" ", "").lower())


@dataclass(frozen=True)
class RegionJobs:
    """The jobs of a region's open cohorts. What follows from the list is worked out once, however often it is asked.

    Attributes:
        jobs: Every listed job of ours, ended ones included.
        absent: Reserved sequences whose name was read and does not exist: free to be hired under.
        unread: Reserved sequences that were neither listed nor read: perhaps live. They count in caps and as supply
            when hiring, and as nothing when laying off.
        late: The absent ones that a hire which is still on its way may bring about: nothing is let go before it came.
        complete: All jobs were listed, not only those of the open cohorts.
    """

    jobs: tuple[Job, ...] = ()
    absent: frozenset[int] = frozenset()
    unread: frozenset[int] = frozenset()
    late: frozenset[int] = frozenset()
    complete: bool = False

    @cached_property
    def by_sequence(self) -> Mapping[int, Job]:
        """Every job once, in the order of the sequences."""
        once = {job.sequence: job for job in self.jobs}
        return {sequence: once[sequence] for sequence in sorted(once)}

    @cached_property
    def by_phase(self) -> Mapping[Phase, tuple[Job, ...]]:
        """Every job once, by what it is counted as, in the order of the sequences."""
        phases: dict[Phase, list[Job]] = {phase: [] for phase in Phase}
        for job in self.by_sequence.values():
            phases[job.phase].append(job)
        return {phase: tuple(jobs) for phase, jobs in phases.items()}

    @cached_property
    def next_sequence(self) -> int:
        """The first sequence after those of all jobs."""
        return max((job.sequence + 1 for job in self.jobs), default=0)

    @cached_property
    def cohorts(self) -> frozenset[int]:
        """Cohorts of all jobs."""
        return frozenset({cohort(job.sequence) for job in self.jobs})


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The task queue.

    Attributes:
        length: Tasks that wait and tasks that are being run, as the service counts them together.
        has_visible: Some task waits. Where the service does not tell: some task waits or is being run.
        visible: How many wait, where the service tells; else None, which is no number.
        told_apart: The service tells tasks that wait from tasks that are being run.
    """

    length: int
    has_visible: bool
    visible: int | None = None
    told_apart: bool = True

    @property
    def waiting(self) -> int | None:
        """How many tasks wait, or None if that is not known."""
        return self.visible if self.has_visible else 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a policy made of one reading of the queue: the number that it asks for, and its arithmetic for people."""

    at: datetime
    number: int
    why: str


@dataclass(frozen=True, slots=True)
class ScalingHistory:
    """What autoscaling proposed and decided before, as far as this process knows. Its times never go back.

    Attributes:
        since: Before this, nothing is known.
        proposals: What the policy asked for; of equal ones in a row the last is kept.
        changes: By how much the number wanted rose or fell.
        reading: The last reading of the queue, and what the policy made of it.
    """

    since: datetime
    proposals: tuple[tuple[datetime, int], ...]
    changes: tuple[tuple[datetime, int], ...] = ()
    reading: Reading | None = None


@value
class LastReport:
    """What a worker has said last in a ``state`` report: all that is asked for of it, and tens of thousands are kept.

    Attributes are those of ``jobq.control.State``.
    """

    job: str
    time: datetime
    accepting: bool
    busy_slots: int
    revision: int
    oldest_task_start: datetime | None
    last_checkpoint: datetime | None
    drain_id: str | None
    running_seconds: float | None

    @classmethod
    def of(cls, state: State) -> LastReport:
        """What is kept of a report."""
        return cls(
            state.job,
            state.time,
            state.accepting,
            state.busy_slots,
            state.revision,
            state.oldest_task_start,
            state.last_checkpoint,
            state.drain_id,
            state.running_seconds,
        )


@dataclass(frozen=True, slots=True)
class Observed:
    """One pass's reading of the world.

    Attributes:
        now: The time of this pass; the planner knows no other clock.
        regions: By region name, for every region of the spec and of the status.
        queue: The task queue.
        control: The channel of ``spec.control``: Known(True) when its topics and queues stand and can be sent to;
            Known(False) when it is not configured, or every region has another.
        own_control: The same by region name, for regions that have a channel of their own.
        capacity: By region name, the compute's nodes; what does not tell them is unknown.
        reports: The latest ``state`` report per job name. Only makes choices better.
        finished: The ``drain-finished`` reports since the last pass, of any Workforce: only to be counted.
        last_words: The ``exit`` report per job name, of jobs that have not spoken since.
        waits: By job name, since when a job that has run before was seen to wait for a node again, and ever since.
        history: What was proposed and decided by autoscaling before; None = not known, as after a restart.
    """

    now: datetime
    regions: Mapping[str, Known[RegionJobs] | Unknown]
    queue: Known[QueueDepth] | Unknown
    control: Known[bool] | Unknown
    reports: Mapping[str, LastReport] = field(default_factory=dict)
    capacity: Mapping[str, Known[ClusterCapacity] | Unknown] = field(default_factory=dict)
    last_words: Mapping[str, Exit] = field(default_factory=dict)
    history: ScalingHistory | None = None
    finished: tuple[DrainFinished, ...] = ()
    own_control: Mapping[str, Known[bool] | Unknown] = field(default_factory=dict)
    waits: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def channels(self) -> tuple[Known[bool] | Unknown, ...]:
        """All control channels."""
        return (self.control, *self.own_control.values())

    def channel(self, region: str) -> Known[bool] | Unknown:
        """The control channel of a region."""
        return self.own_control.get(region, self.control)

    def can_order(self, region: str) -> bool:
        """Whether the workers of a region can be told something now."""
        channel = self.channel(region)
        return isinstance(channel, Known) and channel.value
