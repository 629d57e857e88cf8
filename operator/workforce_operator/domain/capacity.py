"""How many more jobs would find a node in a cluster. Words and arithmetic only.

A cluster is shared: other experiments, other Workforces and people run jobs on it. What they run is in its node counts;
what of theirs waits shows in its target, because a cluster asks for nodes for everything that waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workforce_operator.api.status import RegionCoordinates


@dataclass(frozen=True, slots=True)
class ClusterCapacity:
    """The nodes of one cluster, as it tells them.

    Attributes:
        most: The most nodes that it may have.
        target: Nodes that it has or is about to have, whoever they are for.
        running: Nodes that run a job.
        idle: Nodes that run none.
        quota: Nodes that it would like to have are refused by the quota of the region.
    """

    most: int
    target: int
    running: int
    idle: int
    quota: bool = False

    def free(self, pending: int, running: int = 0) -> int:
        """Further jobs that would find a node when ``pending`` jobs of ours wait for one, and ``running`` have one.

        A waiting job counts once: as part of the target if a node is on its way to it, else by itself. Beyond a
        refused quota only idle nodes are free. The node counts may be older than what is known of our jobs: there are
        at least as many nodes in use as jobs of ours that run.
        """
        in_use = max(self.running, running)
        if self.quota:
            return max(0, self.running + self.idle - in_use - pending)
        not_asked_for, not_in_use = self.most - self.target + self.idle, self.most - in_use - pending
        return max(0, min(not_asked_for, not_in_use))


def free_by_region(
    clusters: Mapping[str, ClusterCapacity],
    places: Mapping[str, RegionCoordinates],
    pending: Mapping[str, int],
    running: Mapping[str, int],
) -> dict[str, int]:
    """Further jobs that would find a node, by region.

    Regions of one Workforce may share a cluster: the jobs of all of them count, and each has an equal part of what is
    free, so that no node is promised twice.

    Args:
        clusters: By region, what its cluster tells; a region that is not here is not known.
        places: Where the regions are.
        pending: By region, our jobs that wait for a node.
        running: By region, our jobs that have one.
    """
    sharing: dict[tuple[str, ...], list[str]] = {}
    for name in clusters:
        sharing.setdefault(cluster_key(places[name]), []).append(name)
    parts: dict[str, int] = {}
    for together in sharing.values():
        waiting, placed = (sum(jobs.get(name, 0) for name in together) for jobs in (pending, running))
        free = clusters[together[0]].free(waiting, placed)
        for index, name in enumerate(together):
            parts[name] = free // len(together) + (index < free % len(together))
    return parts


def workspace_key(place: RegionCoordinates) -> tuple[str, ...]:
    """What tells workspaces apart; ARM's names ignore case."""
    return tuple(part.lower() for part in (place.subscription_id, place.resource_group, place.workspace))


def cluster_key(place: RegionCoordinates) -> tuple[str, ...]:
    """What tells clusters apart."""
    return (*workspace_key(place), place.compute.lower())


def no_room(full: Mapping[str, bool]) -> str:
    """For people: which clusters have no node free.

    Args:
        full: Regions without a free node, and whether a quota is why.
    """
    nodes = ", ".join(name for name, quota in full.items() if not quota)
    quotas = ", ".join(name for name, quota in full.items() if quota)
    texts = ((nodes, "no node is free in"), (quotas, "the quota is used up in"))
    return "; ".join(f"{text} {names}" for names, text in texts if names)
