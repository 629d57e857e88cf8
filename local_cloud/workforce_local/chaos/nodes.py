"""What happens to nodes and clusters: preemption with its announcement, loss, and no room for anybody.

Works on the fleet and the jobs' lives. It decides only which nodes are hit, with the fault's own randomness. Invariant:
an announcement never outlives what it announced, whether that came, was withdrawn, or the fault was taken away.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from workforce_local.azureml.cluster import Cluster
from workforce_local.azureml.fleet import Compute
from workforce_local.azureml.jobs import Job
from workforce_local.azureml.node import Node
from workforce_local.azureml.service import MachineLearning
from workforce_local.azureml.states import Interruption, Status
from workforce_local.chaos import faults
from workforce_local.chaos.engine import Rule
from workforce_local.imds.events import ScheduledEvent


@dataclass(frozen=True)
class _Victim:
    """A node with a job on it; a simulated job has no node of its own."""

    compute: Compute
    job: Job
    node: Node | None

    @property
    def name(self) -> str:
        return self.node.node_id if self.node is not None else self.job.name

    def announce(self, seconds: float) -> str | None:
        """Tell the node that it will be preempted; returns the event's id."""
        if self.node is None:
            return None
        when = datetime.now(UTC) + timedelta(seconds=seconds)
        return self.node.metadata.events.schedule(ScheduledEvent("Preempt", (self.node.node_id,), when))

    def withdraw(self, event_id: str | None) -> None:
        """The announcement is over."""
        if self.node is not None and event_id is not None:
            self.node.metadata.events.withdraw(event_id)

    def strike(self, how: Interruption) -> bool:
        """Take the node; False if nothing ran on it any more."""
        struck = self.job.life is not None and self.job.life.interrupt(how)
        if struck and self.node is not None and isinstance(self.compute.cluster, Cluster):
            self.compute.cluster.lose(self.node, preempted=how is Interruption.PREEMPTED)
        return struck


class AzureNodes:
    """The nodes of a local Azure."""

    def __init__(
        self, machine_learning: MachineLearning, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._service = machine_learning
        self._sleep = sleep
        self._filled: dict[str, list[tuple[Compute, int]]] = {}

    async def happen(self, fault: faults.NodeHappening, rule: Rule) -> AsyncGenerator[tuple[str, str], None]:
        """Let it happen; yields which nodes it happened to, and how, as it does."""
        chosen = _choose(list(self._victims(fault)), fault.share, rule)
        if isinstance(fault, faults.NodeLoss):
            for victim in chosen:
                if victim.strike(Interruption.LOST):
                    yield victim.name, f"lost with {victim.job.name}"
            return
        # Drawn before anything is awaited, so that the seed alone decides.
        withdrawn = {victim.name for victim in chosen if rule.dice.random() < fault.withdrawn}
        events = {victim.name: victim.announce(fault.notice_seconds) for victim in chosen}
        try:
            for victim in chosen:
                yield victim.name, f"preemption announced to {victim.job.name}"
            await self._sleep(fault.notice_seconds)
            for victim in chosen:
                if victim.name in withdrawn:
                    yield victim.name, "announcement withdrawn"
                elif victim.strike(Interruption.PREEMPTED):
                    yield victim.name, f"preempted with {victim.job.name}"
        finally:
            for victim in chosen:
                victim.withdraw(events[victim.name])

    def fill(self, fault: faults.FullClusters) -> Iterable[tuple[str, str]]:
        """Let others hold all nodes that our jobs do not; returns the clusters."""
        held = self._filled[fault.name or ""] = []
        for compute in self._computes(fault.region):
            held.append((compute, compute.cluster.capacity.shared))
            compute.cluster.share(compute.cluster.capacity.maximum)
            yield f"{compute.workspace}/{compute.config.name}", "full"

    def clear(self, fault: faults.FullClusters) -> None:
        """Give the room back."""
        for compute, before in self._filled.pop(fault.name or "", []):
            compute.cluster.share(before)

    def _computes(self, region: str | None) -> list[Compute]:
        return [
            compute for compute in self._service.fleet if region is None or compute.location.lower() == region.lower()
        ]

    def _victims(self, fault: faults.NodeHappening) -> Iterator[_Victim]:
        running = {job.name: job for job in self._service.records() if job.status is Status.RUNNING}
        for compute in self._computes(fault.region):
            if isinstance(fault, faults.Preemption) and compute.config.vm_priority != "LowPriority":
                continue  # Dedicated nodes are lost at times, but never preempted.
            if isinstance(compute.cluster, Cluster):
                for node in compute.cluster.nodes():
                    if node.job in running:
                        yield _Victim(compute, running[node.job], node)
                continue
            for job in running.values():
                if (job.workspace.workspace, job.cluster) == (compute.workspace, compute.config.name):
                    yield _Victim(compute, job, None)


def _choose(victims: Sequence[_Victim], share: float, rule: Rule) -> list[_Victim]:
    """So many of them, at least one if there are any."""
    number = math.ceil(len(victims) * share)
    return rule.dice.sample(sorted(victims, key=lambda victim: victim.name), number)
