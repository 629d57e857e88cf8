"""What happens to nodes and clusters: preemption with its announcement, loss, and no room for anybody.

It chooses which nodes are hit, with the fault's own randomness; what is done to them is `azureml.control`'s. Invariant:
an announcement never outlives what it announced, whether that came, was withdrawn, or the fault was taken away.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable, Sequence

from workforce_local.azureml.control import Control, NodeView
from workforce_local.azureml.fleet import Compute, Fleet
from workforce_local.chaos import faults
from workforce_local.chaos.engine import Rule


class AzureNodes:
    """The nodes of a local Azure."""

    def __init__(self, control: Control, fleet: Fleet) -> None:
        self._control = control
        self._fleet = fleet
        self._filled: dict[str, list[tuple[Compute, int]]] = {}

    async def happen(self, fault: faults.NodeHappening, rule: Rule) -> AsyncGenerator[tuple[str, str], None]:
        """Let it happen; yields which nodes it happened to, and how, as it does."""
        chosen = _choose(self._victims(fault), fault.share, rule)
        if isinstance(fault, faults.NodeLoss):
            for victim in chosen:
                self._control.lose_node(_target(victim))
                yield victim.node_id, f"lost with {victim.job}"
            return
        events: dict[str, NodeView] = {}
        try:
            for victim in chosen:
                withdrawn = fault.notice_seconds / 2 if rule.dice.random() < fault.withdrawn else None
                events[self._control.preempt(_target(victim), fault.notice_seconds, withdrawn)] = victim
            # All at once: an event that is over is not known any more.
            waits = asyncio.gather(*map(self._control.wait, events))
            for victim in events.values():
                yield victim.node_id, f"preemption announced to {victim.job}"
            for victim, happened in zip(events.values(), await waits, strict=True):
                yield victim.node_id, f"preempted with {victim.job}" if happened else "announcement withdrawn"
        finally:
            for event in events:
                self._control.withdraw(event)

    def fill(self, fault: faults.FullClusters) -> Iterable[tuple[str, str]]:
        """Let others hold all nodes that our jobs do not; returns the clusters."""
        held = self._filled[fault.name or ""] = []
        for compute in self._fleet:
            if fault.region is None or compute.location.lower() == fault.region.lower():
                held.append((compute, compute.cluster.capacity.shared))
                compute.cluster.share(compute.cluster.capacity.maximum)
                yield f"{compute.workspace}/{compute.config.name}", "full"

    def clear(self, fault: faults.FullClusters) -> None:
        """Give the room back."""
        for compute, before in self._filled.pop(fault.name or "", []):
            compute.cluster.share(before)

    def _victims(self, fault: faults.NodeHappening) -> list[NodeView]:
        busy = [view for view in self._control.nodes(fault.region) if view.job is not None]
        if isinstance(fault, faults.NodeLoss):
            return busy
        # Dedicated nodes are lost at times, but never preempted.
        low = {(each.workspace, each.config.name) for each in self._fleet if each.config.vm_priority == "LowPriority"}
        return [view for view in busy if (view.workspace, view.compute) in low]


def _target(view: NodeView) -> str:
    """A node by its id; a simulated job's by the job and its workspace."""
    return f"{view.workspace}/{view.job}" if view.workspace and view.node_id == view.job else view.node_id


def _choose(victims: Sequence[NodeView], share: float, rule: Rule) -> list[NodeView]:
    """So many of them, at least one if there are any."""
    number = math.ceil(len(victims) * share)
    return rule.dice.sample(sorted(victims, key=lambda view: (view.workspace, view.node_id)), number)
