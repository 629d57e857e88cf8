"""The conditions: what holds and what does not, in stable words for programs and sentences for people. Pure.

A transition time moves only when the status of its condition does. The sentences may hold numbers; a status in which
only they differ is written rarely (see ``status.worth_writing``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from workforce_operator.api.spec import Suspend
from workforce_operator.api.status import Condition
from workforce_operator.domain.capacity import no_room
from workforce_operator.domain.observed import Known, Unknown
from workforce_operator.domain.outcomes import Failure, why_unknown
from workforce_operator.domain.sizing import arithmetic
from workforce_operator.domain.view import View
from workforce_operator.domain.words import counted, cut, moment, verb

Status = Literal["True", "False", "Unknown"]

READY = "Ready"
PROGRESSING = "Progressing"
SPEC_ACCEPTED = "SpecAccepted"
QUEUE_REACHABLE = "QueueReachable"
REGIONS_HEALTHY = "RegionsHealthy"
CAPACITY_AVAILABLE = "CapacityAvailable"
CONTROL_CHANNEL_READY = "ControlChannelReady"
DRAINING = "Draining"

TYPES = (
    READY,
    PROGRESSING,
    SPEC_ACCEPTED,
    QUEUE_REACHABLE,
    REGIONS_HEALTHY,
    CAPACITY_AVAILABLE,
    CONTROL_CHANNEL_READY,
    DRAINING,
)

AVAILABLE = "Available"
"""The condition of a single region: whether somebody may be hired there."""

LONGEST_MESSAGE = 4096

TOLERANCE = timedelta(minutes=10)
"""A Workforce that was ready stays so while it makes up for lost workers, but not for longer than this."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition says now."""

    status: Status
    reason: str
    message: str


def conditions(view: View, previous: Mapping[str, Condition]) -> list[Condition]:
    """All conditions of one pass, given the previous ones by type."""
    generation, now = view.desired.generation, view.observed.now
    accepted = _spec_accepted(view, previous.get(SPEC_ACCEPTED))
    verdicts = {
        PROGRESSING: _progressing(view, accepted),
        SPEC_ACCEPTED: accepted,
        QUEUE_REACHABLE: _queue_reachable(view),
        REGIONS_HEALTHY: _regions_healthy(view),
        CAPACITY_AVAILABLE: _capacity_available(view),
        CONTROL_CHANNEL_READY: _control_channel_ready(view),
        DRAINING: _draining(view),
    }
    current = stamped(verdicts, previous, generation, now)
    ready = {READY: _ready(view, current, previous.get(READY))}
    return in_order(current | stamped(ready, previous, generation, now))


def region_conditions(region: str, view: View, previous: Mapping[str, Condition]) -> list[Condition]:
    """The conditions of one region, given its previous ones by type."""
    verdict = {AVAILABLE: _available(region, view)}
    return list(stamped(verdict, previous, view.desired.generation, view.observed.now).values())


def first_conditions(generation: int, now: datetime) -> list[Condition]:
    """All conditions as they are before the first pass has come to an end."""
    unknown = Verdict("Unknown", "NotObserved", "not observed yet")
    return in_order(stamped(dict.fromkeys(TYPES, unknown), {}, generation, now))


def refused_conditions(
    generation: int, failure: Failure, previous: Mapping[str, Condition], now: datetime
) -> list[Condition]:
    """Conditions of a spec that cannot be worked with; what is not known of the rest stays as it was."""
    refused = Verdict("False", failure.reason, failure.message)
    before = {condition.type: condition for condition in first_conditions(generation, now)} | dict(previous)
    now_said = stamped(
        {SPEC_ACCEPTED: refused, READY: Verdict("False", "Degraded", failure.message)}, previous, generation, now
    )
    return in_order(before | now_said)


def stamped(
    verdicts: Mapping[str, Verdict], previous: Mapping[str, Condition], generation: int, now: datetime
) -> dict[str, Condition]:
    """Verdicts as conditions, with the time of their last change of status."""
    return {kind: _stamp(kind, verdict, previous.get(kind), generation, now) for kind, verdict in verdicts.items()}


def bounded(message: str) -> str:
    """The message, no longer than a condition's may be."""
    return cut(message, LONGEST_MESSAGE)


def in_order(by_type: Mapping[str, Condition]) -> list[Condition]:
    """Conditions in the documented order."""
    return [by_type[kind] for kind in TYPES]


def _stamp(kind: str, verdict: Verdict, previous: Condition | None, generation: int, now: datetime) -> Condition:
    unchanged = previous is not None and previous.status == verdict.status
    return Condition(
        type=kind,
        status=verdict.status,
        observed_generation=generation,
        last_transition_time=previous.last_transition_time if previous and unchanged else now.replace(microsecond=0),
        reason=verdict.reason,
        message=bounded(verdict.message),
    )


