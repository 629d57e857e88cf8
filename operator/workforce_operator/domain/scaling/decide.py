"""The number of replicas wanted: policy → activation → behaviour → floor → ceiling, and every clamp that changed it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from workforce_operator.api.autoscaling import Autoscaling, Policy
from workforce_operator.api.spec import Suspend, WorkforceSpec
from workforce_operator.api.status import Clamp, ScaleDecision
from workforce_operator.domain.observed import Known, QueueDepth, Reading, ScalingHistory, Unknown
from workforce_operator.domain.scaling import behavior, jobq, tasks_per_replica
from workforce_operator.domain.scaling.backlog import Fleet, Proposal
from workforce_operator.domain.scaling.schedules import highest
from workforce_operator.domain.words import counted, verb

_POLICIES = {Policy.JOBQ: jobq.propose, Policy.TASKS_PER_REPLICA: tasks_per_replica.propose}
_MIN, _MAX = "autoscaling.minReplicas", "autoscaling.maxReplicas"


@dataclass(frozen=True, slots=True)
class Input:
    """What the number follows from, beside the spec.

    Attributes:
        queue: The task queue.
        fleet: The workers.
        previous: The last decision, or None if it is not known.
        history: What was proposed and decided before; None after a restart.
        now: The time of this pass.
    """

    queue: Known[QueueDepth] | Unknown
    fleet: Fleet
    previous: ScaleDecision | None
    history: ScalingHistory | None
    now: datetime

    @property
    def current(self) -> int:
        """Replicas wanted until now; where that was forgotten, those that live."""
        return self.fleet.supply if self.previous is None else self.previous.desired


@dataclass(frozen=True, slots=True)
class Scaled:
    """A decision, and what the next pass is to be told of it."""

    decision: ScaleDecision
    history: ScalingHistory | None = None


class _Number:
    """A number on its way through the rules, which remembers each that changed it."""

    def __init__(self, value: int) -> None:
        self.value = value
        self.clamps: list[Clamp] = []

    def become(self, value: int, rule: str) -> None:
        if value != self.value:
            self.clamps.append(Clamp(name=rule, before=self.value, to=value))
            self.value = value


def decide(spec: WorkforceSpec, given: Input) -> Scaled:
    """Decide how many replicas are wanted. An unchanged number keeps the time and words of its decision."""
    if spec.autoscaling is None:
        asked = spec.replicas or 0
        number = _Number(asked)
        _ceiling(number, spec)
        why = f"{counted(asked, 'replica')} {verb(asked, 'is', 'are')} asked for"
        return Scaled(_decision(given, number, Proposal(asked, why)))
    return _autoscaled(spec, spec.autoscaling, given)


def _autoscaled(spec: WorkforceSpec, autoscaling: Autoscaling, given: Input) -> Scaled:
    pace = behavior.pace(autoscaling)
    history = behavior.begin(given.history, given.current, given.now)
    proposal = _proposal(autoscaling, spec.template.slots, given, history)
    number, reading = _Number(proposal.number), None
    if isinstance(given.queue, Known):
        reading = Reading(given.queue.at, proposal.number, proposal.why)
        if given.current == 0 and given.queue.value.length <= autoscaling.activation_tasks:
            number.become(0, "autoscaling.activationTasks")
    asked = number.value
    if isinstance(given.queue, Known):
        for rule in (behavior.stabilized, behavior.limited):
            held = rule(number.value, given.current, history, pace, given.now)
            number.become(held.number, held.held_by)
    _floor(number, autoscaling, given.now)
    number.become(min(number.value, autoscaling.max_replicas), _MAX)
    _ceiling(number, spec)
    # After a restart it takes a window until it is known again what holds a number.
    knows = given.now - history.since >= timedelta(seconds=pace.seconds)
    decision = _decision(given, number, proposal, knows_clamps=knows)
    changed = decision.desired - given.current
    return Scaled(
        decision,
        behavior.remembered(history, asked, changed=changed, reading=reading, now=given.now, seconds=pace.seconds),
    )


def _proposal(autoscaling: Autoscaling, slots: int, given: Input, history: ScalingHistory) -> Proposal:
    """What the policy asks for; a reading of the queue is judged once."""
    if isinstance(given.queue, Unknown):
        return Proposal(given.current, f"the queue cannot be read: {given.current} is held")
    if history.reading is not None and history.reading.at == given.queue.at:
        return Proposal(history.reading.number, history.reading.why)
    return _POLICIES[autoscaling.policy](
        given.queue.value,
        given.fleet,
        tasks_per_replica=autoscaling.tasks_per_replica or slots,
        current=given.current,
    )


def _floor(number: _Number, autoscaling: Autoscaling, now: datetime) -> None:
    least, rule = autoscaling.min_replicas, _MIN
    schedule = highest(autoscaling.schedules, now)
    if schedule is not None and schedule.min_replicas > least:
        least, rule = schedule.min_replicas, f"autoscaling.schedules.{schedule.name}"
    number.become(max(number.value, least), rule)


def _ceiling(number: _Number, spec: WorkforceSpec) -> None:
    number.become(min(number.value, sum(region.max_replicas for region in spec.regions)), "regions.maxReplicas")
    if spec.suspend is Suspend.DRAIN:
        number.become(0, "suspend")


def _decision(given: Input, number: _Number, proposal: Proposal, *, knows_clamps: bool = True) -> ScaleDecision:
    previous = given.previous
    backlog = given.queue.value.length if isinstance(given.queue, Known) else None
    decision = ScaleDecision(
        time=given.now.replace(microsecond=0),
        backlog=backlog,
        raw_desired=proposal.number,
        desired=number.value,
        clamps=number.clamps,
        message=proposal.why,
    )
    if previous is None or not _same(previous, decision):
        return decision
    return decision if knows_clamps and previous.clamps != decision.clamps else previous


def _same(one: ScaleDecision, other: ScaleDecision) -> bool:
    return (one.raw_desired, one.desired, one.backlog is None) == (
        other.raw_desired,
        other.desired,
        other.backlog is None,
    )
