"""One pass in numbers over all regions: what conditions and messages are made from. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workforce_operator.api.spec import Suspend
from workforce_operator.api.status import ScaleDecision, WorkforceStatus
from workforce_operator.domain.actions import Hire, Plan, RegionPlan
from workforce_operator.domain.channels import Channel, channels
from workforce_operator.domain.circuit import Circuit, after_pass
from workforce_operator.domain.desired import Desired, moved_regions
from workforce_operator.domain.observed import Observed, Unknown
from workforce_operator.domain.outcomes import Failure, Outcomes, why_unknown


@dataclass(frozen=True, slots=True)
class View:
    """Everything that conditions speak of.

    Attributes:
        regions: Numbers by region; those of an unreadable region are the last known ones.
        unreadable: Why, by region.
        failures: Writes that did not work, by region.
        moved: Regions that must be emptied before they can stand elsewhere.
        hired: Whether hires were asked for in this pass.
        wanted: Replicas wanted, over all regions.
        decision: How that came about.
        channels: The control channels; none if there is no ``spec.control``.
        channels_awaited: Regions where nobody is hired before their control channel is ready for the first time.
        circuits: Failures of hires that have not been followed by one that worked, by region, after this pass.
        full: Regions without a free node while something has no place, and whether a quota is why.
        free: Further jobs that would find a node, by region, as far as it is known.
    """

    desired: Desired
    observed: Observed
    regions: Mapping[str, RegionPlan]
    unreadable: Mapping[str, Failure]
    failures: Mapping[str, Failure]
    spec: Failure | None
    channels: tuple[Channel, ...]
    moved: tuple[str, ...]
    hired: bool
    wanted: int
    decision: ScaleDecision | None
    channels_awaited: frozenset[str]
    circuits: Mapping[str, Circuit] = field(default_factory=dict)
    full: Mapping[str, bool] = field(default_factory=dict)
    free: Mapping[str, int] = field(default_factory=dict)

    @property
    def supply(self) -> int:
        """Jobs that count towards desired."""
        return sum(region.supply for region in self.regions.values())

    @property
    def pending(self) -> int:
        """Supply that waits for a node."""
        return sum(region.pending + region.paused for region in self.regions.values())

    @property
    def paused(self) -> int:
        """Those of them that are paused."""
        return sum(region.paused for region in self.regions.values())

    @property
    def running(self) -> int:
        """Supply that has a process."""
        return sum(region.running for region in self.regions.values())

    @property
    def draining(self) -> int:
        """Jobs that were told to leave and have not left."""
        return sum(region.draining for region in self.regions.values())

    @property
    def untouched(self) -> bool:
        """Whether nothing is touched: then shares are those of before, and only all together is compared."""
        return self.desired.spec.suspend is Suspend.HOLD and not self.desired.deleting

    @property
    def idle(self) -> int:
        """Replicas that are missing because there is no work."""
        return sum(region.held for region in self.regions.values() if region.idle)

    @property
    def missing(self) -> int:
        """Replicas that are missing, idle ones not counted."""
        if self.untouched:
            return max(0, self.wanted - self.supply)
        # What a region is to have that was never read is a guess, and no reason to miss more than there are too few.
        guessed = sum(max(0, self.regions[name].desired - self.regions[name].supply) for name in self.unreadable)
        shortage = sum(max(0, region.desired - region.supply) for region in self.regions.values())
        return shortage - guessed + min(guessed, max(0, self.wanted - self.supply)) - self.idle

    @property
    def unplaced(self) -> int:
        """Replicas wanted that no region has a place for while, or just after, others are emptied where they were."""
        if self.desired.deleting or self.untouched or (self.unreadable and not (self.moved or self.full)):
            return 0
        return max(0, self.wanted - sum(region.desired for region in self.regions.values()))

    @property
    def blind(self) -> bool:
        """Whether all that are missing wait only until the queue can be read."""
        return 0 < self.missing <= sum(region.blind for region in self.regions.values())

    @property
    def held(self) -> Unknown | None:
        """Why the number wanted is only held: autoscaling does not know the queue."""
        asks = self.desired.spec.autoscaling is not None and self.desired.spec.suspend in (
            Suspend.NONE,
            Suspend.SCALE_UP_ONLY,
        )
        return self.observed.queue if asks and isinstance(self.observed.queue, Unknown) else None

    @property
    def short(self) -> tuple[str, ...]:
        """Regions where replicas are missing."""
        return tuple(name for name, region in self.regions.items() if region.desired > region.supply)

    @property
    def unheard(self) -> tuple[str, ...]:
        """Those of them where that is because their control channel has never been ready."""
        return tuple(name for name in self.short if name in self.channels_awaited)

    @property
    def excess(self) -> int:
        """Supply that is too much."""
        if self.untouched:
            return max(0, self.supply - self.wanted)
        return sum(max(0, region.supply - region.desired) for region in self.regions.values())

    def waiting(self) -> str:
        """Why something is waited for, over all regions."""
        return "; ".join(f"{name}: {region.waiting}" for name, region in self.regions.items() if region.waiting)


def view(desired: Desired, observed: Observed, plan: Plan, outcomes: Outcomes, previous: WorkforceStatus) -> View:
    """Gather a pass."""
    known = {region.name: region for region in previous.regions}
    regions = {}
    for name, numbers in plan.regions.items():
        last = known.get(name)
        if numbers.readable or last is None:
            regions[name] = numbers
            continue
        regions[name] = RegionPlan(
            desired=numbers.desired,
            supply=last.pending + last.running + last.paused,
            pending=last.pending,
            running=last.running,
            paused=last.paused,
            draining=last.draining,
            live=last.pending + last.running + last.paused + last.draining,
            readable=False,
        )
    readings = {name: observed.regions.get(name) for name, numbers in plan.regions.items() if not numbers.readable}
    return View(
        desired=desired,
        observed=observed,
        regions=regions,
        unreadable={name: why_unknown(reading) for name, reading in readings.items()},
        failures=outcomes.regions,
        spec=outcomes.spec,
        channels=channels(desired.spec.control, plan.ledger, observed, outcomes.control),
        moved=moved_regions(desired, plan.ledger),
        hired=any(isinstance(action, Hire) for action in plan.actions),
        wanted=plan.desired,
        decision=plan.ledger.decision,
        channels_awaited=plan.channels_awaited,
        circuits=_circuits(observed, plan, outcomes),
        full=plan.full,
        free=plan.free,
    )


def _circuits(observed: Observed, plan: Plan, outcomes: Outcomes) -> dict[str, Circuit]:
    after = {
        name: after_pass(region.circuit, outcomes.refused.get(name), hired=name in outcomes.hired, now=observed.now)
        for name, region in plan.ledger.regions.items()
    }
    return {name: circuit for name, circuit in after.items() if circuit is not None}
