"""The cap over all regions: `autoscaling.maxReplicas` counts everything that lives, whoever it is (rule 2).

Workers that are told to leave go on living until their tasks end, and those of a region that cannot be read may live.
What is hired beside them must fit under the cap too; what does not fit waits. Each region's own `maxReplicas` is kept
where names are given out (``hire``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import Observed, Unknown
from workforce_operator.domain.shrink import recallable
from workforce_operator.domain.situation import Situation


def with_room(
    desired: Desired, observed: Observed, ledger: Ledger, situations: Mapping[str, Situation]
) -> dict[str, Situation]:
    """The situations, with the hires that the cap leaves those for which it is too low; none without autoscaling.

    Hires that were decided before come first, because they may be under way; then growth, then replacements, each in
    the order of the regions.
    """
    scaling = desired.spec.autoscaling
    if scaling is None:
        return dict(situations)
    elsewhere = sum(_may_hold(name, desired, observed, ledger) for name in ledger.regions if name not in situations)
    free = scaling.max_replicas - elsewhere - sum(each.count.possibly_live for each in situations.values())
    hires = {name: _hires(each) for name, each in situations.items()}
    # A hire that may still arrive is counted, wanted or not; it is repeated under its own name, and first.
    late = {name: len(each.count.late) for name, each in situations.items()}
    left = free - sum(late.values())
    room: dict[str, int] = {}
    for name, number in late.items():
        room[name] = max(0, min(number, hires[name].all, free))
        free -= room[name]
    for turn in zip(*hires.values(), strict=True):
        for name, wanted in zip(hires, turn, strict=True):
            more = max(0, min(wanted - room[name], left))
            room[name] += more
            left -= more
    return {
        name: replace(each, room=room[name]) if room[name] < hires[name].all else each
        for name, each in situations.items()
    }


def _may_hold(name: str, desired: Desired, observed: Observed, ledger: Ledger) -> int:
    """How many may live in a region that cannot be read."""
    reading = observed.regions.get(name)
    if isinstance(reading, Unknown) and reading.is_missing:
        return 0
    most = next((region.max_replicas for region in desired.spec.regions if region.name == name), 0)
    return ledger.regions[name].may_hold(most)


class _Hires(NamedTuple):
    """How many hires a region has use for, each number with those before it in it."""

    under_way: int
    growth: int
    all: int


def _hires(situation: Situation) -> _Hires:
    everybody = _all(situation)
    # One that was decided, and is not wanted any more because the share has fallen, takes no room from another region.
    under_way = min(len(situation.ledger.hiring & situation.count.absent), everybody)
    growth = min(under_way + max(0, situation.share - situation.ledger.filled), everybody)
    return _Hires(under_way, growth, everybody)


def _all(situation: Situation) -> int:
    """Everybody who may be hired here now: whoever is taken back lives already, and needs no room."""
    if not situation.may_hire:
        return 0
    count, back = situation.count, 0
    if situation.can_order:
        back = len(recallable(situation.desired, count, situation.ledger.waves, situation.now))
    missing = max(0, situation.share - count.supply - back - len(count.unread))
    return missing if situation.limit is None else min(missing, situation.limit)