def _spec_accepted(view: View, previous: Condition | None) -> Verdict:
    if view.spec is not None:
        return Verdict("False", view.spec.reason, view.spec.message)
    if view.moved:
        names = ", ".join(view.moved)
        text = f"{names}: still has jobs where it was before; it is emptied first"
        return Verdict("False", "RegionStillDraining", text + _unplaced(view))
    if previous is not None and _still_refused(view, previous):
        return Verdict("False", previous.reason, previous.message)
    return Verdict("True", "Valid", "the spec is valid")


def _still_refused(view: View, previous: Condition) -> bool:
    """A refused template is found only by using it: as long as nobody is hired, nothing shows that it got better."""
    same = previous.status == "False" and previous.observed_generation == view.desired.generation
    return same and not view.hired and view.missing > 0 and previous.reason != "RegionStillDraining"


def _queue_reachable(view: View) -> Verdict:
    queue = view.observed.queue
    if isinstance(queue, Unknown):
        why = why_unknown(queue)
        return Verdict("False", why.reason, why.message)
    return Verdict("True", "Reached", f"{counted(queue.value.length, 'task')} in the queue")


def _regions_healthy(view: View) -> Verdict:
    unreadable = [_by_name(view.unreadable)] if view.unreadable else []
    now = view.observed.now
    stopped = [f"{name}: {circuit.text(now)}" for name, circuit in view.circuits.items() if circuit.is_open]
    if unreadable or stopped:
        # One outage must not hide another one.
        reason = "RegionUnreadable" if unreadable else "CircuitOpen"
        return Verdict("False", reason, "; ".join(unreadable + stopped))
    backoff = next((region.template_backoff for region in view.regions.values() if region.template_backoff), None)
    if backoff is not None:
        return Verdict("False", "CrashLoop", backoff.text)
    looping = {name: region for name, region in view.regions.items() if region.crash_loop}
    if looping:
        texts = (
            _sentence(f"{name}: workers fail soon after their start", region.error and f"last error: {region.error}")
            for name, region in looping.items()
        )
        return Verdict("False", "CrashLoop", "; ".join(texts))
    lasting = {name: failure for name, failure in view.failures.items() if failure.lasting}
    if lasting:
        return Verdict("False", next(iter(lasting.values())).reason, _by_name(lasting))
    return Verdict("True", "AllHealthy", "every region answers")


def _available(region: str, view: View) -> Verdict:
    if region in view.unreadable:
        return Verdict("False", "RegionUnreadable", view.unreadable[region].message)
    circuit = view.circuits.get(region)
    if circuit is None or not circuit.is_open:
        return Verdict("True", "CircuitClosed", "hires are made here")
    half = circuit.allowed(view.observed.now) == 1
    return Verdict("False", "CircuitHalfOpen" if half else "CircuitOpen", circuit.text(view.observed.now))


def _capacity_available(view: View) -> Verdict:
    """Whether a hire is held back: by full clusters, then by quotas, then because Azure asks to wait."""
    full = [name for name, quota in view.full.items() if not quota]
    if view.unplaced and view.full:
        return Verdict("False", "ClusterFull" if full else "QuotaExceeded", no_room(view.full) + _unplaced(view))
    throttled = {name: failure for name, failure in view.failures.items() if failure.reason == "Throttled"}
    if throttled:
        return Verdict("False", "Throttled", _by_name(throttled))
    return Verdict("True", "Enough", "no hire waits for room" + _refused_nodes(view))


def _refused_nodes(view: View) -> str:
    """Who was hired and gets no node because of a quota, as the end of a sentence: it is for Azure to mend."""
    short = {name: each.pending for name, each in view.regions.items() if each.pending and _is_short(view, name)}
    jobs, where = sum(short.values()), ", ".join(short)
    if not jobs:
        return ""
    wait = verb(jobs, "waits", "wait")
    return f"; {counted(jobs, 'job')} {wait} for a node, because the quota is used up in {where}"


def _is_short(view: View, region: str) -> bool:
    reading = view.observed.capacity.get(region)
    return isinstance(reading, Known) and reading.value.quota


def _control_channel_ready(view: View) -> Verdict:
    if view.desired.spec.control is None:
        return Verdict("False", "NotConfigured", "spec.control is not set: running workers are never told to leave")
    failures = {channel.text: channel.failure for channel in view.channels if channel.failure is not None}
    if failures:
        return Verdict("False", next(iter(failures.values())).reason, _by_name(failures))
    return Verdict("True", "Ready", "topics and queues stand")


