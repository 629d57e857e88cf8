"""What scaling policies decide from: the tasks, the workers there are, and what a policy proposes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from workforce_operator.domain.counting import Count
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import Job, Known, LastReport, Observed, Phase, QueueDepth, Unknown
from workforce_operator.domain.recovery import FRESH
from workforce_operator.domain.words import verb


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers of all regions, less those that were told to leave.

    Attributes:
        running: Surely have a process.
        perhaps_running: At most so many have one: those of a region that cannot be read count in full.
        supply: Surely live.
    """

    running: int
    perhaps_running: int
    supply: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a policy asks for, and its arithmetic for people."""

    number: int
    why: str


def fleet(counts: Mapping[str, Count], ledger: Ledger, most: Mapping[str, int]) -> Fleet:
    """Add up the workers.

    Args:
        counts: The jobs of every region that could be read.
        ledger: What is known of the others.
        most: maxReplicas by region, for a region that was never read.
    """
    unread = sum(len(count.unread) for count in counts.values())
    for name, region in ledger.regions.items():
        if name not in counts:
            unread += region.may_hold(most.get(name, 0))
    running = sum(len(count.running) for count in counts.values())
    return Fleet(running, running + unread, sum(count.supply for count in counts.values()))


def bounded_by_work(proposal: Proposal, depth: QueueDepth, fleet: Fleet) -> Proposal:
    """The proposal, less whoever would find nothing to do: tasks that are being run have their workers.

    Each task that waits calls for at most one worker beside those that run. So neither a long task at the tail nor
    tasks that nobody can see, because a lost worker still holds them, hire anybody.
    """
    if depth.waiting is None or proposal.number <= fleet.perhaps_running + depth.waiting:
        return proposal
    number = fleet.perhaps_running + depth.waiting
    waiting, running = depth.waiting, fleet.perhaps_running
    text = f"{waiting} {verb(waiting, 'waits', 'wait')} and {running} {verb(running, 'runs', 'run')}: {number}"
    return Proposal(number, f"{proposal.why}; {text}")


def with_reports(queue: Known[QueueDepth] | Unknown, observed: Observed) -> Known[QueueDepth] | Unknown:
    """The reading of the queue, completed by what workers say they are running.

    Service Bus counts tasks that wait and tasks that are being run as one number. Where live workers have said within
    the last minutes that they run as many as that, none waits.
    """
    if isinstance(queue, Unknown) or queue.value.told_apart or not queue.value.has_visible:
        return queue
    busy = sum(_busy(observed.reports.get(job.name), observed) for job in _running_jobs(observed))
    if busy < queue.value.length:
        return queue
    return Known(replace(queue.value, has_visible=False), queue.at)


def _running_jobs(observed: Observed) -> Iterable[Job]:
    for reading in observed.regions.values():
        if isinstance(reading, Known):
            yield from (job for job in reading.value.jobs if job.phase is Phase.RUNNING)


def _busy(report: LastReport | None, observed: Observed) -> int:
    if report is None or observed.now - report.time >= FRESH:
        return 0
    return report.busy_slots
