"""Whose place is given up when fewer replicas are wanted: chosen over all regions at once, those that lose least.

Gives numbers per region only. Within a region the jobs are chosen by the same order (``ranking``), so that the number
and the jobs belong together; and a job that has started in between changes the jobs, not the number.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby, islice, repeat
from typing import Any

from workforce_operator.domain.observed import Job
from workforce_operator.domain.placement.even import Slot, lowered
from workforce_operator.domain.placement.sites import Site
from workforce_operator.domain.placement.strategies import cost
from workforce_operator.domain.ranking import Loss, Ranking, youth

_Members = tuple[Site, Sequence[Job]]


def cut_vacancies(
    amount: int, sites: Sequence[Site], shares: Mapping[str, int], least: Mapping[str, int]
) -> dict[str, int]:
    """How many places are given up, by region: the dearest regions first, evenly among equals.

    Args:
        amount: At most so many in all.
        sites: Regions that may give places up.
        shares: The present shares.
        least: By region, what its share does not fall below: places that somebody holds, and minReplicas.
    """
    cuts: dict[str, int] = {}
    groups: defaultdict[Decimal, list[Slot]] = defaultdict(list)
    for site in sites:
        share = shares[site.name]
        groups[cost(site)].append(Slot(site.name, min(least[site.name], share), share))
    for key in sorted(groups, reverse=True):
        after = lowered(amount, groups[key])
        part = {name: shares[name] - number for name, number in after.items() if number < shares[name]}
        amount -= sum(part.values())
        cuts |= part
    return cuts


def cut_victims(
    amount: int,
    sites: Sequence[Site],
    shares: Mapping[str, int],
    floors: Mapping[str, int],
    rankings: Mapping[str, Ranking],
) -> dict[str, int]:
    """How many jobs leave, by region. Sites must be readable.

    Supply beyond a share leaves anyway, and first: only what is within the share is chosen here.
    """
    cuts: dict[str, int] = defaultdict(int)
    spare = {site.name: max(0, shares[site.name] - floors[site.name]) for site in sites}
    beyond = {site.name: max(0, site.supply - shares[site.name]) for site in sites}
    if not any(beyond.values()):
        # As it mostly is: no region has too many, and none is cut below its floor. Then the first ones simply go.
        first = Counter(islice(_in_order(amount, sites, rankings), amount))
        if all(number <= spare[name] for name, number in first.items()):
            return dict(first)
    for name in _in_order(amount + sum(beyond.values()), sites, rankings):
        if not amount:
            break
        if beyond[name]:
            beyond[name] -= 1
        elif spare[name]:
            spare[name] -= 1
            cuts[name] += 1
            amount -= 1
    return dict(cuts)


def _in_order(number: int, sites: Sequence[Site], rankings: Mapping[str, Ranking]) -> Iterator[str]:
    """The region of each job in the order in which jobs are given up; a class that goes as a whole is not sorted."""
    for loss, members in _classes(sites, rankings):
        size = sum(len(jobs) for _, jobs in members)
        if size <= number:
            for site, jobs in members:
                yield from repeat(site.name, len(jobs))
        else:
            yield from _sorted(loss, members, rankings)
        number -= min(number, size)


def _classes(sites: Sequence[Site], rankings: Mapping[str, Ranking]) -> Iterator[tuple[Loss, list[_Members]]]:
    """Supply in classes, the first to leave first.

    Of those that lose the same the dearest leave first; of busy ones what they lose comes before what they cost.
    """
    by_cost = [list(group) for _, group in groupby(sorted(sites, key=cost, reverse=True), key=cost)]
    for classes in zip(*(rankings[site.name].classes() for site in sites), strict=True):
        loss, jobs = classes[0][0], {site.name: members for site, (_, members) in zip(sites, classes, strict=True)}
        for group in [sites] if loss is Loss.BUSY else by_cost:
            yield loss, [(site, jobs[site.name]) for site in group]


def _sorted(loss: Loss, members: Sequence[_Members], rankings: Mapping[str, Ranking]) -> Iterator[str]:
    names: list[str] = []
    keys: list[Any] = []
    for site, jobs in members:
        ranking = rankings[site.name]
        ages = map(youth(loss, ranking.reports), ranking.in_order(loss))
        keys += ((since, cost(site), sequence) for since, sequence in ages) if loss is Loss.BUSY else ages
        names += repeat(site.name, len(jobs))
    return (names[place] for place in sorted(range(len(keys)), key=keys.__getitem__, reverse=True))
