"""Rules over queue, replicas and autoscaling that the API server cannot check, or did not when it stored them."""

from __future__ import annotations

from workforce_operator.api.autoscaling import Autoscaling
from workforce_operator.api.spec import Queue, WorkforceSpec
from workforce_operator.domain.errors import SpecError
from workforce_operator.domain.scaling.schedules import ScheduleError, check


def check_scaling(spec: WorkforceSpec) -> None:
    """Check what the number of replicas follows from.

    Raises:
        SpecError: Only an edit can help; the message names the field.
    """
    _check_queue(spec.queue)
    if spec.autoscaling is not None:
        _check_autoscaling(spec.autoscaling)
    elif spec.replicas is None:
        raise SpecError("spec: replicas or autoscaling must be set")


def _check_queue(queue: Queue) -> None:
    given = {"Storage": queue.storage is not None, "ServiceBus": queue.service_bus is not None}
    if not given[queue.type] or sum(given.values()) > 1:
        field = "storage" if queue.type == "Storage" else "serviceBus"
        raise SpecError(f"spec.queue must have exactly {field} for type {queue.type}")


def _check_autoscaling(scaling: Autoscaling) -> None:
    if scaling.min_replicas > scaling.max_replicas:
        raise SpecError("spec.autoscaling: minReplicas must not be greater than maxReplicas")
    seen: set[str] = set()
    for schedule in scaling.schedules:
        where = f"spec.autoscaling.schedules: {schedule.name}"
        if schedule.name in seen:
            raise SpecError(f"spec.autoscaling.schedules: name {schedule.name} must be unique")
        seen.add(schedule.name)
        if schedule.min_replicas > scaling.max_replicas:
            raise SpecError(f"{where}: minReplicas must not be greater than maxReplicas")
        try:
            check(schedule)
        except ScheduleError as error:
            raise SpecError(f"{where}: {error}", reason="InvalidSchedule") from error
