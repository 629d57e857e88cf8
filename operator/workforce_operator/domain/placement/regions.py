"""From the spec, the ledger and what was read to the sites that placement works with. Pure translation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from workforce_operator.api.spec import Region, Suspend
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Ledger, RegionLedger
from workforce_operator.domain.observed import Known, Observed
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
    channel_awaited: bool,
) -> list[Site]:
    """The regions of the spec, in its order.

    Args:
        desired: The Workforce.
        observed: What was read.
        ledger: What is intended, with an entry for every region of the spec.
        seen: The regions that could be read.
        moved: Regions that are emptied where they were before: they can hold nobody yet.
        channel_awaited: Nobody is hired before the control channel is ready.
    """
    stays = _may_take_back(desired, observed) and not channel_awaited
    return [
        _moved(region, ledger.regions[region.name])
        if region.name in moved
        else _site(desired, observed, region, ledger.regions[region.name], seen.get(region.name), take_back=stays)
        for region in desired.spec.regions
    ]


def _site(
    desired: Desired, observed: Observed, region: Region, known: RegionLedger, seen: Seen | None, *, take_back: bool
) -> Site:
    back = recallable(desired, seen.count, seen.ledger.waves, observed.now) if seen is not None and take_back else ()
    return Site(
        name=region.name,
        least=region.min_replicas,
        most=region.max_replicas,
        share=known.share,
        count=None if seen is None else seen.count,
        held=_held(region, known, observed.now) if seen is None else None,
        back=len(back),
        priority=region.priority,
        weight=region.weight,
        hourly_cost=None if region.hourly_cost is None else Decimal(region.hourly_cost),
    )


def _moved(region: Region, known: RegionLedger) -> Site:
    """Its jobs are laid off where they are; for placement nobody is here."""
    return Site(region.name, least=0, most=0, share=0 if known.share is None else known.share)


def _held(region: Region, known: RegionLedger, now: datetime) -> int | None:
    since = known.unreadable_since
    if since is None or now - since < UNREADABLE_GRACE:
        return None
    return region.max_replicas if known.reserved is None else known.reserved


def _may_take_back(desired: Desired, observed: Observed) -> bool:
    suspended = desired.spec.suspend is Suspend.SCALE_UP_ONLY
    ordered = desired.spec.control is not None and isinstance(observed.control, Known) and observed.control.value
    return ordered and not (desired.deleting or suspended)
