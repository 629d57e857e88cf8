"""Worker jobs over ARM: list, read, hire, resume and cancel. See ``ports.azure.WorkerJobs`` for the contract.

A hire is one PUT. What an answer other than 201 means is settled by reading the job, because the service may call the
repetition of a PUT that it has applied an attempt to change an immutable job.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, NoReturn
from urllib.parse import quote

from jobq.names import COHORT_PROPERTY, INSTALLATION_PROPERTY, OWNER_PROPERTY, cohort, cohort_value
from workforce_operator.adapters.arm.client import ArmClient
from workforce_operator.adapters.arm.errors import Absent, Refused
from workforce_operator.adapters.azureml.job_json import body_of, job_of, worker_of
from workforce_operator.domain.errors import Conflict, SpecError, Unavailable
from workforce_operator.domain.observed import Job, Phase
from workforce_operator.ports.azure import JobBody, Listing, Workplace

API_VERSION = "2025-12-01"
"""The oldest general version whose list takes a filter on properties, and the one of azure-ai-ml's own client."""
_NO_COMPUTE_CODE = "ComputeNotFound"
_USED_UP = "exceeded max job execution time"
"""How the execution service says that a virtual cluster grants a job no more time. It has no code for it."""
_SUBMITTER_IDENTITY = "UserIdentity"
_EXISTS_CODES = frozenset({"JobPropertyImmutable"})


class ArmWorkerJobs:
    """The port over one ARM pipeline."""

    def __init__(self, arm: ArmClient) -> None:
        self._arm = arm
        self._locations: dict[str, str] = {}

    async def list_cohorts(self, place: Workplace, cohorts: frozenset[int]) -> tuple[Job, ...]:
        """See ``ports.azure.WorkerJobs``. One list per cohort."""
        jobs: dict[str, Job] = {}
        for number in sorted(cohorts):
            value = cohort_value(place.hash10, number)
            listed = await self._list(place, f"{COHORT_PROPERTY}={value}")
            jobs.update({job.name: job for job in listed if cohort(job.sequence) in cohorts})
        return tuple(jobs.values())

    async def list_installation(self, place: Workplace, *, most_pages: int) -> Listing | None:
        """See ``ports.azure.WorkerJobs``. Of a longer list one page more than ``most_pages`` is read."""
        jobs: dict[tuple[str, str], list[Job]] = {}
        number = 0
        async with aclosing(self._pages(place, f"{INSTALLATION_PROPERTY}={place.installation_id}")) as pages:
            async for items in pages:
                number += 1
                if number > most_pages:
                    return None
                for whose, job in filter(None, map(worker_of, items)):
                    jobs.setdefault(whose, []).append(job)
        return Listing({whose: tuple(found) for whose, found in jobs.items()}, number)

    async def list_owned(self, place: Workplace) -> tuple[Job, ...]:
        """See ``ports.azure.WorkerJobs``."""
        return tuple(await self._list(place, f"{OWNER_PROPERTY}={place.owner}"))

    async def get(self, place: Workplace, name: str) -> Job | None:
        """See ``ports.azure.WorkerJobs``."""
        what = f"read job {name}"
        try:
            reply = await self._arm.get(_job_path(place, name), api_version=API_VERSION, what=what, turn=place.owner)
        except Absent as error:
            if error.parent:
                raise
            return None
        return _ours(_document(reply.body, what), place, name)

    async def hire(self, place: Workplace, name: str, sequence: int, body: JobBody) -> Job:
        """See ``ports.azure.WorkerJobs``."""
        what = f"hire job {name}"
        try:
            reply = await self._arm.write(
                "PUT",
                _job_path(place, name),
                api_version=API_VERSION,
                what=what,
                turn=place.owner,
                body=body_of(place, name, sequence, body),
                as_submitter=_acts_as_submitter(body),
            )
        except Refused as error:
            if not error.codes & _EXISTS_CODES:
                _refuse(error, place)
        else:
            if reply.status == 201:
                return _ours(_document(reply.body, what), place, name)
        job = await self.get(place, name)
        if job is None:
            raise Unavailable(f"{what}: the service says that it exists, and does not find it; trying again")
        return job

    async def resume(self, place: Workplace, name: str) -> bool:
        """See ``ports.azure.WorkerJobs``. ARM cannot do this; the studio's execution service does."""
        what = f"resume job {name}"
        location, experiment = await self._location(place), quote(place.coordinates.experiment, safe="")
        path = f"/api/{location}/execution/v1.0{workspace_path(place)}/experiments/{experiment}/runId/{name}/resume"
        try:
            await self._arm.studio_post(path, what=what, scope=_job_path(place, name))
        except (Refused, Conflict, Absent) as error:
            if _USED_UP in str(error):
                return False
            job = await self.get(place, name)
            if job is not None and job.phase is Phase.PAUSED:
                raise Unavailable(str(error)) from error
        return True

    async def _location(self, place: Workplace) -> str:
        """Where a workspace is; that does not change."""
        path = workspace_path(place)
        if path not in self._locations:
            what = f"read workspace {place.coordinates.workspace}"
            reply = await self._arm.get(path, api_version=API_VERSION, what=what, turn=place.owner)
            location = reply.body.get("location") if isinstance(reply.body, Mapping) else None
            if not isinstance(location, str) or not location.isalnum():
                raise Unavailable(f"{what}: the answer does not say where it is")
            self._locations[path] = location
        return self._locations[path]

    async def cancel(self, place: Workplace, name: str) -> None:
        """See ``ports.azure.WorkerJobs``."""
        path = _job_path(place, name) + "/cancel"
        try:
            await self._arm.write("POST", path, api_version=API_VERSION, what=f"cancel job {name}", turn=place.owner)
        except Absent as error:
            if error.parent:
                raise
        except (Refused, Conflict):
            # Perhaps it has ended in between; the service is not consistent in what it says then.
            job = await self.get(place, name)
            if job is not None and job.phase not in {Phase.ENDED, Phase.ENDING}:
                raise

    async def _list(self, place: Workplace, properties: str) -> list[Job]:
        # The service's filter only saves pages: what is ours is decided here, on each document.
        return [
            job
            async for items in self._pages(place, properties)
            for item in items
            if (job := job_of(item, place)) is not None
        ]

    async def _pages(self, place: Workplace, properties: str) -> AsyncGenerator[list[dict[str, Any]], None]:
        pages = self._arm.pages(
            _jobs_path(place),
            api_version=API_VERSION,
            what=f"list the jobs of region {place.region}",
            turn=place.owner,
            params={"properties": properties, "listViewType": "All"},
        )
        try:
            async for items in pages:
                yield items
        except Absent as error:
            if error.parent:
                raise
            # Only a workspace that is said not to exist may ever count as one without jobs.
            raise Unavailable(str(error)) from error


