"""Reads the world for one pass: every region, the queue and every control channel, each with its own timeout.

It decides nothing: what could not be read becomes an `Unknown` with its reason and never an empty list. Only open
cohorts are listed, and lists may lag; so every reserved name that a list does not show is read by itself, and a
workspace whose names in use were not known is listed twice.

Invariant: a sequence counts as absent only if its name was read and did not exist, or if this process has reserved it
and knows that it never sent anything under it. The memory of that is short and only spares reads: a name that was
taken since is found by the hire itself, which is idempotent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog

from workforce_operator.api.spec import Control, Queue
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.cohorts import reserved_in
from workforce_operator.domain.desired import control_of
from workforce_operator.domain.errors import Fenced, Missing, OperatorError, SpecError, request_of
from workforce_operator.domain.ledger import RegionLedger
from workforce_operator.domain.observed import Job, Known, Observed, QueueDepth, RegionJobs, Unknown
from workforce_operator.ports.azure import LATE_SECONDS, Capacity, ControlChannel, TaskQueueDepth, WorkerJobs, Workplace
from workforce_operator.ports.kubernetes import Clock
from workforce_operator.reconcile.telemetry import Source, Telemetry
from workforce_operator.reconcile.together import flat_group, together
from workforce_operator.reconcile.waits import Waits

log = structlog.stdlib.get_logger(__name__)
T = TypeVar("T")

MAX_READS = 50
"""Names read one by one in each pass and region; the others wait for a later pass."""

READS_AT_ONCE = 8
ABSENT_SECONDS = 300.0
"""How long an answer "there is no such job" is remembered."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be read for one Workforce.

    Attributes:
        installation_id: Whose jobs are ours.
        places: By region name, for every region of the spec and of the ledger.
        ledger: By region name; a region without an entry has no reserved names that we know of.
        queue: The task queue, or None if it is not known any more.
        queue_read: A reading of it that is still young enough; else it is read anew.
        control: The control channel of ``spec.control``, or None if there is none; regions may have another.
        hold: Nothing may be made or remembered: the control channels are not looked after, and nothing is listed again.
    """

    installation_id: str
    places: Mapping[str, Workplace]
    ledger: Mapping[str, RegionLedger]
    queue: Queue | None
    control: Control | None
    queue_read: Known[QueueDepth] | None = None
    hold: bool = False

    @property
    def channels(self) -> dict[Control, tuple[str, ...]]:
        """The control channels that somebody listens on, each with its regions."""
        found: dict[Control, tuple[str, ...]] = {}
        for name, place in self.places.items():
            control = control_of(self.control, place.coordinates)
            if control is not None:
                found[control] = (*found.get(control, ()), name)
        return found


class Absences:
    """Names that do not exist, as known for a short time, and hires that may still be on their way to such names.

    Args:
        clock: Seconds.
        seconds: How long an absence is known.
        settled: Whether all hires of former leaders have arrived; see ``ports.azure.WriteGuard``.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        seconds: float = ABSENT_SECONDS,
        settled: Callable[[], bool] = lambda: True,
    ) -> None:
        self._clock, self._seconds, self._settled = clock, seconds, settled
        self._known: dict[str, dict[int, float]] = {}
        self._sent: dict[str, dict[int, float]] = {}

    def note(self, prefix: str, sequence: int) -> None:
        """The name does not exist now."""
        self._known.setdefault(prefix, {})[sequence] = self._clock()

    def sending(self, prefix: str, sequence: int) -> None:
        """A hire is about to be sent under the name."""
        self._known.get(prefix, {}).pop(sequence, None)
        self._sent.setdefault(prefix, {})[sequence] = self._clock()

    def answered(self, prefix: str, sequence: int) -> None:
        """The hire has arrived, or was refused, or was never sent."""
        self._sent.get(prefix, {}).pop(sequence, None)

    def recent(self, prefix: str, missing: frozenset[int]) -> frozenset[int]:
        """Which of the missing names are known not to exist; all others, and old answers, are dropped."""
        return self._young(self._known, prefix, missing, self._seconds)

    def late(self, prefix: str, missing: frozenset[int]) -> frozenset[int]:
        """Which of the missing names a hire may be on its way to; what is known of all others is dropped."""
        own = self._young(self._sent, prefix, missing, LATE_SECONDS)
        return own if self._settled() else missing

    def are_settled(self) -> bool:
        """Whether no hire can be on its way any more: none of this process, nor of a former leader."""
        now = self._clock()
        own = any(now - at < LATE_SECONDS for sent in self._sent.values() for at in sent.values())
        return not own and self._settled()

    def _young(
        self, times: dict[str, dict[int, float]], prefix: str, among: frozenset[int], seconds: float
    ) -> frozenset[int]:
        now = self._clock()
        kept = {number: at for number, at in times.pop(prefix, {}).items() if number in among and now - at < seconds}
        if kept:
            times[prefix] = kept
        return frozenset(kept)


