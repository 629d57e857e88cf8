"""A small pure world for the planner: AzureML that lists late and loses answers, workers, an operator that dies.

The operator here is the real planner with the real ledger codec; only reading, writing and acting are modelled. Time
moves only when told. Every claim about what must never happen is checked where it would happen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from jobq.control import Operation, Order, State
from jobq.names import COHORT_SIZE
from tests.support.workforces import region, spec
from workforce_operator.api.spec import WorkforceSpec
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.actions import Action, Cancel, CancelPending, Hire, Plan, Resume, SendOrder
from workforce_operator.domain.cohorts import reserved_in
from workforce_operator.domain.desired import Desired, region_places
from workforce_operator.domain.ledger import Ledger, RegionLedger, read_ledger
from workforce_operator.domain.observed import (
    Job,
    Known,
    LastReport,
    Observed,
    Phase,
    QueueDepth,
    RegionJobs,
    Unknown,
    phase_of,
)
from workforce_operator.domain.outcomes import Outcomes
from workforce_operator.domain.plan import plan
from workforce_operator.domain.status import announce, build_status

START = datetime(2026, 1, 1, 8, tzinfo=UTC)
LIST_LAG = timedelta(seconds=20)


class Crash(Exception):
    """The operator process was killed here."""


@dataclass
class SimJob:
    """A worker job and the worker in it."""

    region: str
    name: str
    sequence: int
    state: str
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    inbox: deque[Order] = field(default_factory=deque)
    revision: int = 0
    drained: bool = False
    drain_id: str | None = None
    told: bool = False

    @property
    def live(self) -> bool:
        return phase_of(self.state) is not Phase.ENDED

    def seen(self) -> Job:
        return Job(self.name, self.sequence, self.state, "v1:x", self.created, self.started, self.ended)


@dataclass
class Faults:
    """What goes wrong during one pass. Everything is right by default.

    Attributes:
        die_after: The operator is killed after this many of its writes (status and Azure together).
        lose: PUTs, counted from 0 within the pass, that arrive only later; the operator is told that they failed.
        hide: Regions whose reading fails.
        lag: Lists do not show what was created or changed recently.
        read_at_most: How many missing names are read one by one.
        control_down: Orders cannot be sent.
    """

    die_after: int | None = None
    lose: frozenset[int] = frozenset()
    hide: frozenset[str] = frozenset()
    lag: bool = False
    read_at_most: int = 50
    control_down: bool = False


class World:
    """AzureML, workers, and the stored object of one Workforce."""

    def __init__(self, replicas: int, most: Sequence[int], **changes: Any) -> None:
        self.now = START
        self.most = {f"r{number}": most for number, most in enumerate(most)}
        self.spec = spec(
            replicas=replicas, regions=[region(name, maxReplicas=most) for name, most in self.most.items()], **changes
        )
        self.jobs: dict[str, dict[int, SimJob]] = {name: {} for name in self.most}
        self.in_flight: list[Hire] = []
        self.reports: dict[str, LastReport] = {}
        self.status: dict[str, Any] = {}
        self.visible = True
        self.generation = 1
        self.deletion_time: datetime | None = None
        self.finished = False
        self.last_plan: Plan | None = None
        self.decided: Callable[[], None] = lambda: None
        self.writes = 0
        self.told: set[str] = set()
        self.messages: set[str] = set()

    # What people and the platform do

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def scale(self, replicas: int) -> None:
        self.spec = self.spec | {"replicas": replicas}
        self.generation += 1

    def suspend(self, what: str) -> None:
        self.spec = self.spec | {"suspend": what}
        self.generation += 1

    def keep_regions(self, names: Collection[str]) -> None:
        """Take all other regions out of the spec; those that are named and were taken out are added again."""
        kept = [region(name, maxReplicas=most) for name, most in self.most.items() if name in names]
        self.spec = self.spec | {"regions": kept or self.spec["regions"]}
        self.generation += 1

    def all_jobs(self) -> Iterator[SimJob]:
        for jobs in self.jobs.values():
            yield from jobs.values()

    def live(self, name: str) -> list[SimJob]:
        return [job for job in self.jobs[name].values() if job.live]

    def supply(self) -> list[SimJob]:
        return [job for job in self.all_jobs() if job.live and not job.drained and job.state != "CancelRequested"]

    def start(self, job: SimJob) -> None:
        """A node takes the job; the agent looks at its session before its first pull."""
        if phase_of(job.state) is Phase.PENDING:
            job.state, job.started = "Running", self.now
            self.obey(job)

    def preempt(self, job: SimJob) -> None:
        if job.state == "Running":
            job.state = "Queued"

    def end(self, job: SimJob, state: str) -> None:
        if job.live:
            job.state, job.ended = state, self.now

    def obey(self, job: SimJob) -> None:
        """The worker reads its orders in turn."""
        while job.inbox and job.state == "Running":
            order = job.inbox.popleft()
            if order.revision < job.revision:
                continue
            job.revision = order.revision
            job.drained = order.operation is Operation.GRACEFUL_DOWNSCALE
            job.drain_id = order.id if job.drained else None

    def report(self, job: SimJob, busy: int = 1) -> None:
        if job.state == "Running":
            said = State(
                job=job.name, time=self.now, busy_slots=busy, completed=0, failed=0, accepting=not job.drained,
                drain_id=job.drain_id, revision=job.revision,
            )  # fmt: skip
            self.reports[job.name] = LastReport.of(said)

    def forget(self) -> None:
        """The status is wiped, and the operator restarts and with it forgets what workers reported."""
        self.status, self.reports = {}, {}
        self.advance(1)

    def land(self) -> None:
        """PUTs that were in flight arrive."""
        for hire in self.in_flight:
            self._put(hire)
        self.in_flight = []

    # The operator

    @property
    def desired(self) -> Desired:
        return Desired(
            "ns", "wf", "inst1234", self.generation, WorkforceSpec.model_validate(self.spec), self.deletion_time
        )

    @property
    def stored(self) -> WorkforceStatus:
        return WorkforceStatus.model_validate(self.status)

    def pass_(self, faults: Faults | None = None) -> Plan:
        """One pass of the operator; ``Crash`` if it was killed on the way."""
        faults = faults or Faults()
        self.writes = 0
        status = self.stored
        ledger = read_ledger(status)
        observed = self.observe(ledger, faults)
        decided = plan(self.desired, observed, ledger)
        self.last_plan = decided
        self.decided()
        if decided.ledger != ledger:
            status = announce(self.desired, observed, decided, status)
            self._store(status, faults)
        for number, action in enumerate(decided.actions):
            self._act(action, number, faults)
        if decided.finished:
            self.finished = True
            return decided
        self._store(build_status(self.desired, observed, decided, Outcomes(), status), faults)
        return decided

    def observe(self, ledger: Ledger, faults: Faults) -> Observed:
        regions: dict[str, Known[RegionJobs] | Unknown] = {}
        for name in region_places(self.desired, ledger):
            if name in faults.hide:
                regions[name] = Unknown("Unavailable", "hidden")
            else:
                regions[name] = Known(self._read(name, ledger.regions.get(name), faults), self.now)
        return Observed(
            now=self.now,
            regions=regions,
            queue=Known(QueueDepth(1 if self.visible else 0, self.visible), self.now),
            control=Unknown("Unavailable")
            if faults.control_down
            else Known(self.desired.spec.control is not None, self.now),
            reports=dict(self.reports),
        )

    def _read(self, name: str, ledger: RegionLedger | None, faults: Faults) -> RegionJobs:
        jobs = self.jobs.get(name, {})
        if ledger is None or ledger.next_sequence is None:
            return RegionJobs(tuple(job.seen() for job in jobs.values()))
        opened = {number: job for number, job in jobs.items() if number // COHORT_SIZE in ledger.open_cohorts}
        listed = [job for job in opened.values() if not (faults.lag and self.now - job.created < LIST_LAG)]
        reserved = {
            sequence
            for cohort in ledger.open_cohorts
            for sequence in reserved_in(cohort, ledger.first_sequence, ledger.next_sequence)
        }
        missing = sorted(reserved - {job.sequence for job in listed})
        asked = missing[: faults.read_at_most]
        found = [jobs[number] for number in asked if number in jobs]
        absent = frozenset(number for number in asked if number not in jobs)
        return RegionJobs(
            tuple(job.seen() for job in (*listed, *found)),
            absent=absent,
            late=absent.intersection(hire.sequence for hire in self.in_flight if hire.region == name),
            unread=frozenset(missing[faults.read_at_most :]),
        )

    def _act(self, action: Action, number: int, faults: Faults) -> None:
        match action:
            case Hire():
                self._check_reserved(action)
                if number in faults.lose:
                    self.in_flight.append(action)
                else:
                    self._put(action)
            case SendOrder():
                self._send(action, faults)
            case CancelPending():
                if action.order is None or self._send(action.order, faults):
                    job = self._job(action.region, action.job)
                    if job is not None and phase_of(job.state) is Phase.PENDING:
                        self.end(job, "Canceled")
            case Cancel():
                job = self._job(action.region, action.job)
                assert job is not None
                self._check_may_cancel(job)
                self.end(job, "Canceled")
            case Resume():
                raise AssertionError("nothing is paused here")
        self._written(faults)

    def _send(self, action: SendOrder, faults: Faults) -> bool:
        if faults.control_down:
            return False
        job = self._job(action.region, action.job)
        if action.order.operation is Operation.GRACEFUL_DOWNSCALE:
            self._check_in_ledger(action)
            self.told.add(action.job)
        if job is not None and job.live and action.message_id not in self.messages:
            self.messages.add(action.message_id)
            job.inbox.append(action.order)
            job.told = action.order.operation is Operation.GRACEFUL_DOWNSCALE
        return True

    def _put(self, hire: Hire) -> None:
        """Idempotent by name: a job that exists, ended or not, stays what it is."""
        jobs = self.jobs[hire.region]
        if hire.sequence in jobs:
            return
        jobs[hire.sequence] = SimJob(hire.region, hire.job, hire.sequence, "Queued", self.now)
        assert len(self.live(hire.region)) <= self.most[hire.region], "more live jobs than maxReplicas"

    def _store(self, status: WorkforceStatus, faults: Faults) -> None:
        self.status = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        self._written(faults)

    def _written(self, faults: Faults) -> None:
        self.writes += 1
        if faults.die_after is not None and self.writes > faults.die_after:
            raise Crash

    def _job(self, region: str, name: str) -> SimJob | None:
        return next((job for job in self.jobs[region].values() if job.name == name), None)

    # What must never happen

    def _check_reserved(self, hire: Hire) -> None:
        next_sequence = read_ledger(self.stored).regions[hire.region].next_sequence
        assert next_sequence is not None, "hired before the names in use were known"
        assert hire.sequence < next_sequence, "hired under a name that was not reserved"

    def _check_in_ledger(self, action: SendOrder) -> None:
        waves = read_ledger(self.stored).regions[action.region].waves
        sequence = int(action.job.rsplit("-", 1)[1])
        assert any(sequence in wave.jobs and wave.revision == action.order.revision for wave in waves), (
            "told to leave without the ledger knowing"
        )

    def _check_may_cancel(self, job: SimJob) -> None:
        spec = self.desired.spec
        allowed = spec.deletion_policy == "Cancel" or spec.drain.on_deadline == "Cancel"
        assert phase_of(job.state) is not Phase.RUNNING or allowed, "a running job was cancelled"

    # Bringing it to rest

    def settle(self, seconds: float = 30) -> None:
        """No faults any more: jobs start, drained workers finish, and the operator passes until nothing changes."""
        quiet = 0
        for _ in range(60):
            self.land()
            for job in list(self.all_jobs()):
                self.start(job)
                self.obey(job)
                self.report(job)
                if job.drained and job.state == "Running":
                    self.end(job, "Completed")
            before = self.status
            decided = self.pass_()
            self.advance(seconds)
            quiet = quiet + 1 if not decided.actions and self.status == before else 0
            if self.finished or quiet == 2:
                return
        raise AssertionError(f"no rest after 60 passes; the last plan was {self.last_plan}")
