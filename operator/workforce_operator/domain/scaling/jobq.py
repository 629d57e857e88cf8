"""The policy ``JobQ``: the published table of steps and the published ramp.

``published`` gives the numbers of ai4s-jobq 3.13.1. ``propose`` is what decides here; it differs in two ways, for the
reasons given there: the ramp never makes a fleet smaller, and tasks that are all being run call for nobody else.
"""

from __future__ import annotations

from workforce_operator.domain.observed import QueueDepth
from workforce_operator.domain.scaling.backlog import Fleet, Proposal, bounded_by_work
from workforce_operator.domain.words import counted

STEPS = ((100_000, 5000), (50_000, 2000), (10_000, 1000), (1000, 400), (100, 50), (20, 15), (10, 5))
"""Replicas for a backlog of more than so many rounds; a round is a task for each slot of one replica."""
FEWEST = 1
RAMP = 10
"""So many replicas for each running one, and for one more."""


def step(tasks: int, tasks_per_replica: int) -> int:
    """The step of the table for a backlog of at least one task."""
    rounds = tasks // tasks_per_replica
    return next((replicas for more_than, replicas in STEPS if rounds > more_than), FEWEST)


def ramp(running: int) -> int:
    """The most replicas beside so many running ones."""
    return RAMP * (1 + running)


def published(tasks: int, running: int, tasks_per_replica: int, most: int) -> int:
    """The number as it was published, from the tasks in the queue, those being run included, and the running jobs."""
    if tasks == 0:
        return 0
    return min(ramp(running), step(tasks, tasks_per_replica), tasks, most)


def propose(depth: QueueDepth, fleet: Fleet, *, tasks_per_replica: int, current: int) -> Proposal:
    """What the policy asks for, before any limit of the spec.

    Args:
        depth: The queue.
        fleet: The workers.
        tasks_per_replica: Tasks that one replica works on at once.
        current: Replicas wanted until now. The ramp holds growth back and nothing else: when many workers lose their
            nodes at once, those that wait for new ones stay.
    """
    tasks = depth.length
    if tasks == 0:
        return Proposal(0, "no tasks")
    wanted = step(tasks, tasks_per_replica)
    allowed = max(ramp(fleet.running), current)
    steps = tasks // tasks_per_replica
    text = f"{counted(tasks, 'task')} / {tasks_per_replica} per replica = {steps}: step {wanted} of the table"
    if allowed < wanted:
        text += f", ramp {RAMP} × (1 + {fleet.running} running) = {ramp(fleet.running)}"
    return bounded_by_work(Proposal(min(wanted, allowed, tasks), text), depth, fleet)