class Observer:
    """Reads through the ports.

    Args:
        jobs: The worker jobs.
        depth: The task queue.
        control: The control channel.
        capacity: The nodes of the computes.
        clock: The time of readings.
        telemetry: Told about readings that were not possible.
        absences: Memory of names that do not exist, shared with the executor.
        source_seconds: Longest time for one reading.
    """

    def __init__(
        self,
        *,
        jobs: WorkerJobs,
        depth: TaskQueueDepth,
        control: ControlChannel,
        capacity: Capacity,
        clock: Clock,
        telemetry: Telemetry,
        absences: Absences,
        source_seconds: float = 60.0,
    ) -> None:
        self._jobs, self._depth, self._control, self._capacity = jobs, depth, control, capacity
        self._clock, self._telemetry, self._absences = clock, telemetry, absences
        self._seconds = source_seconds
        self._told: dict[tuple[str, Source], Unknown] = {}
        self._waits = Waits()

    async def observe(self, subject: Subject) -> Observed:
        """Read everything. Raises only `Fenced`; every other failure is a reading that is unknown."""
        async with flat_group() as group:
            regions = {
                name: group.create_task(self._region(subject, name), name=f"observe {name}") for name in subject.places
            }
            capacity = {
                name: group.create_task(self._nodes(subject, name), name=f"observe nodes of {name}")
                for name in subject.places
            }
            queue = group.create_task(self._queue(subject), name="observe queue")
            listeners = subject.channels
            channels = {
                control: group.create_task(self._channel(subject, control, names), name="observe control")
                for control, names in listeners.items()
            }
        seen = {name: task.result() for name, task in regions.items()}
        waits = [self._waits.seen(subject.places[name].prefix, reading) for name, reading in seen.items()]
        workers = {control: _names(seen[name] for name in names) for control, names in listeners.items()}
        return Observed(
            now=self._clock.now(),
            regions=seen,
            queue=queue.result(),
            control=channels[subject.control].result() if subject.control in channels else self._not_configured(),
            own_control={
                name: channels[control].result()
                for control, names in listeners.items()
                for name in names
                if control != subject.control
            },
            capacity={name: task.result() for name, task in capacity.items()},
            reports={job: state for each in workers.items() for job, state in self._control.reports(*each).items()},
            last_words={job: said for each in workers.items() for job, said in self._control.last_words(*each).items()},
            finished=tuple(finished for each in channels for finished in self._control.take_finished(each)),
            waits={job: since for each in waits for job, since in each.items()},
        )

    async def _region(self, subject: Subject, name: str) -> Known[RegionJobs] | Unknown:
        place, ledger = subject.places[name], subject.ledger.get(name)
        with structlog.contextvars.bound_contextvars(region=name):
            return await self._read(
                Source.REGION, place.prefix, lambda: self._jobs_of(place, ledger, hold=subject.hold)
            )

    async def _nodes(self, subject: Subject, name: str) -> Known[ClusterCapacity] | Unknown:
        place = subject.places[name]
        with structlog.contextvars.bound_contextvars(region=name):
            read = await self._read(Source.CAPACITY, place.prefix, lambda: self._capacity.read(place))
        if isinstance(read, Unknown):
            return read
        if read.value is None:
            return Unknown("NotTold", "this kind of compute does not tell its nodes")
        return Known(read.value, read.at)

    async def _queue(self, subject: Subject) -> Known[QueueDepth] | Unknown:
        queue = subject.queue
        if queue is None:
            return Unknown("NotRead", "the queue is not known")
        if subject.queue_read is not None:
            return subject.queue_read
        return await self._read(Source.QUEUE, queue.model_dump_json(), lambda: self._depth.read(queue))

    def _not_configured(self) -> Known[bool]:
        return Known(value=False, at=self._clock.now())

    async def _channel(self, subject: Subject, control: Control, regions: tuple[str, ...]) -> Known[bool] | Unknown:
        if subject.hold:
            return Unknown("Suspended", "not looked at while suspend is Hold")
        topics = frozenset(subject.places[name].coordinates.topic for name in regions)

        async def ensure() -> bool:
            await self._control.ensure(control, topics, subject.installation_id)
            return True

        return await self._read(Source.CONTROL, control.service_bus.namespace, ensure)

    async def _read(self, source: Source, what: str, read: Callable[[], Awaitable[T]]) -> Known[T] | Unknown:
        request: dict[str, str] = {}
        try:
            async with asyncio.timeout(self._seconds):
                value = await read()
        except Fenced:
            raise
        except TimeoutError:
            unknown = Unknown("Timeout", f"no answer within {self._seconds:g} s")
        except OperatorError as error:
            unknown, request = Unknown.because(error), request_of(error)
        else:
            if self._told.pop((what, source), None) is not None:
                log.info("readable again", source=source.value)
            return Known(value, self._clock.now())
        self._telemetry.read_failed(source)
        if self._told.get((what, source)) != unknown:
            # Once per change: an outage of hours is one line, not one per pass.
            log.warning("cannot be read", source=source.value, reason=unknown.reason, detail=unknown.message, **request)
            self._told[what, source] = unknown
        return unknown

    async def _jobs_of(self, place: Workplace, ledger: RegionLedger | None, *, hold: bool) -> RegionJobs:
        if ledger is None or ledger.next_sequence is None:
            return RegionJobs(jobs=await self._jobs.list_owned(place), complete=True)
        reserved = frozenset(
            sequence
            for number in ledger.open_cohorts
            for sequence in reserved_in(number, ledger.first_sequence, ledger.next_sequence)
        )
        # Under Hold nothing is remembered, so that it would be listed at every pass.
        complete = ledger.is_due(self._clock.now()) and not hold
        listed = await self._listed(place, ledger, complete=complete)
        missing = reserved - {job.sequence for job in listed}
        absent = self._absences.recent(place.prefix, missing)
        asked = sorted(missing - absent)[:MAX_READS]
        found, gone = await self._read_names(place, asked)
        absent |= gone
        return RegionJobs(
            jobs=(*listed, *found),
            absent=absent,
            unread=missing - absent - {job.sequence for job in found},
            late=self._absences.late(place.prefix, missing) & absent,
            complete=complete,
        )

    async def _listed(self, place: Workplace, ledger: RegionLedger, *, complete: bool) -> tuple[Job, ...]:
        if complete:
            return await self._jobs.list_owned(place)
        return await self._jobs.list_cohorts(place, ledger.open_cohorts) if ledger.open_cohorts else ()

    async def _read_names(self, place: Workplace, sequences: list[int]) -> tuple[tuple[Job, ...], frozenset[int]]:
        """Read names one by one; gives the jobs found and the sequences that do not exist. Others stay unread."""
        answers = await together((self._get(place, sequence) for sequence in sequences), at_once=READS_AT_ONCE)
        gone = frozenset(number for number, answer in zip(sequences, answers, strict=True) if answer is None)
        for number in gone:
            self._absences.note(place.prefix, number)
        return tuple(answer for answer in answers if isinstance(answer, Job)), gone

    async def _get(self, place: Workplace, sequence: int) -> Job | Unknown | None:
        name = f"{place.prefix}-{sequence}"
        try:
            return await self._jobs.get(place, name)
        except SpecError as error:
            # Somebody else's job has our name. The name is burnt: as good as one of ours that was cancelled.
            return Job(name, sequence, "Canceled", error=str(error))
        except (Fenced, Missing):
            raise
        except OperatorError as error:
            return Unknown.because(error)


def _names(readings: Iterable[Known[RegionJobs] | Unknown]) -> list[str]:
    return [job.name for reading in readings if isinstance(reading, Known) for job in reading.value.jobs]
