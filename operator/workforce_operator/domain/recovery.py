"""After a ledger was lost: drains are rebuilt from what workers report, and who has not spoken is not chosen.

Reports only ever add what the lost ledger knew: a drain that a worker names by an order id which this Workforce must
have given out. Nothing here lays anybody off, and nothing here applies to a ledger that was never lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from jobq.control import order_id
from workforce_operator.api.status import DrainState
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import RegionLedger, Wave
from workforce_operator.domain.observed import Job, LastReport, Phase
from workforce_operator.domain.waves import add, wave_id

FRESH = timedelta(minutes=10)
"""Workers report every 5 minutes. What was said longer ago may have been taken back since."""

REASON = "LedgerRestored"


def restored_until(desired: Desired, ledger: RegionLedger) -> datetime | None:
    """Until when drains may be under way that the ledger does not know, or None if there cannot be any."""
    if ledger.restored is None:
        return None
    return ledger.restored + timedelta(seconds=desired.spec.drain.deadline_seconds)


def rebuilt(
    desired: Desired,
    region: str,
    jobs: Iterable[Job],
    waves: tuple[Wave, ...],
    reports: Mapping[str, LastReport],
    *,
    before: int,
    now: datetime,
) -> tuple[Wave, ...]:
    """The waves with every live job that says it was told to leave and that no wave has.

    Args:
        desired: The Workforce.
        region: The region's name.
        jobs: Its jobs.
        waves: Its waves, as far as they are known.
        reports: What workers said, by job name.
        before: Only revisions below this one can have been given out.
        now: The time of this pass.
    """
    known = frozenset(job for wave in waves for job in wave.jobs)
    found: dict[int, set[int]] = {}
    for job in jobs:
        report = reports.get(job.name)
        if job.sequence in known or job.phase in (Phase.ENDING, Phase.ENDED) or report is None:
            continue
        order = order_id(wave_id(report.revision), desired.hash10(region), job.sequence)
        fresh = now - report.time < FRESH
        if fresh and not report.accepting and report.drain_id == order and report.revision < before:
            found.setdefault(report.revision, set()).add(job.sequence)
    for revision in sorted(found):
        waves = _with(desired, waves, revision, frozenset(found[revision]), now)
    return waves


def unheard(jobs: Iterable[Job], reports: Mapping[str, LastReport], restored: datetime | None) -> frozenset[int]:
    """Sequences of jobs that a forgotten wave may hold: older than the new ledger, and silent since it began."""
    if restored is None:
        return frozenset()
    return frozenset(
        job.sequence
        for job in jobs
        if (job.created is None or job.created <= restored) and not _spoke_after(reports.get(job.name), restored)
    )


def _spoke_after(report: LastReport | None, restored: datetime) -> bool:
    return report is not None and report.time > restored


def _with(
    desired: Desired, waves: tuple[Wave, ...], revision: int, jobs: frozenset[int], now: datetime
) -> tuple[Wave, ...]:
    identity = wave_id(revision)
    same = next((wave for wave in waves if wave.id == identity), None)
    if same is not None:
        return tuple(replace(wave, jobs=wave.jobs | jobs) if wave is same else wave for wave in waves)
    wave = Wave(
        id=identity,
        mode=desired.spec.drain.mode,
        state=DrainState.SENT,
        revision=revision,
        jobs=jobs,
        sent=now,
        # The first deadline is forgotten; a later one than the worker was told does no harm.
        deadline=desired.drain_deadline(now),
        reason=REASON,
    )
    return add(waves, wave)