def workspace_path(place: Workplace) -> str:
    """ARM id of a region's workspace."""
    where = place.coordinates
    return (
        f"/subscriptions/{quote(where.subscription_id, safe='')}"
        f"/resourceGroups/{quote(where.resource_group, safe='()')}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{quote(where.workspace, safe='')}"
    )


def _jobs_path(place: Workplace) -> str:
    return workspace_path(place) + "/jobs"


def _job_path(place: Workplace, name: str) -> str:
    return f"{_jobs_path(place)}/{quote(name, safe='')}"


def _acts_as_submitter(body: JobBody) -> bool:
    identity = body.properties.get("identity")
    return isinstance(identity, Mapping) and identity.get("identityType") == _SUBMITTER_IDENTITY


def _document(body: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(body, Mapping) or "name" not in body:
        raise Unavailable(f"{what}: the answer is not a job")
    return body


def _ours(document: Mapping[str, Any], place: Workplace, name: str) -> Job:
    job = job_of(document, place)
    if job is None or job.name != name:
        raise SpecError(
            f"a job named {name} exists in workspace {place.coordinates.workspace} and is not of this Workforce; "
            "cancel and archive it, or rename the region",
            reason="NameTaken",
        )
    return job


def _refuse(error: Refused, place: Workplace) -> NoReturn:
    if _NO_COMPUTE_CODE in error.codes:
        text = f"compute {place.coordinates.compute} is not in workspace {place.coordinates.workspace}: {error}"
        raise SpecError(text, reason="ComputeNotFound") from error
    raise SpecError(str(error), reason="InvalidTemplate") from error
