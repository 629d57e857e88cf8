"""The operator's memory of intentions: which names are reserved and which jobs were told to leave.

The ledger lives in the status. A new one is written, under a resourceVersion precondition, before the acts that it
announces; so a crash between any two lines neither forgets a hire nor drains one worker more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from jobq.names import cohort
from workforce_operator.api.spec import DrainMode
from workforce_operator.api.status import (
    CircuitStatus,
    DrainState,
    DrainWave,
    FastEnds,
    Range,
    RegionCoordinates,
    RegionStatus,
    ResolvedEnvironment,
    ScaleDecision,
    WorkforceStatus,
)
from workforce_operator.domain.circuit import Circuit
from workforce_operator.domain.observed import Outcome
from workforce_operator.domain.value import value
from workforce_operator.domain.words import cut

SURVEY_AGAIN = timedelta(minutes=15)
"""Jobs that a list does not show after so long were not there when it was first read."""

LONGEST_MESSAGE = 500
"""Of a failure that is remembered."""


@value
class Wave:
    """One drain wave; ``jobs`` are sequences, or else ``count`` says how many. See ``api.status.DrainWave``."""

    id: str
    mode: DrainMode
    state: DrainState
    revision: int
    jobs: frozenset[int]
    sent: datetime
    deadline: datetime
    reason: str
    count: int = 0


@dataclass(frozen=True, slots=True)
class Pin:
    """The version that an environment's label stands for, for the template with this hash."""

    template_hash: str
    version: str


@value
class Row:
    """Workers of one region that ended fast one after the other, as far as they have been replaced.

    Attributes:
        outcome: All of them completed, or all failed.
        template: Hash of the template that was hired then; an edit begins another row.
        replaced: How many were replaced.
        until: When the last of them ended.
    """

    outcome: Outcome
    template: str | None
    replaced: int
    until: datetime


