"""What one pass saw, decided and did, as a record that is kept and that a person can have read to them.

Pure, and only output: nothing is ever decided from a record. It holds no time, so that passes that see and do the same
have equal records and are kept once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import Field

from workforce_operator.api.base import Model
from workforce_operator.api.spec import Suspend
from workforce_operator.domain.actions import Plan, RegionPlan
from workforce_operator.domain.capacity import no_room
from workforce_operator.domain.channels import channels
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.observed import Known, Observed, Unknown
from workforce_operator.domain.outcomes import Failure
from workforce_operator.domain.placement.sites import Why
from workforce_operator.domain.sizing import arithmetic
from workforce_operator.domain.template_backoff import HELD
from workforce_operator.domain.words import counted, verb

MOST_JOBS = 10
"""Jobs named per group of acts; the others are only counted."""

_NOTHING: Mapping[str, Failure] = {}


class Fact(Model):
    """Something that was read. ``known`` False: it could not be, and was not taken for nothing."""

    about: str
    """``queue``, ``control``, or a region's name."""
    text: str
    """What is so, or why it is not known."""
    known: bool = True
    """Whether it could be read."""


class Step(Model):
    """One step of the decision."""

    about: str
    """``workforce``, or a region's name."""
    text: str
    """What was decided and why."""
    rule: int | None = None
    """Number of the planner's rule that decided it, as the documentation counts them."""
    idle: bool = False
    """Nothing follows from it: the region is as it should be."""


class Act(Model):
    """Equal acts of one pass and what came of them."""

    kind: str
    """hire, order, recall, cancel_pending, cancel, …"""
    region: str
    """Where."""
    result: str
    """done, not_needed, failed or put_off."""
    count: int
    """How many."""
    jobs: tuple[str, ...] = ()
    """Names of the first of them."""
    why: str | None = None
    """What it was done for."""
    error: str | None = None
    """Why it failed."""


class Record(Model):
    """A pass."""

    generation: int
    """Of the spec that was decided about."""
    desired: int
    """Worker jobs wanted."""
    facts: tuple[Fact, ...] = Field(default=())
    """The inputs."""
    steps: tuple[Step, ...] = Field(default=())
    """The decision, step by step."""
    acts: tuple[Act, ...] = Field(default=())
    """What was done."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One executed action, in words that are not bound to the executor's types."""

    kind: str
    region: str
    job: str
    result: str
    why: str | None = None
    error: str | None = None


def record(
    desired: Desired,
    observed: Observed,
    plan: Plan,
    deeds: Iterable[Deed],
    unsent: Mapping[str, Failure] = _NOTHING,
) -> Record:
    """The record of one pass.

    Args:
        desired: What was asked for.
        observed: What was read.
        plan: What was decided.
        deeds: What was done.
        unsent: Orders that could not be sent, by region: they show what reading did not.
    """
    return Record(
        generation=desired.generation,
        desired=plan.desired,
        facts=tuple(_facts(desired, observed, plan, unsent)),
        steps=(*_wanted(desired, plan), *_placed(plan), *_regions(desired, observed, plan), *_told(plan)),
        acts=grouped(deeds),
    )


def refusal(generation: int, failure: Failure) -> Record:
    """The record of a pass over a spec that cannot be worked with: nothing was read, and nothing done."""
    text = f"the spec is not accepted, and nothing is done: {failure.message}"
    return Record(generation=generation, desired=0, steps=(Step(about="workforce", text=text),))


def grouped(deeds: Iterable[Deed]) -> tuple[Act, ...]:
    """Equal deeds as one act each, in the order of their first; errors that differ only in the job's name are equal."""
    groups: dict[Deed, list[Deed]] = {}
    for deed in deeds:
        error = deed.error.replace(deed.job, "") if deed.error else None
        groups.setdefault(replace(deed, job="", error=error), []).append(deed)
    return tuple(
        Act(
            kind=first.kind,
            region=first.region,
            result=first.result,
            count=len(equal),
            jobs=tuple(deed.job for deed in equal[:MOST_JOBS]),
            why=first.why,
            error=first.error,
        )
        for equal in groups.values()
        for first in equal[:1]
    )


