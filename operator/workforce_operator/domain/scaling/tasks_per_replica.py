"""The policy ``TasksPerReplica``: as many replicas as the backlog fills, as a HorizontalPodAutoscaler does it.

A metric with a target of type AverageValue is what this is; the tolerance is that autoscaler's default.
"""

from __future__ import annotations

from fractions import Fraction

from workforce_operator.domain.observed import QueueDepth
from workforce_operator.domain.scaling.backlog import Fleet, Proposal, bounded_by_work
from workforce_operator.domain.words import counted

TOLERANCE = Fraction(1, 10)
"""A backlog that is off the target by no more than this share changes nothing."""


def propose(depth: QueueDepth, fleet: Fleet, *, tasks_per_replica: int, current: int) -> Proposal:
    """What the policy asks for, before any limit of the spec.

    Args:
        depth: The queue; tasks that are being run need their replicas as much as those that wait.
        fleet: The workers.
        tasks_per_replica: The target.
        current: Replicas wanted until now.
    """
    tasks = depth.length
    wanted = -(-tasks // tasks_per_replica)
    text = f"{counted(tasks, 'task')} / {tasks_per_replica} per replica = {wanted}"
    target = current * tasks_per_replica
    if target and wanted != current and abs(tasks - target) <= TOLERANCE * target:
        wanted = current
        text += f", within {TOLERANCE.numerator * 100 // TOLERANCE.denominator} % of {current}"
    return bounded_by_work(Proposal(wanted, text), depth, fleet)
