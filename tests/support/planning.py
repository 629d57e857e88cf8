"""Builders for tests of the planner: small inputs in one line each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from jobq.control import Exit, State
from tests.support import workforces
from workforce_operator.api.spec import DrainMode, WorkforceSpec
from workforce_operator.api.status import DrainState, RegionCoordinates
from workforce_operator.domain.actions import Cancel, CancelPending, Hire, Plan, Resume, SendOrder
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Ledger, RegionLedger, Wave
from workforce_operator.domain.observed import Job, Known, LastReport, Observed, QueueDepth, RegionJobs, Unknown
from workforce_operator.domain.template_hash import template_hash

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def desired(*, generation: int = 1, deletion_time: datetime | None = None, going: bool = False, **spec: Any) -> Desired:
    """A Workforce ``ns/wf`` with one region ``one`` unless told otherwise."""
    spec = {"regions": [workforces.region("one")]} | spec
    validated = WorkforceSpec.model_validate(workforces.spec(**spec))
    return Desired("ns", "wf", "inst1234", generation, validated, deletion_time, going)


TEMPLATE = template_hash(desired().spec.template, desired().spec.queue)
"""Of every Workforce above that is not told otherwise."""


def regions(**most: int) -> list[dict[str, Any]]:
    """Regions with their maxReplicas."""
    return [workforces.region(name, maxReplicas=number) for name, number in most.items()]


@cache
def name_of(sequence: int, region: str = "one") -> str:
    return desired().job_name(region, sequence)


def job(
    sequence: int,
    state: str = "Running",
    *,
    region: str = "one",
    error: str | None = None,
    codes: tuple[str, ...] = (),
    template: str = TEMPLATE,
    **minutes_ago: float,
) -> Job:
    """A job; ``created``, ``started`` and ``ended`` are minutes before NOW."""
    times = {key: NOW - timedelta(minutes=value) for key, value in minutes_ago.items()}
    times.setdefault("created", NOW - timedelta(minutes=60))
    return Job(name_of(sequence, region), sequence, state, template, error=error, error_codes=codes, **times)


def jobs(*listed: Job, absent: Iterable[int] = (), unread: Iterable[int] = (), late: Iterable[int] = ()) -> RegionJobs:
    return RegionJobs(listed, frozenset({*absent, *late}), frozenset(unread), frozenset(late))


def running(count: int, first: int = 0) -> list[Job]:
    return [job(sequence, started=50) for sequence in range(first, first + count)]


def observed(
    *,
    now: datetime = NOW,
    visible: bool | None = True,
    control: bool | None = True,
    reports: Mapping[str, LastReport] | None = None,
    last_words: Mapping[str, Exit] | None = None,
    **readings: RegionJobs | None,
) -> Observed:
    """A reading of the world; None is unknown."""
    return Observed(
        now=now,
        regions={
            name: Unknown("Unavailable", "no answer") if reading is None else Known(reading, now)
            for name, reading in readings.items()
        },
        queue=Unknown("Unavailable", "no answer") if visible is None else Known(QueueDepth(int(visible), visible), now),
        control=Unknown("AccessDenied", "no role") if control is None else Known(control, now),
        reports=reports or {},
        last_words=last_words or {},
    )


def with_tasks(world: Observed, tasks: int, **depth: Any) -> Observed:
    """The reading with so many tasks in the queue, read now; they wait unless told otherwise."""
    depth = {"has_visible": tasks > 0} | depth
    return replace(world, queue=Known(QueueDepth(tasks, **depth), world.now))


def coordinates(region: str = "one", **changes: Any) -> RegionCoordinates:
    base = desired(regions=[workforces.region(region)])
    return base.coordinates(base.spec.regions[0]).model_copy(update=changes)


def entry(next_sequence: int | None = None, region: str = "one", **fields: Any) -> RegionLedger:
    """A region's ledger; all cohorts of reserved names are open unless told otherwise."""
    if next_sequence:
        fields.setdefault("open_cohorts", frozenset(range((next_sequence - 1) // 256 + 1)))
    fields.setdefault("coordinates", coordinates(region))
    fields["hiring"] = frozenset(fields.get("hiring", ()))
    return RegionLedger(next_sequence=next_sequence, **fields)


def ledger(**regions: RegionLedger) -> Ledger:
    return Ledger(regions)


def wave(*jobs: int, revision: int = 100, state: DrainState = DrainState.SENT, **fields: Any) -> Wave:
    """A wave that was sent a minute ago."""
    base = {
        "id": f"w{revision}",
        "mode": DrainMode.FINISH,
        "state": state,
        "revision": revision,
        "jobs": frozenset(jobs),
        "sent": NOW - MINUTE,
        "deadline": NOW + timedelta(hours=24),
        "reason": "ScaleDown",
    }
    return Wave(**(base | fields))


def report(
    sequence: int,
    *,
    busy: int = 1,
    accepting: bool = True,
    task_minutes: float | None = None,
    saved_minutes: float | None = None,
    revision: int = 0,
    drain_id: str | None = None,
    minutes_ago: float = 0,
) -> LastReport:
    said = State(
        job=name_of(sequence),
        time=NOW - timedelta(minutes=minutes_ago),
        busy_slots=busy,
        oldest_task_start=None if task_minutes is None else NOW - timedelta(minutes=task_minutes),
        last_checkpoint=None if saved_minutes is None else NOW - timedelta(minutes=saved_minutes),
        completed=0,
        failed=0,
        accepting=accepting,
        drain_id=drain_id,
        revision=revision,
    )
    return LastReport.of(said)


def hires(plan: Plan) -> list[int]:
    return [action.sequence for action in plan.actions if isinstance(action, Hire)]


def orders(plan: Plan) -> dict[str, str]:
    """Operation by job of every order that is sent by itself."""
    return {action.job: action.order.operation.value for action in plan.actions if isinstance(action, SendOrder)}


def pending_cancels(plan: Plan) -> list[str]:
    return [action.job for action in plan.actions if isinstance(action, CancelPending)]


def cancels(plan: Plan) -> list[str]:
    return [action.job for action in plan.actions if isinstance(action, Cancel)]


def resumed(plan: Plan) -> list[str]:
    return [action.job for action in plan.actions if isinstance(action, Resume)]
