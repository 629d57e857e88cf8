"""How many replicas are right in the end, worked out again from the published words and not by the operator's code."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tests.exploration.placing import least_of
from workforce_operator.api.spec import WorkforceSpec

TABLE = ((100, 50), (20, 15), (10, 5))
"""The lower end of the JobQ table, as long as queues are here: more than so many rounds of tasks, so many replicas."""


def possible_numbers(spec: WorkforceSpec, tasks: int, now: datetime) -> list[int]:
    """The numbers of replicas that a spec may end with when so many tasks wait and never get fewer."""
    most = sum(region.max_replicas for region in spec.regions)
    if spec.suspend == "Drain":
        return [0]
    if spec.autoscaling is None:
        return [min(spec.replicas or 0, most)]
    most = min(most, spec.autoscaling.max_replicas)
    least = min(least_of(spec.autoscaling, now), most)
    return sorted({min(max(number, least), most) for number in _asked(spec, tasks)})


def _asked(spec: WorkforceSpec, tasks: int) -> Iterator[int]:
    scaling = spec.autoscaling
    assert scaling is not None
    each = scaling.tasks_per_replica or spec.template.slots
    if tasks <= scaling.activation_tasks:
        yield 0
    if scaling.policy == "JobQ":
        step = next((replicas for more_than, replicas in TABLE if tasks // each > more_than), 1)
        yield min(step, tasks)
        return
    yield -(-tasks // each)
    # A tenth more or less changes nothing.
    yield from (number for number in range(1, 400) if 10 * abs(tasks - number * each) <= number * each)