@value
class RegionLedger:
    """What is intended for one region, and what was last known of it.

    Attributes:
        share: Replicas placed here; None = not decided yet, or forgotten.
        next_sequence: First sequence that is not reserved; None until the names in use are known.
        first_sequence: Names below are of an earlier region of this name, and are not reserved here.
        filled: How many of the desired replicas have been hired at least once.
        hiring: Sequences of hires that were decided and whose jobs have not been seen yet; they go on by themselves.
        idle: Replicas whose workers completed, and whose replacement waits for work.
        failing: Replicas whose workers failed, and whose replacement waits for a back-off.
        row: Workers that ended fast one after the other: the longer the row, the longer the next one waits.
        environment: What the environment's label stands for; None = not looked up.
        open_cohorts: Cohorts that must be listed.
        waves: Drains and recalls under way.
        surveyed: When the names in use were first listed; they are once more ``SURVEY_AGAIN`` later, because lists lag.
            None = that is done.
        restored: When the ledger began anew with jobs alive: some of them may be draining without a wave knowing it.
        moved: When jobs that waited for too long were last moved away from here.
        circuit: Failures of hires here; no intention, so a change of it alone is no change of the ledger.
        reserved: Upper bound of the jobs that may live here, as of the last reading; None = never read. No intention,
            so a change of it alone is no change of the ledger.
        unreadable_since: Since when the region cannot be read. No intention either.
    """

    coordinates: RegionCoordinates
    share: int | None = None
    next_sequence: int | None = None
    first_sequence: int = 0
    filled: int = 0
    hiring: frozenset[int] = frozenset()
    idle: int = 0
    failing: int = 0
    row: Row | None = None
    environment: Pin | None = None
    open_cohorts: frozenset[int] = frozenset()
    waves: tuple[Wave, ...] = ()
    surveyed: datetime | None = None
    restored: datetime | None = None
    moved: datetime | None = None
    circuit: Circuit | None = field(default=None, compare=False)
    reserved: int | None = field(default=None, compare=False)
    unreadable_since: datetime | None = field(default=None, compare=False)

    def is_due(self, now: datetime) -> bool:
        """Whether all jobs are to be listed: their names are not known, or perhaps not all of them."""
        return self.next_sequence is None or (self.surveyed is not None and now >= self.surveyed + SURVEY_AGAIN)

    def knows(self, sequence: int) -> bool:
        """Whether a job under this name is seen without listing all."""
        reserved = self.first_sequence <= sequence < (self.next_sequence or 0)
        return reserved and cohort(sequence) in self.open_cohorts

    def may_hold(self, most: int) -> int:
        """How many jobs may live here while nobody can read it; ``most`` is its maxReplicas (rule 1)."""
        return most if self.reserved is None else self.reserved


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is intended for one Workforce.

    Attributes:
        regions: By name; also regions that were taken out of the spec and are not empty yet.
        decision: How many replicas were wanted when it was last decided, and why. Written with every intention that
            follows from it, and no intention itself: a change of it alone is no change of the ledger.
        next_sequence: First sequence that no region which was taken out has ever reserved.
    """

    regions: Mapping[str, RegionLedger] = field(default_factory=dict)
    decision: ScaleDecision | None = field(default=None, compare=False)
    next_sequence: int = 0

    def without(self, regions: Collection[str]) -> Ledger:
        """The ledger less these regions, whose names are not given out again.

        An order to a job that has gone waits for it in the queue, and would be taken by another one of the same name.
        """
        reserved = [self.regions[name].next_sequence or 0 for name in regions]
        kept = {name: region for name, region in self.regions.items() if name not in regions}
        return replace(self, regions=kept, next_sequence=max([self.next_sequence, *reserved]))


def read_ledger(status: WorkforceStatus) -> Ledger:
    """The ledger that a status holds."""
    regions = {region.name: _read_region(region) for region in status.regions}
    return Ledger(regions, status.last_scale_decision, status.next_sequence or 0)


def write_ledger(status: WorkforceStatus, ledger: Ledger) -> WorkforceStatus:
    """The status with this ledger instead of the one it holds; regions that the ledger does not have are gone."""
    known = {region.name: region for region in status.regions}
    regions = [
        (known.get(name) or RegionStatus(name=name, coordinates=region.coordinates)).model_copy(
            update=_ledger_fields(region)
        )
        for name, region in ledger.regions.items()
    ]
    changed = {
        "regions": regions,
        "next_sequence": ledger.next_sequence or None,
        "last_scale_decision": ledger.decision,
    }
    return status.model_copy(update=changed)


def to_ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted closed ranges that cover exactly the numbers."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def _read_region(status: RegionStatus) -> RegionLedger:
    return RegionLedger(
        coordinates=status.coordinates,
        share=status.desired,
        next_sequence=status.next_sequence,
        first_sequence=status.first_sequence or 0,
        filled=status.filled,
        hiring=_numbers(status.hiring),
        idle=status.idle,
        failing=status.failing,
        row=_read_row(status.fast_ends),
        environment=Pin(status.environment.template_hash, status.environment.version) if status.environment else None,
        open_cohorts=_numbers(status.open_cohorts),
        waves=tuple(_read_wave(wave) for wave in status.drains),
        surveyed=status.surveyed_time,
        restored=status.restored_time,
        moved=status.moved_time,
        circuit=_read_circuit(status.circuit),
        reserved=status.reserved,
        unreadable_since=status.stale_since_time,
    )


def write_circuit(circuit: Circuit | None) -> CircuitStatus | None:
    """The circuit as the status holds it."""
    if circuit is None:
        return None
    return CircuitStatus(
        failures=circuit.failures,
        changed_time=circuit.changed,
        retry_time=circuit.retry_at,
        reason=circuit.reason,
        message=cut(circuit.message, LONGEST_MESSAGE),
    )


def _read_circuit(status: CircuitStatus | None) -> Circuit | None:
    if status is None:
        return None
    return Circuit(status.failures, status.changed_time, status.retry_time, status.reason, status.message)


def _read_wave(wave: DrainWave) -> Wave:
    return Wave(
        id=wave.id,
        mode=wave.mode,
        state=wave.state,
        revision=wave.revision,
        jobs=_numbers(wave.jobs),
        sent=wave.sent_time,
        deadline=wave.deadline_time,
        reason=wave.reason,
        count=wave.count or 0,
    )


def _ledger_fields(region: RegionLedger) -> dict[str, Any]:
    return {
        "coordinates": region.coordinates,
        "desired": region.share,
        "next_sequence": region.next_sequence,
        "first_sequence": region.first_sequence or None,
        "filled": region.filled,
        "hiring": _ranges(region.hiring),
        "idle": region.idle,
        "failing": region.failing,
        "fast_ends": _write_row(region.row),
        "environment": _resolved(region.environment),
        "open_cohorts": _ranges(region.open_cohorts),
        "drains": [_write_wave(wave) for wave in region.waves],
        "surveyed_time": region.surveyed,
        "restored_time": region.restored,
        "moved_time": region.moved,
        "circuit": write_circuit(region.circuit),
        "reserved": region.reserved,
        "stale_since_time": region.unreadable_since,
    }


def _read_row(status: FastEnds | None) -> Row | None:
    if status is None:
        return None
    return Row(Outcome(status.outcome), status.template_hash, status.replaced, status.end_time)


def _write_row(row: Row | None) -> FastEnds | None:
    if row is None:
        return None
    outcome: Literal["Completed", "Failed"] = "Failed" if row.outcome is Outcome.FAILED else "Completed"
    return FastEnds(outcome=outcome, template_hash=row.template, replaced=row.replaced, end_time=row.until)


def _resolved(pin: Pin | None) -> ResolvedEnvironment | None:
    return None if pin is None else ResolvedEnvironment(template_hash=pin.template_hash, version=pin.version)


def _write_wave(wave: Wave) -> DrainWave:
    return DrainWave(
        id=wave.id,
        mode=wave.mode,
        state=wave.state,
        revision=wave.revision,
        jobs=_ranges(wave.jobs),
        sent_time=wave.sent,
        deadline_time=wave.deadline,
        reason=wave.reason,
        count=wave.count or None,
    )


def _numbers(ranges: Iterable[Range]) -> frozenset[int]:
    return frozenset(number for each in ranges for number in range(each.first, each.last + 1))


def _ranges(numbers: Iterable[int]) -> list[Range]:
    return [Range(first=first, last=last) for first, last in to_ranges(numbers)]
