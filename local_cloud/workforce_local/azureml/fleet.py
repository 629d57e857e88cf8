"""The computes of all workspaces and the virtual clusters: made from the configuration, found by their ids.

Knows what nodes are and where they are; jobs' records are the service's. Invariant: an address on the loopback network
belongs to one node at a time, and a node that was taken away never comes back under its id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from workforce_local.azureml.cluster import Capacity, Cluster, NodeFactory
from workforce_local.azureml.ids import PROVIDER, WorkspaceId
from workforce_local.azureml.jobs import Clock
from workforce_local.azureml.node import Node, Site
from workforce_local.azureml.pace import Pace
from workforce_local.azureml.shapes import CORES_PER_NODE
from workforce_local.azureml.simulated import SimulatedCluster
from workforce_local.config import ComputeConfig, LocalConfig, VirtualClusterConfig, WorkspaceConfig
from workforce_local.identity import Issuer
from workforce_local.imds import Machine, MetadataServer

_CLUSTERS_PER_WORKSPACE = 16


@dataclass(frozen=True)
class Compute:
    """A cluster and where it is."""

    workspace: str
    """Name of its workspace; empty for a virtual cluster."""
    location: str
    config: ComputeConfig
    cluster: Cluster | SimulatedCluster
    virtual: VirtualClusterConfig | None = None

    @property
    def type_name(self) -> str:
        """What AzureML calls such a target in a run's properties."""
        return "singularity" if self.virtual else "amlctrain"


def virtual_cluster_id(subscription: str, config: VirtualClusterConfig) -> str:
    """ARM id of a virtual cluster."""
    return (
        f"/subscriptions/{subscription}/resourceGroups/{config.resource_group}"
        f"/providers/{PROVIDER}/virtualclusters/{config.name}"
    )