def _facts(desired: Desired, observed: Observed, plan: Plan, unsent: Mapping[str, Failure]) -> Iterable[Fact]:
    queue = observed.queue
    if isinstance(queue, Unknown):
        yield _not_read("queue", queue)
    else:
        waits = verb(queue.value.length, "it waits", "some wait") if queue.value.has_visible else "none waits"
        yield Fact(about="queue", text=f"{counted(queue.value.length, 'task')}, {waits}")
    yield from _channels(desired, observed, plan, unsent)
    for name, numbers in plan.regions.items():
        reading = observed.regions.get(name)
        if isinstance(reading, Known):
            yield Fact(about=name, text=_counts(numbers) + _quota(observed, name))
        else:
            yield _not_read(name, reading)


def _channels(desired: Desired, observed: Observed, plan: Plan, unsent: Mapping[str, Failure]) -> Iterable[Fact]:
    found = channels(desired.spec.control, plan.ledger, observed, unsent)
    if not found:
        yield Fact(about="control", text="not configured")
    for each in found:
        about = "control" if len(found) == 1 else f"control {each.namespace}"
        why = "ready" if each.failure is None else each.failure.message
        yield Fact(about=about, text=why, known=each.failure is None)


def _not_read(about: str, reading: Unknown | None) -> Fact:
    why = "it was not read" if reading is None else reading.message or reading.reason
    return Fact(about=about, text=why, known=False)


def _counts(numbers: RegionPlan) -> str:
    named = (
        (numbers.running, "running"),
        (numbers.pending, "pending"),
        (numbers.paused, "paused"),
        (numbers.draining, "leaving"),
    )
    return ", ".join(f"{count} {word}" for count, word in named if count) or "no jobs"


def _quota(observed: Observed, name: str) -> str:
    """Why no more nodes come, where the cluster says so. How many are free is not told: it changes all the time."""
    reading = observed.capacity.get(name)
    return "; the quota is used up" if isinstance(reading, Known) and reading.value.quota else ""


def _wanted(desired: Desired, plan: Plan) -> Iterable[Step]:
    if desired.deleting:
        policy = desired.deletion_policy
        how = policy.value if policy is not None else "pending jobs are cancelled, running ones reported"
        yield Step(about="workforce", rule=10, text=f"being deleted ({how}): nobody is wanted")
        return
    suspend = desired.spec.suspend
    if suspend is not Suspend.NONE:
        yield Step(about="workforce", text=_SUSPENDED[suspend])
    yield Step(about="workforce", rule=8, text=f"{plan.desired} wanted{_why(desired, plan)}")
    if plan.channels_awaited:
        where = ", ".join(sorted(plan.channels_awaited))
        yield Step(about="workforce", text=f"{where}: nobody is hired before the control channel is ready once")
    backoffs = [each.template_backoff for each in plan.regions.values() if each.waiting == HELD]
    yield from (Step(about="workforce", rule=6, text=backoff.text) for backoff in backoffs[:1] if backoff)
    yield from _unplaced(plan)


def _unplaced(plan: Plan) -> Iterable[Step]:
    """How many have no place although clusters that could be read may hold more jobs."""
    if plan.full:
        missing = plan.desired - sum(numbers.desired for numbers in plan.regions.values())
        text = f"{missing} of them {verb(missing, 'has', 'have')} no place yet: {no_room(plan.full)}"
        yield Step(about="workforce", text=text)


def _why(desired: Desired, plan: Plan) -> str:
    """How the number wanted came about, where it is not simply the one asked for."""
    decision = plan.ledger.decision
    if desired.spec.autoscaling is not None:
        forgotten = "the queue cannot be read, and no number was decided before: who lives is held"
        return f": {arithmetic(decision) if decision else forgotten}"
    asked = desired.spec.replicas
    if asked == plan.desired or desired.spec.suspend is Suspend.DRAIN:
        return ""
    return f": {asked} asked for, and the regions' maxReplicas allow no more"


def _placed(plan: Plan) -> Iterable[Step]:
    """How the regions' shares changed."""
    for shift in plan.shifts:
        yield Step(
            about=shift.region, rule=_SHIFT_RULES.get(shift.why), text=f"share {shift.change:+}: {_SHIFTS[shift.why]}"
        )


