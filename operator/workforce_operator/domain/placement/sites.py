"""What placement knows of one region, and what it decided about all of them. Words only, no decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

from workforce_operator.domain.counting import Count
from workforce_operator.domain.value import value


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
    QUEUED = "Queued"
    """Jobs waited for a node for too long, and another region has one."""
    CIRCUIT = "Circuit"
    """Hires fail here for a while: what is not hired yet moves to where there is room."""
    UNREADABLE = "Unreadable"
    """The region cannot be read for a while: what it surely does not hold moves away."""


@value
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
        quota: It is a quota that bounds what is free.
        trials: Hires that may be tried now; None = any number, 0 = its circuit is open.
        unhired: Part of the share that was never hired, or whose decided hires have not come about.
        queued: Jobs that have waited for a node for too long; 0 while the region is cooling down from the last move.
        cooling: It gave jobs away lately, and takes none that move.
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
    quota: bool = False
    trials: int | None = None
    unhired: int = 0
    queued: int = 0
    cooling: bool = False
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
        """How many more may be placed here: by maxReplicas, and by what is free or tried beyond jobs not hired yet."""
        bounds = [bound for bound in (self.free, self.trials) if bound is not None]
        by_limit = max(0, self.most - share)
        if not bounds:
            return by_limit
        # Whoever is taken back has a node.
        return min(by_limit, max(0, min(bounds) - max(0, share - self.perhaps - self.back)))

    def is_full(self, share: int) -> bool:
        """Whether only what is free keeps more from being placed here."""
        return (
            self.readable and self.trials != 0 and share < self.most and self.free is not None and not self.room(share)
        )


@value
class Shift:
    """One region's share changed by ``change``."""

    region: str
    change: int
    why: Why


@dataclass(frozen=True)
class Placement:
    """Where replicas are.

    Attributes:
        shares: By region name.
        shifts: What changed in this pass, in order; kept for explanations.
        unplaced: Replicas wanted that no region has room for.
        postponed: Replicas too many that are laid off only when all regions can be read.
        full: While something is unplaced: regions that have no node free, and whether a quota is why.
        free: Further jobs that would find a node, by region, as far as it is known.
    """

    shares: dict[str, int]
    shifts: tuple[Shift, ...] = ()
    unplaced: int = 0
    postponed: int = 0
    full: Mapping[str, bool] = field(default_factory=dict)
    free: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def moved(self) -> frozenset[str]:
        """Regions that gave away jobs which had waited for too long."""
        return frozenset(shift.region for shift in self.shifts if shift.why is Why.QUEUED and shift.change < 0)
