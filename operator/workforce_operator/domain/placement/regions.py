"""From the spec, the ledger and what was read to the sites that placement works with. Pure translation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from workforce_operator.api.spec import Region, Suspend
from workforce_operator.domain.capacity import free_by_region
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Ledger, RegionLedger
from workforce_operator.domain.observed import Job, Known, Observed
from workforce_operator.domain.placement.sites import Site
from workforce_operator.domain.shrink import recallable
from workforce_operator.domain.situation import Seen

UNREADABLE_GRACE = timedelta(minutes=2)
"""An outage shorter than this moves nothing: what is hired elsewhere would have to be drained again soon."""


def sites_of(
    desired: Desired,
    observed: Observed,
    ledger: Ledger,
    seen: Mapping[str, Seen],
    *,
    moved: frozenset[str],
    channels_awaited: frozenset[str],
) -> list[Site]:
    """The regions of the spec, in its order.

    Args:
        desired: The Workforce.
        observed: What was read.
        ledger: What is intended, with an entry for every region of the spec.
        seen: The regions that could be read.
        moved: Regions that are emptied where they were before: they can hold nobody yet.
        channels_awaited: Regions where nobody is hired before their control channel is ready.
    """
    pass_ = _Pass(desired, observed, channels_awaited)
    clusters = {name: reading.value for name, reading in observed.capacity.items() if isinstance(reading, Known)}
    places = {name: known.coordinates for name, known in ledger.regions.items()}
    free = free_by_region(
        {name: cluster for name, cluster in clusters.items() if name in places},
        places,
        {name: len(each.count.pending) for name, each in seen.items()},
        {name: each.count.placed for name, each in seen.items()},
    )
    return [
        _moved(region, ledger.regions[region.name])
        if region.name in moved
        else _site(
            pass_,
            region,
            ledger.regions[region.name],
            seen.get(region.name),
            free=free.get(region.name),
            quota=region.name in clusters and clusters[region.name].quota,
        )
        for region in desired.spec.regions
    ]


class _Pass:
    """What is the same for all regions of a pass."""

    def __init__(self, desired: Desired, observed: Observed, channels_awaited: frozenset[str]) -> None:
        self.desired, self.now = desired, observed.now
        self.patience = timedelta(seconds=desired.spec.placement.queued_timeout_seconds)
        self._suspended = desired.deleting or desired.spec.suspend is Suspend.SCALE_UP_ONLY
        self._observed, self._awaited = observed, channels_awaited

    def back(self, seen: Seen) -> int:
        """Workers that can be told to stay after all."""
        if self.desired.spec.control is None or not (self._may_hire(seen.name) and self._observed.can_order(seen.name)):
            return 0
        return len(recallable(self.desired, seen.count, seen.waves, self.now))

    def is_cooling(self, known: RegionLedger) -> bool:
        """Whether jobs were moved away from a region so lately that the next ones wait."""
        return known.moved is not None and self.now - known.moved < self.patience

    def queued(self, seen: Seen) -> int:
        """Jobs that have waited for a node for too long."""
        # Who never ran can be cancelled without a channel, but not past one that is to be there and is not.
        can_cancel = self.desired.spec.control is None or self._observed.can_order(seen.name)
        if not (self._may_hire(seen.name) and can_cancel):
            return 0
        return sum(self._has_waited(job) for job in seen.count.pending)

    def _has_waited(self, job: Job) -> bool:
        since = _waits_since(job, self._observed)
        return since is not None and self.now - since >= self.patience

    def _may_hire(self, region: str) -> bool:
        return not self._suspended and region not in self._awaited


def _site(
    pass_: _Pass, region: Region, known: RegionLedger, seen: Seen | None, *, free: int | None, quota: bool
) -> Site:
    cooling = pass_.is_cooling(known)
    return Site(
        name=region.name,
        least=region.min_replicas,
        most=region.max_replicas,
        share=known.share,
        count=None if seen is None else seen.count,
        held=_held(region, known, pass_.now) if seen is None else None,
        back=0 if seen is None else pass_.back(seen),
        free=free,
        quota=quota,
        trials=None if known.circuit is None else known.circuit.allowed(pass_.now),
        unhired=0 if seen is None else _unhired(known, seen),
        queued=0 if seen is None or cooling else pass_.queued(seen),
        cooling=cooling,
        priority=region.priority,
        weight=region.weight,
        hourly_cost=None if region.hourly_cost is None else Decimal(region.hourly_cost),
    )


def _unhired(known: RegionLedger, seen: Seen) -> int:
    """How much of the share was never hired, or has not come about."""
    return max(0, (known.share or 0) - known.filled) + len(known.hiring & seen.count.absent)


def _waits_since(job: Job, observed: Observed) -> datetime | None:
    """The last time that a pending job is known not to have waited yet; None = it may have lost its node just now.

    AzureML tells when it started last, and not when it lost its node.
    """
    seen = observed.waits.get(job.name)
    if job.started is not None and seen is None:
        return None
    said = (observed.reports.get(job.name), observed.last_words.get(job.name))
    times = (job.created, job.started, seen, *(each.time for each in said if each is not None))
    return max((time for time in times if time is not None), default=None)


def _moved(region: Region, known: RegionLedger) -> Site:
    """Its jobs are laid off where they are; for placement nobody is here."""
    return Site(region.name, least=0, most=0, share=0 if known.share is None else known.share)


def _held(region: Region, known: RegionLedger, now: datetime) -> int | None:
    since = known.unreadable_since
    if since is None or now - since < UNREADABLE_GRACE:
        return None
    return known.may_hold(region.max_replicas)
