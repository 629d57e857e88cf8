"""The status that people and programs read, from what was wanted, observed, decided and done. Pure.

It holds no time that changes at every pass, so that an unchanged world gives an equal status and no write.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from workforce_operator.api.base import GROUP
from workforce_operator.api.status import Condition, RegionStatus, WorkforceStatus
from workforce_operator.domain.actions import Note, Plan
from workforce_operator.domain.conditions import (
    CONTROL_CHANNEL_READY,
    DRAINING,
    PROGRESSING,
    bounded,
    conditions,
    refused_conditions,
    region_conditions,
)
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import write_circuit, write_ledger
from workforce_operator.domain.observed import Known, Observed
from workforce_operator.domain.outcomes import Failure, Outcomes
from workforce_operator.domain.template_hash import template_hash
from workforce_operator.domain.view import View, view

COUNTS_EVERY = timedelta(seconds=30)
"""A status in which only numbers differ is not written more often than this."""

CAPACITY_EVERY = timedelta(minutes=5)
"""One in which only the number of free nodes differs: else each hire had all Workforces of its cluster written."""

_SUMMARY_REGIONS = 4
_COUNTS = {
    "replicas",
    "pending_replicas",
    "running_replicas",
    "paused_replicas",
    "draining_replicas",
    "queue_length",
    "regions_summary",
}
_REGION_COUNTS = {"pending", "running", "paused", "draining", "reserved", "capacity", "message"}


def announce(desired: Desired, observed: Observed, plan: Plan, previous: WorkforceStatus) -> WorkforceStatus:
    """The status to write before the plan's actions: the previous one with the plan's ledger.

    At the first visit it says all that is known already: if the actions work, nothing is left to be written after them.
    Later it does not, because a failure that goes on would be withdrawn and said again in every pass.
    """
    if not previous.conditions:
        return build_status(desired, observed, plan, Outcomes(), previous)
    return _announced(desired, plan, previous)


def build_status(
    desired: Desired, observed: Observed, plan: Plan, outcomes: Outcomes, previous: WorkforceStatus
) -> WorkforceStatus:
    """The status at the end of a pass."""
    seen = view(desired, observed, plan, outcomes, previous)
    announced = _announced(desired, plan, previous)
    return announced.model_copy(
        update={
            "observed_generation": desired.generation,
            "desired_replicas": plan.desired,
            "replicas": seen.supply,
            "pending_replicas": sum(region.pending for region in seen.regions.values()),
            "running_replicas": seen.running,
            "paused_replicas": sum(region.paused for region in seen.regions.values()),
            "draining_replicas": seen.draining,
            "queue_length": observed.queue.value.length if isinstance(observed.queue, Known) else None,
            "template_hash": template_hash(desired.spec.template, desired.spec.queue),
            "regions_summary": _summary(seen),
            "regions": [region.model_copy(update=_region_fields(region, seen)) for region in announced.regions],
            "conditions": conditions(seen, _by_type(previous)),
        }
    )


def refused_status(generation: int, failure: Failure, previous: WorkforceStatus, now: datetime) -> WorkforceStatus:
    """The status of an object whose spec cannot be worked with: nothing is done, and the conditions say why."""
    current = refused_conditions(generation, failure, _by_type(previous), now)
    return previous.model_copy(update={"observed_generation": generation, "conditions": current})


def worth_writing(old: WorkforceStatus, new: WorkforceStatus, now: datetime, last_written: datetime | None) -> bool:
    """Whether a status is to be written: at once if it says something new, numbers alone at most every 30 s.

    The number of free nodes is written at most every five minutes, unless it has become or was zero or unknown.
    """
    if old == new:
        return False
    if _without_counts(old) != _without_counts(new) or _any_live(old) != _any_live(new):
        return True
    pause = CAPACITY_EVERY if _without_free_nodes(old) == _without_free_nodes(new) else COUNTS_EVERY
    # A clock that was put back must not hold numbers back until it has caught up.
    return last_written is None or not timedelta() <= now - last_written < pause


def transitions(old: WorkforceStatus, new: WorkforceStatus) -> tuple[Note, ...]:
    """What a person should hear of because a condition changed: it is a worry, or another one, or none any more.

    Of a Workforce that scales, drains or is suspended, the acts are told by themselves.
    """
    before = _by_type(old)
    notes = []
    for condition in new.conditions:
        known = before.get(condition.type)
        if condition.status == "Unknown" or condition.type in (DRAINING, PROGRESSING):
            continue
        changed = known is None or (known.status, known.reason) != (condition.status, condition.reason)
        warning = _worries(condition)
        if changed and (warning or (known is not None and _worries(known))):
            notes.append(Note(condition.reason, f"{condition.type}: {condition.message}", warning=warning))
    return tuple(notes)


def _worries(condition: Condition) -> bool:
    """Whether it is not as it should be, and not because somebody wants it so."""
    if condition.type == CONTROL_CHANNEL_READY and condition.reason == "NotConfigured":
        return False
    return condition.status == "False" and condition.reason not in ("Scaling", "Draining", "Suspended")


def _announced(desired: Desired, plan: Plan, previous: WorkforceStatus) -> WorkforceStatus:
    return write_ledger(previous, plan.ledger).model_copy(
        update={"installation_id": desired.installation_id, "selector": _selector(desired.name)}
    )


def _region_fields(region: RegionStatus, seen: View) -> dict[str, Any]:
    numbers = seen.regions.get(region.name)
    if numbers is None:
        return {}
    return {
        "pending": numbers.pending,
        "running": numbers.running,
        "paused": numbers.paused,
        "draining": numbers.draining,
        "message": _message(region.name, seen),
        "capacity": seen.free.get(region.name),
        "circuit": write_circuit(seen.circuits.get(region.name)),
        "conditions": region_conditions(region.name, seen, {each.type: each for each in region.conditions}),
    }


def _message(name: str, seen: View) -> str | None:
    failure = seen.unreadable.get(name) or seen.failures.get(name)
    text = failure.message if failure is not None else seen.regions[name].waiting
    return bounded(text) if text else None


def _summary(seen: View) -> str:
    parts = [f"{name}={region.supply}/{region.desired}" for name, region in seen.regions.items()]
    more = len(parts) - _SUMMARY_REGIONS
    return ",".join(parts[:_SUMMARY_REGIONS]) + (f",+{more}" if more > 0 else "")


def _selector(name: str) -> str:
    return f"{GROUP}/name={name}"


def _by_type(status: WorkforceStatus) -> dict[str, Condition]:
    return {condition.type: condition for condition in status.conditions}


def _any_live(status: WorkforceStatus) -> bool:
    """Whether jobs live: the API server decides by it whether the control channel may change."""
    return status.replicas > 0 or status.draining_replicas > 0


def _without_free_nodes(status: WorkforceStatus) -> WorkforceStatus:
    """The status with no more of each region's capacity than whether there is any."""
    regions = [
        region.model_copy(update={"capacity": None if region.capacity is None else min(region.capacity, 1)})
        for region in status.regions
    ]
    return status.model_copy(update={"regions": regions})


def _without_counts(status: WorkforceStatus) -> dict[str, Any]:
    body = status.model_dump(exclude=_COUNTS)
    decision = status.last_scale_decision
    # What the policy asks for follows the queue; what it comes to is news.
    body["last_scale_decision"] = decision and (decision.desired, [clamp.name for clamp in decision.clamps])
    body["regions"] = [
        {key: value for key, value in each.items() if key not in _REGION_COUNTS} for each in body["regions"]
    ]
    body["conditions"] = [
        {key: value for key, value in each.items() if key != "message"} for each in body["conditions"]
    ]
    return body
