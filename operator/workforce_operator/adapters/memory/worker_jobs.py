"""AzureML without AzureML: jobs per workspace, moved from state to state by tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from jobq.names import cohort, parse_job_name
from workforce_operator.adapters.memory.clock import ManualClock
from workforce_operator.adapters.memory.faults import Faults
from workforce_operator.adapters.memory.guard import MemoryGuard
from workforce_operator.api.status import RegionCoordinates
from workforce_operator.domain.errors import Missing, SpecError
from workforce_operator.domain.observed import Job, Phase
from workforce_operator.ports.azure import JobBody, Listing, Workplace, WriteGuard
from workforce_operator.ports.kubernetes import Clock

PAGE = 100
"""Jobs per page of a list."""

_Address = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as the service holds it; ``owner`` and ``prefix`` tell whose it is."""

    job: Job
    owner: str
    prefix: str
    body: Mapping[str, Any]
    canceled_while: str | None = None


class MemoryWorkerJobs:
    """Workspaces by their coordinates. All exist unless they are in ``missing``."""

    def __init__(self, clock: Clock | None = None, guard: WriteGuard | None = None) -> None:
        self.faults = Faults()
        self.page_size = PAGE
        self.missing: set[str] = set()
        self.used_up: set[str] = set()
        """Names of jobs whose execution time is used up."""
        self.jobs: dict[_Address, StoredJob] = {}
        self._clock = clock or ManualClock()
        self._guard = guard or MemoryGuard()
        self._frozen: dict[_Address, StoredJob] | None = None

    async def list_cohorts(self, place: Workplace, cohorts: frozenset[int]) -> tuple[Job, ...]:
        """See ``ports.azure.WorkerJobs``."""
        with self.faults.call("list_cohorts", place, cohorts):
            return self._listed(place, lambda job: cohort(job.sequence) in cohorts)

    async def list_installation(self, place: Workplace, *, most_pages: int) -> Listing | None:
        """See ``ports.azure.WorkerJobs``."""
        with self.faults.call("list_installation", place, most_pages):
            jobs: dict[tuple[str, str], list[Job]] = {}
            ours = [each for each in self._stored(place) if each.owner.startswith(f"{place.installation_id}/")]
            for stored in ours:
                jobs.setdefault((stored.owner, stored.prefix), []).append(stored.job)
            pages = max(1, math.ceil(len(ours) / self.page_size))
            return None if pages > most_pages else Listing({key: tuple(each) for key, each in jobs.items()}, pages)

    async def list_owned(self, place: Workplace) -> tuple[Job, ...]:
        """See ``ports.azure.WorkerJobs``."""
        with self.faults.call("list_owned", place):
            return self._listed(place, lambda _: True)

    async def get(self, place: Workplace, name: str) -> Job | None:
        """See ``ports.azure.WorkerJobs``."""
        with self.faults.call("get", place, name):
            return self._read(place, name)

    async def hire(self, place: Workplace, name: str, sequence: int, body: JobBody) -> Job:
        """See ``ports.azure.WorkerJobs``."""
        with self.faults.call("hire", place, name, sequence, body):
            self._guard.check()
            existing = self._read(place, name)
            if existing is not None:
                return existing
            job = Job(name, sequence, "Starting", template_hash=body.template_hash, created=self._clock.now())
            self.jobs[_address(place.coordinates, name)] = StoredJob(job, place.owner, place.prefix, body.properties)
            return job

    async def resume(self, place: Workplace, name: str) -> bool:
        """See ``ports.azure.WorkerJobs``."""
        with self.faults.call("resume", place, name):
            self._guard.check()
            self._check_workspace(place)
            stored = self.jobs.get(_address(place.coordinates, name))
            if stored is None or stored.job.phase is not Phase.PAUSED:
                return True
            if name in self.used_up:
                return False
            self.set_state(name, "Queued")
            return True

    async def cancel(self, place: Workplace, name: str) -> None:
        """See ``ports.azure.WorkerJobs``."""
        with self.faults.call("cancel", place, name):
            self._guard.check()
            self._check_workspace(place)
            address = _address(place.coordinates, name)
            stored = self.jobs.get(address)
            if stored is not None and stored.job.phase is not Phase.ENDED:
                job = replace(stored.job, state="CancelRequested")
                while_ = stored.canceled_while or stored.job.state
                self.jobs[address] = replace(stored, job=job, canceled_while=while_)

    def set_state(self, name: str, state: str, *, at: datetime | None = None, error: str | None = None) -> Job:
        """Move a job to a state as AzureML would; start and end times are kept."""
        address = next(address for address in self.jobs if address[3] == name)
        stored, now = self.jobs[address], at or self._clock.now()
        job = replace(stored.job, state=state, error=error or stored.job.error)
        if job.phase is Phase.RUNNING and job.started is None:
            job = replace(job, started=now)
        if job.phase is Phase.ENDED:
            job = replace(job, ended=now)
        self.jobs[address] = replace(stored, job=job)
        return job

    def settle(self) -> None:
        """Let the platform move on: what waits runs, what is asked to end has ended."""
        for stored in tuple(self.jobs.values()):
            if stored.job.phase is Phase.PENDING:
                self.set_state(stored.job.name, "Running")
            elif stored.job.phase is Phase.ENDING:
                self.set_state(stored.job.name, "Canceled")

    def add_foreign(self, coordinates: RegionCoordinates, name: str, *, state: str = "Running") -> None:
        """Put somebody else's job into a workspace, perhaps under a name of ours."""
        parsed = parse_job_name(name)
        job = Job(name, parsed[1] if parsed else 0, state, created=self._clock.now())
        self.jobs[_address(coordinates, name)] = StoredJob(job, owner="", prefix="", body={})

    def freeze_lists(self) -> None:
        """From now on lists show the world as it is now, like a stale index; reads by name stay true."""
        self._frozen = dict(self.jobs)

    def thaw_lists(self) -> None:
        """Lists are true again."""
        self._frozen = None

    def live(self) -> list[Job]:
        """Every job that has not ended, of all workspaces and owners: the truth for a test's verdict."""
        return [stored.job for stored in self.jobs.values() if stored.job.phase is not Phase.ENDED]

    def _listed(self, place: Workplace, wanted: Callable[[Job], bool]) -> tuple[Job, ...]:
        return tuple(each.job for each in self._stored(place) if _ours(each, place) and wanted(each.job))

    def _stored(self, place: Workplace) -> list[StoredJob]:
        """All jobs that lists of the workspace show."""
        self._check_workspace(place)
        source = self.jobs if self._frozen is None else self._frozen
        workspace = _address(place.coordinates, "")[:3]
        return [stored for address, stored in source.items() if address[:3] == workspace]

    def _read(self, place: Workplace, name: str) -> Job | None:
        self._check_workspace(place)
        stored = self.jobs.get(_address(place.coordinates, name))
        if stored is None:
            return None
        if not _ours(stored, place):
            raise SpecError(f"job {name} exists and is not ours", reason="NameTaken")
        return stored.job

    def _check_workspace(self, place: Workplace) -> None:
        if place.coordinates.workspace in self.missing:
            raise Missing(f"workspace {place.coordinates.workspace} does not exist")


def _address(coordinates: RegionCoordinates, name: str) -> _Address:
    return coordinates.subscription_id, coordinates.resource_group, coordinates.workspace, name


def _ours(stored: StoredJob, place: Workplace) -> bool:
    return stored.owner == place.owner and stored.prefix == place.prefix
