"""Each region's share of the desired number. Sticky: without a reason no share changes.

The order of a pass: shares that are not known begin at the supply that is there; a region that may have fewer, or that
cannot be read for long, gives away what it may not or does not have; a worker too many in one region stands in for one
that is missing in another; minReplicas; then growth by the strategy, or shrinking by the victims. Growth goes first to
where workers can be taken back. In the end jobs that waited for too long give their places to where nodes are free.
So an unchanged world changes nothing, and a restart neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workforce_operator.api.spec import Strategy
from workforce_operator.domain.placement.even import Slot, raised
from workforce_operator.domain.placement.sites import Placement, Shift, Site, Why
from workforce_operator.domain.placement.strategies import cost, grow
from workforce_operator.domain.placement.victims import cut_vacancies, cut_victims
from workforce_operator.domain.ranking import Ranking


def place(
    wanted: int, sites: Sequence[Site], strategy: Strategy, rankings: Mapping[str, Ranking] | None = None
) -> Placement:
    """Decide the shares of all regions of the spec.

    Args:
        wanted: Replicas wanted, at most the sum of all maxReplicas.
        sites: The regions in the spec's order.
        strategy: How growth is divided.
        rankings: What each job loses by leaving, for every region that can be read; None = nobody has reported.
    """
    if rankings is None:
        rankings = {site.name: Ranking(site.count, {}) for site in sites if site.count is not None}
    book = _Book(wanted, sites)
    book.begin()
    book.keep()
    book.raise_to_floors()
    missing = wanted - book.total
    if missing > 0:
        book.take_back(missing)
    elif missing < 0:
        book.shrink(-missing, rankings)
    book.leave_open_circuits(strategy)
    book.grow(wanted - book.total, strategy)
    book.move_queued(strategy)
    unplaced = max(0, wanted - book.total)
    full = {site.name: site.quota for site in sites if site.is_full(book.shares[site.name])} if unplaced else {}
    return Placement(
        book.shares,
        tuple(book.shifts),
        unplaced=unplaced,
        postponed=max(0, book.total - wanted),
        full=full,
        free={site.name: site.free for site in sites if site.free is not None},
    )


def even_shares(replicas: int, sites: Sequence[Site]) -> dict[str, int]:
    """Shares by region name, as if each replica in turn went to the region that has the fewest and has room.

    Every region starts at its minReplicas if there are enough replicas for all of them, else at zero. What exceeds
    the sum of maxReplicas is left out.
    """
    enough = replicas >= sum(site.least for site in sites)
    slots = [Slot(site.name, min(site.least, site.most) if enough else 0, site.most) for site in sites]
    return raised(replicas - sum(slot.start for slot in slots), slots)


class _Book:
    """The shares while they are decided, with every change and its reason."""

    def __init__(self, wanted: int, sites: Sequence[Site]) -> None:
        self._wanted, self._sites = wanted, sites
        enough = wanted >= sum(site.least for site in sites)
        self._floors = {site.name: min(site.least, site.most) if enough else 0 for site in sites}
        self.shares: dict[str, int] = {}
        self.shifts: list[Shift] = []

    @property
    def total(self) -> int:
        """Sum of all shares."""
        return sum(self.shares.values())

    def begin(self) -> None:
        """The shares as they were, less what regions may not, or surely do not, have.

        A region that was never read may hold anything. It counts as if it had an even part, as long as that lasts.
        """
        even = even_shares(self._wanted, self._sites) if any(_was_never_read(site) for site in self._sites) else {}
        for site in self._sites:
            known = site.share if site.share is not None else even[site.name] if not site.readable else site.supply
            self.shares[site.name] = known
            if site.share is None and site.readable:
                self._note(site.name, known, Why.FOUND)
            self._change(site.name, min(0, site.most - known), Why.LIMIT)
            if site.held is not None:
                self._change(site.name, min(0, site.held - self.shares[site.name]), Why.UNREADABLE)

    def keep(self) -> None:
        """Move places that nobody holds, and growth, to where somebody is too many."""
        beyond = {
            site.name: min(site.supply, site.most) - self.shares[site.name]
            for site in self._sites
            if min(site.supply, site.most) > self.shares[site.name]
        }
        if not beyond:
            return
        growth = max(0, self._wanted - self.total)
        readable = [site for site in self._sites if site.readable and site.name not in beyond]
        held = self._at_least({site.name: site.perhaps for site in readable})
        cuts = cut_vacancies(sum(beyond.values()) - growth, readable, self.shares, held)
        self._change_all({name: -number for name, number in cuts.items()}, Why.KEPT)
        left = sum(cuts.values()) + growth
        for site in sorted(self._sites, key=cost):
            part = min(left, beyond.get(site.name, 0))
            self._change(site.name, part, Why.KEPT)
            left -= part

    def raise_to_floors(self) -> None:
        """Give regions their minReplicas; what is too many then is taken where it costs least."""
        for site in self._open_sites():
            self._change(site.name, max(0, self._floors[site.name] - self.shares[site.name]), Why.MIN_REPLICAS)

    def take_back(self, missing: int) -> None:
        """Grow where workers that were told to leave can stay."""
        for site in sorted((site for site in self._sites if site.readable), key=cost):
            part = min(missing, site.back, max(0, site.most - self.shares[site.name]))
            self._change(site.name, part, Why.TAKEN_BACK)
            missing -= part

    def grow(self, missing: int, strategy: Strategy) -> None:
        """Grow by the strategy, as far as there is room."""
        if missing <= 0:
            return
        after = grow(strategy, missing, self._open_sites(), self.shares)
        self._change_all({name: number - self.shares[name] for name, number in after.items()}, Why.GROWTH)

    def leave_open_circuits(self, strategy: Strategy) -> None:
        """Take places that were not hired from where hires fail now, as many as the others have room for."""
        leaving = {
            site.name: min(site.unhired, max(0, self.shares[site.name] - max(site.perhaps, self._floors[site.name])))
            for site in self._sites
            if site.readable and site.trials == 0
        }
        missing = max(0, self._wanted - self.total)
        after = grow(strategy, missing + sum(leaving.values()), self._open_sites(), self.shares)
        room = sum(number - self.shares[name] for name, number in after.items()) - missing
        for name, number in leaving.items():
            part = max(0, min(room, number))
            self._change(name, -part, Why.CIRCUIT)
            room -= part

    def move_queued(self, strategy: Strategy) -> None:
        """Give places of jobs that have waited for too long to regions that are known to have nodes free."""
        sources = {
            site.name: min(site.queued, max(0, self.shares[site.name] - self._floors[site.name]))
            for site in sorted(self._sites, key=cost, reverse=True)
            if site.readable and site.queued
        }
        targets = [site for site in self._open_sites() if site.free and not site.queued and not site.cooling]
        if not sources or not targets:
            return
        after = grow(strategy, sum(sources.values()), targets, self.shares)
        gains = {name: number - self.shares[name] for name, number in after.items()}
        left = sum(gains.values())
        for name, number in sources.items():
            part = min(left, number)
            self._change(name, -part, Why.QUEUED)
            left -= part
        self._change_all(gains, Why.QUEUED)

    def shrink(self, excess: int, rankings: Mapping[str, Ranking]) -> None:
        """Give up places that nobody holds, then those that perhaps somebody holds, then those of the least loss.

        Regions and names that cannot be read count as nothing when others are laid off: their workers may be gone.
        What is too many because of a region that cannot be read is decided when it can be.
        """
        readable = [site for site in self._sites if site.readable]
        for held in ({site.name: site.perhaps for site in readable}, {site.name: site.supply for site in readable}):
            vacancies = cut_vacancies(excess, readable, self.shares, self._at_least(held))
            self._change_all({name: -number for name, number in vacancies.items()}, Why.SHRINK)
            excess -= sum(vacancies.values())
        excess = min(excess, sum(self.shares[site.name] for site in readable) - self._wanted)
        if excess > 0:
            victims = cut_victims(excess, readable, self.shares, self._floors, rankings)
            self._change_all({name: -number for name, number in victims.items()}, Why.SHRINK)

    def _at_least(self, held: Mapping[str, int]) -> dict[str, int]:
        """What a share does not fall below while only places are given up that nobody holds."""
        return {name: max(number, self._floors[name]) for name, number in held.items()}

    def _open_sites(self) -> list[Site]:
        """Where somebody may be hired now."""
        return [site for site in self._sites if site.readable and site.trials != 0]

    def _change_all(self, changes: Mapping[str, int], why: Why) -> None:
        for site in self._sites:
            self._change(site.name, changes.get(site.name, 0), why)

    def _change(self, name: str, change: int, why: Why) -> None:
        if change:
            self.shares[name] += change
            self._note(name, change, why)

    def _note(self, name: str, change: int, why: Why) -> None:
        if change:
            self.shifts.append(Shift(name, change, why))


def _was_never_read(site: Site) -> bool:
    return site.share is None and not site.readable
