"""What befalls nodes: announced by their metadata services, and then done, withdrawn, or approved of and done at once.

One task per event. An event is told to all machines of a cluster, as Azure tells all of a placement group, and names
the one that it is about. Invariant: an event is taken off every machine's document when it is over, however it went.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from workforce_local.azureml.cluster import Cluster
from workforce_local.azureml.jobs import Job
from workforce_local.azureml.node import Node
from workforce_local.azureml.states import Interruption
from workforce_local.imds import EventType, ScheduledEvent

_STARTED_SECONDS = 1.0
"""How long an event is shown as started."""


@dataclass(frozen=True)
class Notice:
    """What is announced.

    Attributes:
        event_type: Preempt and Terminate take the node away, Reboot and Redeploy end what runs on it, Freeze stops it
            for `duration_seconds`.
        seconds: Between the announcement and the deed; an approval shortens it.
        withdraw_after: Seconds after which the event is taken back; None is never.
        duration_seconds: As in the event; -1 is unknown.
    """

    event_type: EventType = "Preempt"
    seconds: float = 30.0
    withdraw_after: float | None = None
    duration_seconds: int = -1


class Event:
    """One event of one node and what comes of it."""

    def __init__(self, cluster: Cluster, node: Node, job: Job | None, notice: Notice) -> None:
        self.node = node
        self._cluster = cluster
        self._job = job
        self._notice = notice
        self._approved = asyncio.Event()
        self._told: Sequence[Node] = ()
        not_before = datetime.now(UTC) + timedelta(seconds=notice.seconds)
        self._document = ScheduledEvent(
            notice.event_type, (node.node_id,), not_before, duration_seconds=notice.duration_seconds,
            description=f"Virtual machine is going to be affected: {notice.event_type}.",
        )  # fmt: skip

    @property
    def event_id(self) -> str:
        """As the machines know it."""
        return self._document.event_id

    def announce(self) -> None:
        """Tell the machines."""
        self._told = self._cluster.nodes()
        for machine in self._told:
            machine.metadata.events.schedule(self._document, self._approved.set)

    async def run(self) -> bool:
        """Until it is over. Returns whether it happened; a withdrawn one did not."""
        try:
            if not await self._comes():
                return False
            for machine in self._told:
                machine.metadata.events.begin(self.event_id)
            await self._happen()
            await asyncio.sleep(_STARTED_SECONDS)
            return True
        finally:
            for machine in self._told:
                machine.metadata.events.withdraw(self.event_id)

    async def _comes(self) -> bool:
        withdrawn = self._notice.withdraw_after
        withdraws = withdrawn is not None and withdrawn < self._notice.seconds
        patience = withdrawn if withdraws else self._notice.seconds
        try:
            await asyncio.wait_for(self._approved.wait(), patience)
        except TimeoutError:
            return not withdraws
        return True

    async def _happen(self) -> None:
        match self._notice.event_type:
            case "Preempt" | "Terminate":
                take(self._cluster, self.node, self._job, preempted=self._notice.event_type == "Preempt")
            case "Reboot" | "Redeploy":
                if (job := self._current()) is not None and job.life is not None:
                    job.life.interrupt(Interruption.LOST)
            case "Freeze":
                await self._freeze()

    async def _freeze(self) -> None:
        process = self.node.process
        if process is None:
            return
        process.freeze()
        try:
            await asyncio.sleep(max(0, self._notice.duration_seconds))
        finally:
            process.thaw()

    def _current(self) -> Job | None:
        """The job, if it is on the node still."""
        return self._job if self._job is not None and self.node.job == self._job.name else None


def take(cluster: Cluster, node: Node, job: Job | None, *, preempted: bool) -> None:
    """Take a node away at once, and what runs on it."""
    if job is not None and node.job == job.name and job.life is not None:
        job.life.interrupt(Interruption.PREEMPTED if preempted else Interruption.LOST)
    cluster.lose(node, preempted=preempted)