def _draining(view: View) -> Verdict:
    if not view.draining:
        return Verdict("False", "NoneDraining", "nobody was told to leave")
    parts = ", ".join(f"{name} {region.draining}" for name, region in view.regions.items() if region.draining)
    overdue = sum(region.overdue for region in view.regions.values())
    if overdue:
        past = verb(overdue, "is past its deadline", "are past their deadline")
        text = f"{overdue} of {counted(view.draining, 'leaving worker')} {past}: {parts}"
        return Verdict("True", "DeadlineExceeded", text)
    return Verdict("True", "Deletion" if view.desired.deleting else "ScaleDown", f"leaving: {parts}")


def _progressing(view: View, accepted: Verdict) -> Verdict:
    if view.desired.deleting:
        return Verdict("True", "LayingOff", _deleting(view))
    suspend = view.desired.spec.suspend
    if suspend is Suspend.HOLD:
        if view.pending and not (view.missing or view.excess or view.paused):
            return Verdict("True", "Hiring", f"{_waits(view)}; suspend is Hold: nothing else happens")
        return Verdict("False", "Suspended", "suspend is Hold: nothing is touched")
    if view.missing > 0:
        return _growing(view, accepted)
    if view.excess:
        return _shrinking(view)
    if view.draining:
        text = f"{view.draining} {verb(view.draining, 'is', 'are')} leaving"
        return Verdict("True", "LayingOff", text + _unplaced(view))
    if view.pending:
        return Verdict("True", "Hiring", _waits(view) + _unplaced(view))
    if view.unplaced:
        return Verdict("True", "Hiring", f"{view.supply} {verb(view.supply, 'is', 'are')} there" + _unplaced(view))
    return Verdict("False", "Complete", "numbers are as desired")


def _waits(view: View) -> str:
    return f"{view.pending} {verb(view.pending, 'waits', 'wait')} for a node"


def _deleting(view: View) -> str:
    """Who is left, and when it ends: whoever waits for ``kubectl delete`` sees nothing else that says it."""
    jobs, deadline = view.supply + view.draining, view.desired.deletion_deadline
    unknown = f", as last known; {', '.join(view.unreadable)} cannot be read" if view.unreadable else ""
    text = _sentence(f"{counted(jobs, 'job')} {verb(jobs, 'is', 'are')} left{unknown}", view.waiting())
    if deadline is None:
        return f"being deleted; {text}"
    if view.observed.now >= deadline:
        return f"being deleted; {text}; the deadline has passed: the object goes within a minute"
    return f"being deleted; {text}; ends by {moment(deadline)}, sooner with a smaller spec.deletionDeadlineSeconds"


def _growing(view: View, accepted: Verdict) -> Verdict:
    are = verb(view.missing, "is", "are")
    if view.desired.spec.suspend is Suspend.SCALE_UP_ONLY:
        text = f"{view.missing} more {are} wanted; suspend is ScaleUpOnly: nobody is hired"
        return Verdict("False", "Suspended", text)
    text = _sentence(f"{view.missing} of {view.wanted} {are} missing", view.waiting()) + _unplaced(view)
    if accepted.status == "False" and not view.moved:
        return Verdict("False", "SpecNotAccepted", f"{text}; hires are refused: {accepted.message}")
    if view.unheard and view.unheard == view.short:
        return Verdict("False", "ControlChannelNotReady", text)
    if view.blind:
        return Verdict("False", "QueueUnreadable", text)
    return Verdict("True", "Hiring", text)


def _shrinking(view: View) -> Verdict:
    text = _sentence(f"{view.excess} too many", view.waiting()) + _unplaced(view)
    if view.desired.spec.control is None and not any(region.pending for region in view.regions.values()):
        return Verdict("False", "ControlNotConfigured", text)
    return Verdict("True", "LayingOff", text)


def _ready(view: View, current: Mapping[str, Condition], previous: Condition | None) -> Verdict:
    blocked = _blocked(view, current)
    if blocked is not None:
        return blocked
    unsettled = _unsettled(view)
    if unsettled is None:
        return _satisfied(view)
    if previous is not None and _was_ready(view, previous) and _is_recent(view, current):
        minutes = TOLERANCE // timedelta(minutes=1)
        return Verdict("True", previous.reason, f"{unsettled.message}; not ready if this lasts {minutes} minutes")
    return unsettled


def _blocked(view: View, current: Mapping[str, Condition]) -> Verdict | None:
    """What makes a Workforce not ready whatever its numbers."""
    if view.desired.deleting:
        return Verdict("False", "Draining", current[PROGRESSING].message)
    if current[SPEC_ACCEPTED].status == "False":
        return Verdict("False", "Degraded", current[SPEC_ACCEPTED].message)
    placed_elsewhere = current[REGIONS_HEALTHY].reason == "CircuitOpen" and not (view.missing or view.unplaced)
    if current[REGIONS_HEALTHY].status == "False" and not (view.unreadable or placed_elsewhere):
        return Verdict("False", "Degraded", current[REGIONS_HEALTHY].message)
    unheard = view.unheard
    if unheard and view.missing > 0 and view.desired.spec.suspend is Suspend.NONE:
        why, where = current[CONTROL_CHANNEL_READY].message, ", ".join(unheard)
        return Verdict("False", "Degraded", f"{where}: nobody is hired before ControlChannelReady is True: {why}")
    return None


def _unsettled(view: View) -> Verdict | None:
    """Why the numbers are not what this generation asked for, or None if they are."""
    of = _run(view)
    if view.unreadable:
        return Verdict("False", "Degraded", f"{of}, as last known; cannot be read: {_by_name(view.unreadable)}")
    if view.missing > 0 or view.pending:
        if view.blind and not view.pending:
            return Verdict("False", "Degraded", _sentence(of, view.waiting()))
        # Only Hold keeps the paused ones from being resumed.
        suspended = (view.missing > 0 and view.desired.spec.suspend is Suspend.SCALE_UP_ONLY) or (
            (view.missing > 0 or view.paused > 0) and view.desired.spec.suspend is Suspend.HOLD
        )
        text = of + (f", {view.paused} {verb(view.paused, 'is', 'are')} paused" if view.paused else "")
        return Verdict("False", "Suspended" if suspended else "Scaling", _sentence(text, view.waiting()))
    if view.excess or view.draining:
        held = view.excess and view.desired.spec.suspend is Suspend.HOLD
        over = f", {view.excess} too many" if view.excess else ""
        leaving = f", {view.draining} {verb(view.draining, 'is', 'are')} leaving" if view.draining else ""
        text = _sentence(of + over + leaving, view.waiting())
        return Verdict("False", "Suspended" if held else "Draining", text)
    if view.unplaced:
        return Verdict("False", "Scaling", of + _unplaced(view))
    if view.held is not None:
        return Verdict("False", "Degraded", f"{of}; how many are needed is not known: {why_unknown(view.held).message}")
    return None


def _satisfied(view: View) -> Verdict:
    clamped = "" if view.wanted >= _asked(view) else f"; {_asked(view)} asked for, but the regions allow {view.wanted}"
    if view.idle:
        queue = view.observed.queue
        work = isinstance(queue, Known) and queue.value.has_visible
        text = f"{_run(view)}, {view.idle} completed"
        why = f" ({view.waiting()})" if work else ": no work waits"
        return Verdict("True", "Idle", f"{text}{why}{clamped}")
    if view.desired.spec.suspend is Suspend.DRAIN:
        return Verdict("True", "Suspended", "suspend is Drain: no replica is left")
    if view.desired.spec.autoscaling is not None and view.wanted == 0:
        why = arithmetic(view.decision) if view.decision else ""
        return Verdict("True", "Idle", "no replica is wanted" + (f": {why}" if why else ""))
    return Verdict("True", "AsDesired", _run(view) + clamped)


def _run(view: View) -> str:
    return f"{view.running} of {view.wanted} {verb(view.running, 'runs', 'run')}"


def _asked(view: View) -> int:
    """What people asked for; how autoscaling came to its number, lastScaleDecision tells."""
    spec = view.desired.spec
    return 0 if spec.suspend is Suspend.DRAIN or spec.autoscaling is not None else spec.replicas or 0


def _was_ready(view: View, previous: Condition) -> bool:
    return previous.status == "True" and previous.observed_generation == view.desired.generation


def _is_recent(view: View, current: Mapping[str, Condition]) -> bool:
    """Whether what unsettles the numbers began not long ago; never so if nothing is done about it."""
    unsettling = [(PROGRESSING, "True"), (REGIONS_HEALTHY, "False")]
    if view.blind or view.held is not None:
        unsettling.append((QUEUE_REACHABLE, "False"))
    since = [current[kind].last_transition_time for kind, bad in unsettling if current[kind].status == bad]
    return bool(since) and view.observed.now - min(since) < TOLERANCE


def _by_name(failures: Mapping[str, Failure]) -> str:
    return "; ".join(f"{name}: {failure.message}" for name, failure in failures.items())


def _unplaced(view: View) -> str:
    """What is missing although every region has what it may have, as the end of a sentence."""
    if not view.unplaced:
        return ""
    until = f"until {', '.join(view.moved)} is empty where it was before" if view.moved else "yet"
    return f"; {view.unplaced} of {view.wanted} {verb(view.unplaced, 'has', 'have')} no place {until}"


def _sentence(text: str, why: str | None) -> str:
    return f"{text} ({why})" if why else text
