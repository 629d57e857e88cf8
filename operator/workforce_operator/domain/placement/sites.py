"""What placement knows of one region, and what it decided about all of them. Words only, no decision."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from workforce_operator.domain.counting import Count


class Why(StrEnum):
    """Why a share changed."""

    FOUND = "Found"
    """The share was not known: it begins at the jobs that are there."""
    GROWTH = "Growth"
    """More replicas are wanted."""
    TAKEN_BACK = "TakenBack"
    """More replicas are wanted, and workers that were told to leave can stay."""
    SHRINK = "Shrink"
    """Fewer replicas are wanted, and those whose leaving loses least are here, or they were never hired."""
    LIMIT = "Limit"
    """The region may have fewer than it had, or none: maxReplicas, or its place is not free yet."""
    MIN_REPLICAS = "MinReplicas"
    """The region must have at least so many."""
    KEPT = "Kept"
    """A worker too many here stands in for one that is missing elsewhere: nobody leaves and nobody is hired."""
    UNREADABLE = "Unreadable"
    """The region cannot be read for a while: what it surely does not hold moves away."""


@dataclass(frozen=True, slots=True)
class Site:
    """One region of the spec, as placement sees it.

    Attributes:
        least: minReplicas.
        most: maxReplicas; 0 = nobody may be here, for example until it is empty where it was before.
        share: Replicas that were placed here before; None = not known.
        count: Its jobs; None = it cannot be read.
        held: While it cannot be read: the most that it may hold, if what it does not hold may move; else None.
        back: Workers that were told to leave and can be taken back now.
        free: Further jobs that would find a node; None = not known.
        priority: Higher first, with strategy Priority.
        weight: For strategy Weighted.
        hourly_cost: Of one replica; None = not told.
    """

    name: str
    least: int
    most: int
    share: int | None = None
    count: Count | None = None
    held: int | None = None
    back: int = 0
    free: int | None = None
    priority: int = 0
    weight: int = 1
    hourly_cost: Decimal | None = None

    @property
    def readable(self) -> bool:
        """Whether its jobs are known."""
        return self.count is not None

    @property
    def supply(self) -> int:
        """Jobs that count towards desired, as far as they are known."""
        return 0 if self.count is None else self.count.supply

    @property
    def perhaps(self) -> int:
        """Supply, and names that could not be read and may be supply."""
        return 0 if self.count is None else self.count.supply + len(self.count.unread)

    def room(self, share: int) -> int:
        """How many more may be placed here, by maxReplicas and by what is free beyond the jobs not hired yet."""
        by_limit = max(0, self.most - share)
        if self.free is None:
            return by_limit
        return min(by_limit, max(0, self.free - max(0, share - self.perhaps)))


@dataclass(frozen=True, slots=True)
class Shift:
    """One region's share changed by ``change``."""

    region: str
    change: int
    why: Why


@dataclass(frozen=True, slots=True)
class Placement:
    """Where replicas are.

    Attributes:
        shares: By region name.
        shifts: What changed in this pass, in order; kept for explanations.
        unplaced: Replicas wanted that no region has room for.
        postponed: Replicas too many that are laid off only when all regions can be read.
    """

    shares: dict[str, int]
    shifts: tuple[Shift, ...] = ()
    unplaced: int = 0
    postponed: int = 0