class Fleet:
    """All computes. It starts none."""

    def __init__(self, config: LocalConfig, site: Site, issuer: Issuer, clock: Clock) -> None:
        self._config = config
        self._site = site
        self._issuer = issuer
        self._clock = clock
        self._quota = {region.lower(): cores for region, cores in config.scenario.quota.items()}
        self._workspaces = {
            WorkspaceId(config.subscription_id, space.resource_group, space.name).key: {
                compute.name.lower(): self._make(space, compute, _CLUSTERS_PER_WORKSPACE * number + index)
                for index, compute in enumerate(space.computes)
            }
            for number, space in enumerate(config.workspaces)
        }
        first = _CLUSTERS_PER_WORKSPACE * len(config.workspaces)
        self.virtual = {
            virtual_cluster_id(config.subscription_id, given).lower(): self._make_virtual(given, first + number)
            for number, given in enumerate(config.virtual_clusters)
        }

    def of(self, workspace: WorkspaceId) -> dict[str, Compute]:
        """The computes of a workspace, by their names in lower case."""
        return self._workspaces[workspace.key]

    def __iter__(self) -> Iterator[Compute]:
        for computes in self._workspaces.values():
            yield from computes.values()
        yield from self.virtual.values()

    def find(self, workspace: str, compute: str) -> Compute:
        """A compute by the names of its workspace (empty: a virtual cluster) and its own.

        Raises:
            LookupError: There is none.
        """
        wanted = (workspace.lower(), compute.lower())
        for known in self:
            if (known.workspace.lower(), known.config.name.lower()) == wanted:
                return known
        raise LookupError(f"there is no compute '{compute}' in workspace '{workspace}'")

    def node(self, node_id: str) -> tuple[Cluster, Node]:
        """A node that is up.

        Raises:
            LookupError: There is none.
        """
        for compute in self:
            if isinstance(compute.cluster, Cluster):
                for node in compute.cluster.nodes():
                    if node.node_id == node_id:
                        return compute.cluster, node
        raise LookupError(f"no node {node_id} is up")

    async def close(self) -> None:
        """Take all nodes down."""
        for compute in self:
            if isinstance(compute.cluster, Cluster):
                await compute.cluster.close()
            else:
                compute.cluster.close()

    # -- quota

    def set_quota(self, location: str, cores: int | None) -> None:
        """How many cores a region may use from now on; None is any number. Nodes that are there stay."""
        if cores is None:
            self._quota.pop(location.lower(), None)
        else:
            self._quota[location.lower()] = cores
        self._rebalance(location)

    def usage(self, location: str) -> tuple[int, int]:
        """Cores in use, and cores that clusters may have, in a region."""
        here = self._in(location)
        current = CORES_PER_NODE * sum(compute.cluster.counts().current for compute in here)
        most = CORES_PER_NODE * sum(compute.config.max_nodes for compute in here)
        return current, self._quota.get(location.lower(), most)

    def over_quota(self, compute: Compute) -> bool:
        """Whether a compute wants nodes that the region's quota does not allow."""
        counts = compute.cluster.counts()
        return counts.target > counts.current and self._left(compute.location) == 0

    def _has_quota(self, location: str) -> bool:
        return location.lower() in self._quota

    def _left(self, location: str) -> int | None:
        if not self._has_quota(location):
            return None
        current, limit = self.usage(location)
        return max(0, limit - current) // CORES_PER_NODE

    def _rebalance(self, location: str) -> None:
        for compute in self._in(location):
            compute.cluster.balance()

    def _in(self, location: str) -> list[Compute]:
        return [
            compute
            for compute in self
            if compute.virtual is None and compute.location.lower() == location.lower()
        ]  # fmt: skip

    # -- making them

    def _make(self, space: WorkspaceConfig, config: ComputeConfig, number: int) -> Compute:
        capacity = Capacity.of(config)
        capacity.quota = lambda: self._left(space.location)
        capacity.freed = lambda: self._rebalance(space.location) if self._has_quota(space.location) else None
        pace = Pace.of(self._config, space.name, config.name)
        cluster: Cluster | SimulatedCluster
        if config.simulate:
            cluster = SimulatedCluster(capacity, pace, self._clock)
        else:
            factory = self._nodes(space.name, space.resource_group, space.location, config, number)
            cluster = Cluster(config, pace, factory, capacity)
        return Compute(space.name, space.location, config, cluster)

    def _make_virtual(self, given: VirtualClusterConfig, number: int) -> Compute:
        config = ComputeConfig(name=given.name, max_nodes=given.max_nodes, simulate=given.simulate)
        pace = Pace.of(self._config, "", given.name)
        cluster: Cluster | SimulatedCluster
        if given.simulate:
            cluster = SimulatedCluster(Capacity.of(config), pace, self._clock)
        else:
            cluster = Cluster(config, pace, self._nodes("", given.resource_group, given.location, config, number))
        return Compute("", given.location, config, cluster, given)

    def _nodes(self, space: str, group: str, location: str, config: ComputeConfig, number: int) -> NodeFactory:
        generations: dict[int, int] = {}

        def make_node(position: int) -> Node:
            generation = generations[position] = generations.get(position, -1) + 1
            seed = f"{space}/{config.name}/{position}" + (f"/{generation}" if generation else "")
            digest = hashlib.sha256(seed.encode()).hexdigest()
            node_id = f"tvmps_{digest}_{'p' if config.vm_priority == 'LowPriority' else 'd'}"
            machine = Machine(
                name=node_id, location=location, vm_size=config.vm_size,
                subscription_id=self._config.subscription_id, resource_group=group,
                client_id=self._config.node_client_id,
                priority="Spot" if config.vm_priority == "LowPriority" else "Regular",
            )  # fmt: skip
            metadata = MetadataServer(
                machine, self._issuer, host=node_address(number, position), before=self._site.before_imds(machine)
            )
            folder = self._site.state_dir / "nodes" / (space or "virtual") / config.name / str(position)
            return Node(node_id, folder, metadata, self._site)

        return make_node


def node_address(cluster: int, position: int) -> str:
    """The loopback address of a node: 127.64.0.0/10 has room for 64 x 16 clusters of 4096 nodes."""
    number = cluster * 4096 + position + 1
    return f"127.{64 + (number >> 16) % 64}.{(number >> 8) % 256}.{number % 256}"
