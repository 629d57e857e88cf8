"""The living worker jobs of a Workforce, a line each: what AzureML says, what the worker said, and its drain. Pure."""

from __future__ import annotations

from datetime import datetime

from workforce_operator.api.base import Model
from workforce_operator.api.status import DrainState, RegionCoordinates
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Ledger, RegionLedger
from workforce_operator.domain.observed import Job, Known, Observed, Phase
from workforce_operator.domain.template import region_hashes


class WorkerDrain(Model):
    """A worker that was told to leave."""

    id: str
    """Id of the wave."""
    reason: str
    """Why."""
    sent_time: datetime
    """Since when."""
    deadline_time: datetime
    """When it is expected to be gone."""


class Worker(Model):
    """One living job."""

    name: str
    """Name of the AzureML job."""
    region: str
    """Where it is."""
    state: str
    """AzureML's state."""
    phase: str
    """What it is counted as: pending, running, paused or ending."""
    created_time: datetime | None = None
    """When it was submitted."""
    started_time: datetime | None = None
    """When it began to run."""
    slots: int | None = None
    """Tasks that it runs at once; absent = not known, because it was hired with another template than today's."""
    busy_slots: int | None = None
    """Slots that have a task, by its last report; absent = it has not reported."""
    accepting: bool | None = None
    """Whether it takes tasks, by its last report."""
    reported_time: datetime | None = None
    """When it reported last."""
    drain: WorkerDrain | None = None
    """Its drain, if it was told to leave."""
    studio: str
    """Link to the job in the studio."""


class Workers(Model):
    """The living jobs of a Workforce, and the regions that could not be read."""

    time: datetime
    """When they were read."""
    workers: tuple[Worker, ...]
    """One per job, in the order of regions and sequences."""
    unreadable: tuple[str, ...] = ()
    """Regions that could not be read: their jobs are missing here."""


def workers(desired: Desired, observed: Observed, ledger: Ledger, *, studio: str) -> Workers:
    """All living jobs.

    Args:
        desired: The Workforce.
        observed: The last reading.
        ledger: The ledger that the last pass wrote.
        studio: Base URL of the AzureML studio.
    """
    templates = region_hashes(desired.spec, observed.regions)
    slots = desired.spec.template.slots
    found: list[Worker] = []
    unreadable: list[str] = []
    for name, reading in observed.regions.items():
        entry = ledger.regions.get(name)
        if not isinstance(reading, Known):
            unreadable.append(name)
        elif entry is not None:
            jobs = sorted(reading.value.jobs, key=lambda job: job.sequence)
            found += [
                _worker(
                    observed,
                    name,
                    entry,
                    job,
                    slots=slots if job.template_hash == templates[name] else None,
                    studio=studio,
                )
                for job in jobs
                if job.phase is not Phase.ENDED
            ]
    return Workers(time=observed.now, workers=tuple(found), unreadable=tuple(unreadable))


def _worker(
    observed: Observed, region: str, ledger: RegionLedger, job: Job, *, slots: int | None, studio: str
) -> Worker:
    report = observed.reports.get(job.name)
    return Worker(
        name=job.name,
        region=region,
        state=job.state,
        phase=job.phase.value,
        created_time=job.created,
        started_time=job.started,
        slots=slots,
        busy_slots=report.busy_slots if report else None,
        accepting=report.accepting if report else None,
        reported_time=report.time if report else None,
        drain=_drain(ledger, job.sequence),
        studio=_studio(studio, ledger.coordinates, job.name),
    )


def _drain(ledger: RegionLedger, sequence: int) -> WorkerDrain | None:
    for wave in ledger.waves:
        if wave.state is DrainState.SENT and sequence in wave.jobs:
            return WorkerDrain(id=wave.id, reason=wave.reason, sent_time=wave.sent, deadline_time=wave.deadline)
    return None


def _studio(base: str, place: RegionCoordinates, job: str) -> str:
    workspace = (
        f"/subscriptions/{place.subscription_id}/resourcegroups/{place.resource_group}/workspaces/{place.workspace}"
    )
    return f"{base}/runs/{job}?wsid={workspace}"
