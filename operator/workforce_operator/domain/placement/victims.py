"""Whose place is given up when fewer replicas are wanted: chosen over all regions at once, those that lose least.

Gives numbers per region only. Within a region the jobs are chosen by the same order (``ranking``), so that the number
and the jobs belong together; and a job that has started in between changes the jobs, not the number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from jobq.control import State
from workforce_operator.domain.observed import Job
from workforce_operator.domain.placement.even import Slot, lowered
from workforce_operator.domain.placement.sites import Site
from workforce_operator.domain.placement.strategies import cost
from workforce_operator.domain.ranking import Loss, running_by_loss, within_loss


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
    reports: Mapping[str, State],
) -> dict[str, int]:
    """How many jobs leave, by region. Sites must be readable.

    Supply beyond a share leaves anyway, and first: only what is within the share is chosen here.
    """
    cuts: dict[str, int] = defaultdict(int)
    spare = {site.name: max(0, shares[site.name] - floors.get(site.name, 0)) for site in sites}
    beyond = {site.name: max(0, site.supply - shares[site.name]) for site in sites}
    for site in _in_order(amount + sum(beyond.values()), sites, reports):
        if not amount:
            break
        if beyond[site.name]:
            beyond[site.name] -= 1
        elif spare[site.name]:
            spare[site.name] -= 1
            cuts[site.name] += 1
            amount -= 1
    return dict(cuts)


def _in_order(number: int, sites: Sequence[Site], reports: Mapping[str, State]) -> Iterator[Site]:
    """The region of each job in the order in which jobs are given up; a class that goes as a whole is not sorted."""
    costs = sorted({cost(site) for site in sites}, reverse=True)
    rank = {site.name: costs.index(cost(site)) for site in sites}
    for loss, candidates in _by_loss(sites, reports):
        whole = len(candidates) <= number
        number -= min(number, len(candidates))
        yield from (site for site, _ in (candidates if whole else _sorted(loss, candidates, rank, reports)))


def _by_loss(sites: Sequence[Site], reports: Mapping[str, State]) -> Iterator[tuple[Loss, list[tuple[Site, Job]]]]:
    """Supply in classes of equal loss, the smallest first; running jobs are looked at only if it comes to them."""
    counts = [(site, site.count) for site in sites if site.count is not None]
    yield Loss.NEVER_RAN, [(site, job) for site, count in counts for job in count.pending]
    yield Loss.PAUSED, [(site, job) for site, count in counts for job in count.paused]
    classes: dict[Loss, list[tuple[Site, Job]]] = {
        loss: [] for loss in (Loss.REFUSES, Loss.IDLE, Loss.SILENT, Loss.BUSY)
    }
    for site, count in counts:
        for loss, jobs in running_by_loss(count.running, reports).items():
            classes[loss] += [(site, job) for job in jobs]
    yield from classes.items()


def _sorted(
    loss: Loss, candidates: Iterable[tuple[Site, Job]], rank: Mapping[str, int], reports: Mapping[str, State]
) -> list[tuple[Site, Job]]:
    """Of those that lose the same the dearest first; of busy ones what they lose comes before what they cost."""

    def key(each: tuple[Site, Job]) -> tuple[float, float, int]:
        site, job = each
        within = within_loss(job, loss, reports.get(job.name))
        if loss is Loss.BUSY:
            return within, rank[site.name], -job.sequence
        return rank[site.name], within, -job.sequence

    return sorted(candidates, key=key)
