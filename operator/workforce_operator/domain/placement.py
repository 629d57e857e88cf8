"""How many of the desired replicas each region gets. Deterministic, so that a restart moves nothing.

Fixed ``replicas`` are spread evenly within every region's minReplicas and maxReplicas; ties go by the spec's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one region's share."""

    name: str
    least: int
    most: int


def distribute(replicas: int, regions: Sequence[Limits]) -> dict[str, int]:
    """Shares by region name, as if each replica in turn went to the region that has the fewest and has room.

    Every region starts at its minReplicas if there are enough replicas for all of them, else at zero. What exceeds
    the sum of maxReplicas is left out.
    """
    replicas = min(replicas, sum(region.most for region in regions))
    if replicas < sum(region.least for region in regions):
        regions = [Limits(region.name, 0, region.most) for region in regions]
    level = _level(replicas, regions)
    shares = {region.name: _at(region, level) for region in regions}
    remainder = replicas - sum(shares.values())
    for region in regions:
        if remainder and _at(region, level + 1) > shares[region.name]:
            shares[region.name] += 1
            remainder -= 1
    return shares


def with_unreadable(shares: Mapping[str, int], regions: Sequence[Limits], held: Mapping[str, int]) -> dict[str, int]:
    """Shares when some regions cannot be read: what such a region surely does not hold moves to the others.

    Args:
        shares: As if every region could be read.
        regions: Bounds of all regions.
        held: By unreadable region, how many jobs it may hold at most.
    """
    pinned = {name: min(shares[name], most) for name, most in held.items() if name in shares}
    if all(pinned[name] == shares[name] for name in pinned):
        return dict(shares)
    limits = [
        Limits(region.name, pinned[region.name], pinned[region.name]) if region.name in pinned else region
        for region in regions
    ]
    moved = distribute(sum(shares.values()), limits)
    # Laying off elsewhere counts the unreadable region as nothing: nobody's share shrinks because of it.
    return {name: pinned[name] if name in pinned else max(moved[name], share) for name, share in shares.items()}


def _at(region: Limits, level: int) -> int:
    return min(max(level, region.least), region.most)


def _level(replicas: int, regions: Sequence[Limits]) -> int:
    """The highest level up to which all regions can be filled without exceeding the replicas."""
    low, high = 0, max((region.most for region in regions), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(_at(region, middle) for region in regions) <= replicas:
            low = middle
        else:
            high = middle - 1
    return low
