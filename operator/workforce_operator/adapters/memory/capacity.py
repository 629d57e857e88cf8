"""Clusters without Azure: their nodes are what a test says."""

from __future__ import annotations

from workforce_operator.adapters.memory.faults import Faults
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.errors import Missing
from workforce_operator.ports.azure import Workplace


class MemoryCapacity:
    """Capacities by workspace and compute; a cluster that nobody has described does not tell its nodes."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.missing: set[str] = set()
        self.clusters: dict[tuple[str, str], ClusterCapacity] = {}

    async def read(self, place: Workplace) -> ClusterCapacity | None:
        """See ``ports.azure.Capacity``."""
        with self.faults.call("read", place):
            where = place.coordinates
            if {where.workspace, where.compute} & self.missing:
                raise Missing(f"compute {where.compute} does not exist in workspace {where.workspace}")
            return self.clusters.get((where.workspace, where.compute))