_SHIFTS = {
    Why.FOUND: "it begins at the jobs that are there",
    Why.GROWTH: "more replicas are wanted",
    Why.TAKEN_BACK: "more are wanted, and workers that were told to leave can stay",
    Why.SHRINK: "fewer are wanted, and those who lose least are here",
    Why.LIMIT: "maxReplicas allows no more, or its place is not free yet",
    Why.MIN_REPLICAS: "minReplicas",
    Why.KEPT: "a worker too many here stands in for one missing elsewhere",
    Why.QUEUED: "jobs waited for a node for too long, and another region has one",
    Why.CIRCUIT: "hires fail here for a while",
    Why.UNREADABLE: "it cannot be read for a while: what it surely does not hold moves",
}
_SHIFT_RULES = {
    Why.TAKEN_BACK: 4,
    Why.SHRINK: 3,
    Why.LIMIT: 2,
    Why.QUEUED: 7,
    Why.CIRCUIT: 7,
    Why.UNREADABLE: 1,
}

_SUSPENDED = {
    Suspend.SCALE_UP_ONLY: "suspend is ScaleUpOnly: nobody is hired",
    Suspend.HOLD: "suspend is Hold: nothing is touched",
    Suspend.DRAIN: "suspend is Drain: nobody is wanted",
}


def _regions(desired: Desired, observed: Observed, plan: Plan) -> Iterable[Step]:
    hold = desired.spec.suspend is Suspend.HOLD and not desired.deleting
    for name, numbers in plan.regions.items():
        if not isinstance(observed.regions.get(name), Known):
            wanted = "nobody" if desired.deleting else str(numbers.desired)
            text = f"{wanted} wanted here; it could not be read, so it is left as it is"
            yield Step(about=name, rule=1, text=text)
            continue
        steps = _held(name, numbers) if hold else _region(name, numbers, _stopped(plan, name, observed.now))
        yield from list(steps) or [Step(about=name, text=f"{numbers.desired} wanted, as there are", idle=True)]


def _held(name: str, numbers: RegionPlan) -> Iterable[Step]:
    if numbers.supply != numbers.desired:
        yield Step(about=name, text=f"{numbers.desired} wanted, {numbers.supply} there: nothing is touched")


def _stopped(plan: Plan, name: str, now: datetime) -> str | None:
    """Why hiring has stopped in a region, if its circuit is open."""
    circuit = plan.ledger.regions[name].circuit if name in plan.ledger.regions else None
    return circuit.text(now) if circuit is not None and circuit.is_open else None


def _region(name: str, numbers: RegionPlan, stopped: str | None) -> Iterable[Step]:
    compared = f"{numbers.desired} wanted, {numbers.there} there"
    if numbers.lay_offs:
        yield Step(about=name, rule=3, text=f"{compared}: lay off {numbers.lay_offs}")
    if numbers.resumes:
        yield Step(
            about=name, rule=4, text=f"{compared}: resume {numbers.resumes} of {counted(numbers.paused, 'paused one')}"
        )
    if numbers.hires:
        yield Step(about=name, rule=4, text=f"{compared}: hire {numbers.hires}")
    if numbers.waiting:
        yield Step(about=name, rule=_waiting_rule(numbers), text=f"{compared}: {numbers.waiting}")
    elif stopped is not None:
        yield Step(about=name, rule=7, text=f"{compared}: {stopped}")
    elif not (numbers.lay_offs or numbers.resumes or numbers.hires):
        under_way = _under_way(numbers)
        if under_way or numbers.supply != numbers.desired:
            yield Step(about=name, text=f"{compared}: {under_way}" if under_way else compared)


def _under_way(numbers: RegionPlan) -> str:
    """What has been done already and has not come to its end."""
    counts = ((numbers.pending, "pending"), (numbers.draining, "leaving"))
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def _waiting_rule(numbers: RegionPlan) -> int | None:
    """Who waits for work does so by rule 11, whose jobs fail fast by rule 6."""
    if numbers.idle or numbers.blind:
        return 11
    return 6 if numbers.held or numbers.waiting == HELD else None


_TOLD_BY_NUMBERS = frozenset({"Hiring", "Resuming"})
"""Notes that say no more than the steps of their regions."""


def _told(plan: Plan) -> Iterable[Step]:
    return (Step(about="workforce", text=note.message) for note in plan.notes if note.reason not in _TOLD_BY_NUMBERS)
