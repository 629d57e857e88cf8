"""The strategies: over which regions growth is divided. Each gives what it can place and leaves the rest.

All of them respect maxReplicas and what is known to be free: a job that would only wait in a full cluster is not hired
there. Where nothing is known, only maxReplicas bounds: unknown is neither zero nor, with a strategy that asks for free
capacity, as good as known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

from workforce_operator.api.spec import Strategy
from workforce_operator.domain.placement.even import Slot, raised
from workforce_operator.domain.placement.sites import Site

_DEAREST = Decimal("Infinity")


def grow(strategy: Strategy, amount: int, sites: Sequence[Site], shares: Mapping[str, int]) -> dict[str, int]:
    """The shares of the sites after growing by ``amount``, or by as much as there is room for.

    Args:
        strategy: How growth is divided.
        amount: Replicas to place.
        sites: Where hiring is possible now, in the spec's order.
        shares: The present shares, for every site.
    """
    match strategy:
        case Strategy.CAPACITY_AWARE:
            return _capacity_aware(amount, sites, shares)
        case Strategy.SPREAD:
            return _even(amount, sites, shares)
        case Strategy.WEIGHTED:
            return _even(amount, sites, shares, weighted=True)
        case Strategy.PRIORITY:
            return _in_turn(amount, sites, shares, lambda site: -site.priority)
        case Strategy.CHEAPEST:
            return _in_turn(amount, sites, shares, cost)


def cost(site: Site) -> Decimal:
    """Cost of one replica for an hour; a region that does not tell it is taken for the dearest."""
    return _DEAREST if site.hourly_cost is None else site.hourly_cost


def _capacity_aware(amount: int, sites: Sequence[Site], shares: Mapping[str, int]) -> dict[str, int]:
    """Where nodes are known to be free, by the division of ai4s-jobq; what is left evenly over regions not known."""
    known = [site for site in sites if site.free is not None]
    after = _averages(amount, known, shares)
    left = amount - sum(after[site.name] - shares[site.name] for site in known)
    return after | _even(left, [site for site in sites if site.free is None], shares)


def _averages(amount: int, sites: Sequence[Site], shares: Mapping[str, int]) -> dict[str, int]:
    """Each its average, the fullest first; what one has no room for is carried over to the next.

    ai4s-jobq takes one more than the average where the amount divides evenly; we do not, so that equal regions get
    equal parts.
    """
    after, average, carry = {site.name: shares[site.name] for site in sites}, -(-amount // max(1, len(sites))), 0
    for site in sorted(sites, key=lambda site: site.room(shares[site.name])):
        part = min(average + carry, site.room(shares[site.name]), amount)
        carry += average - part
        amount -= part
        after[site.name] += part
    return after


def _even(amount: int, sites: Iterable[Site], shares: Mapping[str, int], *, weighted: bool = False) -> dict[str, int]:
    slots = [
        Slot(
            site.name,
            shares[site.name],
            shares[site.name] + site.room(shares[site.name]),
            site.weight if weighted else 1,
        )
        for site in sites
    ]
    return raised(amount, slots)


def _in_turn(
    amount: int, sites: Sequence[Site], shares: Mapping[str, int], key: Callable[[Site], Any]
) -> dict[str, int]:
    """Groups of equal sites, one after the other; evenly within a group."""
    after: dict[str, int] = {}
    for _, group in groupby(sorted(sites, key=key), key=key):
        part = _even(amount, group, shares)
        amount -= sum(number - shares[name] for name, number in part.items())
        after |= part
    return after
