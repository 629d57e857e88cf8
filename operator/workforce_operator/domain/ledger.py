"""The operator's memory of intentions: which names are reserved and which jobs were told to leave.

The ledger lives in the status. A new one is written, under a resourceVersion precondition, before the acts that it
announces; so a crash between any two lines neither forgets a hire nor drains one worker more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from workforce_operator.api.spec import DrainMode
from workforce_operator.api.status import DrainState, RegionCoordinates


@dataclass(frozen=True, slots=True)
class Wave:
    """One drain wave; ``jobs`` are sequences. See ``api.status.DrainWave``."""

    id: str
    mode: DrainMode
    state: DrainState
    revision: int
    jobs: frozenset[int]
    sent: datetime
    deadline: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class RegionLedger:
    """What is intended for one region. ``next_sequence`` is None until the names in use are known."""

    coordinates: RegionCoordinates
    next_sequence: int | None = None
    filled: int = 0
    open_cohorts: frozenset[int] = frozenset()
    waves: tuple[Wave, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """Intentions of all regions, by name; also of regions that were taken out of the spec and are not empty yet."""

    regions: Mapping[str, RegionLedger] = field(default_factory=dict)


def to_ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted closed ranges that cover exactly the numbers."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges
