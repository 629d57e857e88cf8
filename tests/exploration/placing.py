"""What no decision may do about numbers and places, judged by what was observed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from workforce_operator.api.autoscaling import Autoscaling, Schedule
from workforce_operator.api.spec import Suspend
from workforce_operator.domain.actions import Hire, Plan, Resume
from workforce_operator.domain.desired import Desired, moved_regions
from workforce_operator.domain.ledger import Ledger, RegionLedger, Wave
from workforce_operator.domain.observed import Job, Known, Observed, Outcome, Phase, QueueDepth, RegionJobs
from workforce_operator.domain.placement.sites import Why
from workforce_operator.domain.recovery import FRESH

Wrong = tuple[str, str]
"""A rule that is broken, and how."""


def judge(desired: Desired, observed: Observed, ledger: Ledger, plan: Plan) -> Iterator[Wrong]:
    """All that is wrong with a plan. What Hold touches is judged elsewhere."""
    if desired.deleting or desired.spec.suspend is Suspend.HOLD:
        return
    yield from _numbers(desired, observed, ledger, plan)
    yield from _shares(desired, observed, ledger, plan)
    yield from _open_circuits(observed, ledger, plan)
    yield from _resumes(observed, plan)
    yield from _idle(observed, ledger, plan)


def kinds(plan: Plan, ledger: Ledger) -> Iterator[str]:
    """What a plan does, for the count of what has happened."""
    yield from (f"decided {type(action).__name__}" for action in plan.actions)
    yield from (f"share {shift.why}" for shift in plan.shifts)
    yield from ("circuit open" for each in ledger.regions.values() if each.circuit and each.circuit.is_open)
    yield from (f"drain {wave.mode} {wave.state}" for each in plan.ledger.regions.values() for wave in each.waves)


def surely_unnamed(waves: Iterable[Wave], jobs: Iterable[Job], now: datetime) -> tuple[int, int]:
    """How many were told to leave without a name and have not left: at least, and at most.

    Past its deadline a wave is forgotten, by this pass or by the next one.
    """
    unnamed = [wave for wave in waves if wave.count]
    told = sum(wave.count for wave in unnamed if now < wave.deadline)
    since = min((wave.sent for wave in unnamed), default=now)
    ended = (job.ended for job in jobs if job.phase is Phase.ENDED and job.started is not None)
    answers = sum(end is not None and end >= since for end in ended)
    return max(0, told - answers), sum(wave.count for wave in unnamed)


def _numbers(desired: Desired, observed: Observed, ledger: Ledger, plan: Plan) -> Iterator[Wrong]:
    """Rules 1 and 8: the number is within its bounds, and held while the queue cannot be read."""
    scaling = desired.spec.autoscaling
    most = sum(region.max_replicas for region in desired.spec.regions)
    if scaling is None or desired.spec.suspend is Suspend.DRAIN:
        wanted = desired.spec.replicas or 0 if scaling is None else 0
        wanted = 0 if desired.spec.suspend is Suspend.DRAIN else min(wanted, most)
        if plan.desired != wanted:
            yield "rule 8", f"{plan.desired} are desired, not {wanted}"
        return
    most = min(most, scaling.max_replicas)
    least = min(least_of(scaling, observed.now), most)
    if not least <= plan.desired <= most:
        yield "rule 8", f"{plan.desired} are desired, not {least} to {most}"
    before = ledger.decision
    if before is not None and not isinstance(observed.queue, Known):
        held = min(max(before.desired, least), most)
        if plan.desired != held:
            yield "rule 1", f"the queue cannot be read, and {plan.desired} are desired, not {held}"


def _shares(desired: Desired, observed: Observed, ledger: Ledger, plan: Plan) -> Iterator[Wrong]:
    """Rules 5 and 7: a share changes for a reason that is told, and jobs are moved once per cool-down."""
    patience = timedelta(seconds=desired.spec.placement.queued_timeout_seconds)
    elsewhere = moved_regions(desired, ledger)
    for name in (region.name for region in desired.spec.regions if region.name not in elsewhere):
        before, after = ledger.regions.get(name), plan.ledger.regions.get(name)
        if before is None or after is None:
            continue
        shifts = [shift for shift in plan.shifts if shift.region == name]
        told = sum(shift.change for shift in shifts)
        if None not in (before.share, after.share) and after.share != (before.share or 0) + told:
            yield "rule 5", f"{name}: the share goes from {before.share} to {after.share}, and {told} is told"
        grows = any(shift.change > 0 and shift.why in (Why.GROWTH, Why.QUEUED) for shift in shifts)
        if grows and not isinstance(observed.regions.get(name), Known):
            yield "rule 7", f"{name} cannot be read and gets more"
        gives = any(shift.change < 0 and shift.why is Why.QUEUED for shift in shifts)
        if gives and before.moved is not None and observed.now - before.moved < patience:
            yield "rule 7", f"{name}: jobs move again after {observed.now - before.moved}"


def least_of(scaling: Autoscaling, now: datetime) -> int:
    """How many replicas are kept now: the most of minReplicas and of the schedules that last."""
    return max(
        [scaling.min_replicas]
        + [
            schedule.min_replicas
            for schedule in scaling.schedules
            for begin, end in windows(schedule, now)
            if begin <= now < end
        ]
    )


def windows(schedule: Schedule, now: datetime) -> list[tuple[datetime, datetime]]:
    """When a schedule of the explorer, which begins every day at the same time, lasts: yesterday, today, tomorrow."""
    minute, hour = map(int, schedule.schedule.split()[:2])
    midnight = now.astimezone(ZoneInfo(schedule.time_zone)).replace(hour=hour, minute=minute, second=0, microsecond=0)
    begins = [midnight + timedelta(days=day) for day in (-1, 0, 1)]
    return [(begin, begin + timedelta(seconds=schedule.duration_seconds)) for begin in begins]


def _open_circuits(observed: Observed, ledger: Ledger, plan: Plan) -> Iterator[Wrong]:
    """No hire is tried before the back-off is over, and then one."""
    for name, region in ledger.regions.items():
        hires = [action for action in plan.actions if isinstance(action, Hire) and action.region == name]
        if region.circuit is None or region.circuit.retry_at is None:
            continue
        allowed = 1 if observed.now >= region.circuit.retry_at else 0
        if len(hires) > allowed:
            yield "circuit", f"{name}: {len(hires)} hires, and {allowed} may be tried"


def _idle(observed: Observed, ledger: Ledger, plan: Plan) -> Iterator[Wrong]:
    """Rule 11: who has completed is replaced only while some task is known to wait; who was told to go, at once."""
    if isinstance(observed.queue, Known) and _some_task_waits(observed.queue.value, observed):
        return
    for name, before in ledger.regions.items():
        reading, after = observed.regions.get(name), plan.ledger.regions.get(name)
        if not isinstance(reading, Known) or after is None or before.hiring or before.next_sequence is None:
            continue
        told, ended = _left(before, reading.value)
        hires = [action.job for action in plan.actions if isinstance(action, Hire) and action.region == name]
        all_completed = ended and all(job.outcome is Outcome.COMPLETED for job in ended)
        if len(hires) > told and all_completed and (after.share or 0) <= before.filled:
            yield "rule 11", f"{name}: {hires} are hired, and no task is known to wait"
    yield from _idle_anywhere(observed, ledger, plan)


def _idle_anywhere(observed: Observed, ledger: Ledger, plan: Plan) -> Iterator[Wrong]:
    """Nor elsewhere: the places of those who wait for work may move, and wait on where they come to."""
    regions = ledger.regions
    if any(region.share is None or region.next_sequence is None for region in regions.values()):
        return
    hires = [action.job for action in plan.actions if isinstance(action, Hire)]
    shares = sum(region.share or 0 for region in regions.values())
    asked = max(0, sum(region.share or 0 for region in plan.ledger.regions.values()) - shares)
    for name, region in regions.items():
        asked += max(0, (region.share or 0) - region.filled) + len(region.hiring) + region.failing
        reading = observed.regions.get(name)
        share = plan.ledger.regions[name].share or 0 if name in plan.ledger.regions else 0
        # Who is too many here from now on, or may live where nothing can be read, has given up a place elsewhere.
        alive = region.filled - region.idle
        if isinstance(reading, Known):
            told, ended = _left(region, reading.value)
            alive = sum(job.phase not in (Phase.ENDED, Phase.ENDING) for job in reading.value.jobs)
            asked += told + sum(job.outcome is not Outcome.COMPLETED for job in ended)
        asked += max(0, alive - share)
    if len(hires) > asked:
        yield "rule 11", f"{hires} are hired, {asked} may be, and no task is known to wait"


def _left(before: RegionLedger, listed: RegionJobs) -> tuple[int, list[Job]]:
    """How many were told to leave, or are being cancelled; and those who ended without having been told."""
    leaving = {job for wave in before.waves for job in wave.jobs}
    told = sum(job.sequence in leaving or job.phase is Phase.ENDING for job in listed.jobs)
    return told, [job for job in listed.jobs if job.phase is Phase.ENDED and job.sequence not in leaving]


def _some_task_waits(depth: QueueDepth, observed: Observed) -> bool:
    """Where the service counts all tasks as one, those that live workers have lately said they run do not wait."""
    if depth.told_apart:
        return depth.has_visible
    running = {
        job.name
        for reading in observed.regions.values()
        if isinstance(reading, Known)
        for job in reading.value.jobs
        if job.phase is Phase.RUNNING
    }
    said = [state for name, state in observed.reports.items() if name in running]
    return depth.length > sum(state.busy_slots for state in said if observed.now - state.time < FRESH)


def _resumes(observed: Observed, plan: Plan) -> Iterator[Wrong]:
    """Rule 4: nobody is hired where somebody paused could be resumed."""
    for name in {action.region for action in plan.actions if isinstance(action, Hire)}:
        reading, after = observed.regions.get(name), plan.ledger.regions.get(name)
        if not isinstance(reading, Known) or after is None:
            continue
        leaving = {job for wave in after.waves for job in wave.jobs}
        paused = {job.name for job in reading.value.jobs if job.phase is Phase.PAUSED and job.sequence not in leaving}
        resumed = {action.job for action in plan.actions if isinstance(action, Resume)}
        if not paused <= resumed:
            yield "rule 4", f"{name}: hires while {sorted(paused - resumed)} stay paused"
