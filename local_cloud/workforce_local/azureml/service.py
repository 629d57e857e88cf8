"""The AzureML of one subscription: workspaces, environments, clusters and jobs, without HTTP.

It owns the records and the tasks of the jobs. Requests are read and answered in `routes`. Invariants: one name is one
job for ever, also after it was deleted; a job that was accepted runs or is refused by its own status, never forgotten.

Two answers of the real service are not on record and are decided here: a job that names a compute or an environment
version that does not exist is refused at its PUT (400, `UserError`), and a deleted job's name is never free again.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from workforce_local.azureml import shapes
from workforce_local.azureml.cluster import Cluster
from workforce_local.azureml.errors import (
    group_not_found,
    not_found,
    run_not_found,
    subscription_not_found,
    user_error,
    workspace_not_found,
)
from workforce_local.azureml.fleet import Compute, Fleet
from workforce_local.azureml.ids import WorkspaceId, parse, workspace_id
from workforce_local.azureml.jobs import Clock, Job, JobView, utc_now
from workforce_local.azureml.life import JobLife
from workforce_local.azureml.listing import Filter, Page, page
from workforce_local.azureml.node import Node, Site
from workforce_local.azureml.states import CANCELLABLE
from workforce_local.azureml.submission import Create, Existing, Immutable, Update, check, decide
from workforce_local.config import LocalConfig, WorkspaceConfig
from workforce_local.identity import Issuer


@dataclass
class EnvironmentVersion:
    """A registered environment version."""

    name: str
    version: str
    properties: Mapping[str, Any]
    created: datetime
    by: str


@dataclass
class Workspace:
    """What a workspace holds."""

    id: WorkspaceId
    config: WorkspaceConfig
    computes: dict[str, Compute]
    environments: dict[tuple[str, str], EnvironmentVersion] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    folder: Path = Path()
    """Of its jobs."""


class MachineLearning:
    """The service. Start it before use; closing it ends all jobs."""

    def __init__(self, config: LocalConfig, site: Site, issuer: Issuer, *, clock: Clock = utc_now) -> None:
        self.config = config
        self.fleet = Fleet(config, site, issuer, clock)
        self.list_lag = timedelta(seconds=config.scenario.list_lag_seconds)
        self.index_lag = timedelta(seconds=config.scenario.index_lag_seconds)
        self._site = site
        self._clock = clock
        self._sequence = 0
        self._lives: set[asyncio.Task[None]] = set()
        self._groups = {group.lower() for group in config.resource_groups}
        self._workspaces = {
            workspace.id.key: workspace
            for settings in config.workspaces
            for workspace in (self._make_workspace(settings),)
        }

    def start(self) -> None:
        """Start the nodes that are always there."""
        for compute in self.fleet:
            if isinstance(compute.cluster, Cluster):
                compute.cluster.start()

    async def close(self) -> None:
        """End all jobs, then take all nodes down."""
        for life in self._lives:
            life.cancel()
        if self._lives:
            await asyncio.wait(self._lives)
        await self.fleet.close()

    def now(self) -> datetime:
        """The time."""
        return self._clock()

    def records(self) -> list[Job]:
        """All records, the oldest first."""
        every = [job for workspace in self._workspaces.values() for job in workspace.jobs.values()]
        return sorted(every, key=lambda job: job.sequence)

    def jobs(self) -> list[JobView]:
        """All jobs, the oldest first."""
        return [job.view() for job in self.records()]

    def node(self, node_id: str) -> Node:
        """Find a node that is up."""
        return self.fleet.node(node_id)[1]

    def workspaces(self, location: str) -> list[Workspace]:
        """The workspaces of a region."""
        return [found for found in self._workspaces.values() if found.config.location.lower() == location.lower()]

    def workspace(self, wanted: WorkspaceId) -> Workspace:
        """Find a workspace.

        Raises:
            ArmError: ARM's answer for whatever part of the address does not exist.
        """
        if wanted.subscription.lower() != self.config.subscription_id.lower():
            raise subscription_not_found(wanted.subscription)
        if wanted.group.lower() not in self._groups:
            raise group_not_found(wanted.group)
        found = self._workspaces.get(wanted.key)
        if found is None:
            raise workspace_not_found(wanted)
        return found

    def location_of(self, names: Mapping[str, str]) -> str:
        """The region that a request is for, from the names in its path; empty if it has none."""
        if "location" in names:
            return names["location"]
        if "workspace" not in names:
            return ""
        found = self._workspaces.get(workspace_id(names["subscription"], names["group"], names["workspace"]).key)
        return found.config.location if found else ""

    # -- environments

    def environment(self, workspace: Workspace, name: str, version: str) -> EnvironmentVersion:
        """Find an environment version, or raise that it does not exist."""
        found = workspace.environments.get((name.lower(), version.lower()))
        if found is None:
            raise not_found(f"Environment {name} with version {version}")
        return found

    def environment_versions(self, workspace: Workspace, name: str) -> list[EnvironmentVersion]:
        """All versions of an environment, the newest first; raises if there is none."""
        found = [version for (of, _), version in workspace.environments.items() if of == name.lower()]
        if not found:
            raise not_found(f"Environment {name}")
        return list(reversed(found))

    def put_environment(
        self, workspace: Workspace, name: str, version: str, properties: Mapping[str, Any], by: str
    ) -> tuple[EnvironmentVersion, bool]:
        """Register an environment version. Returns it, and whether it is new; an image does not change any more."""
        key = (name.lower(), version.lower())
        existing = workspace.environments.get(key)
        if existing is not None:
            image = properties.get("image")
            if image is not None and image != existing.properties.get("image"):
                raise user_error(f"Environment {name}:{version} exists with another image.", "Immutable", status=409)
            existing.properties = {**existing.properties, **properties}
            return existing, False
        made = EnvironmentVersion(name, version, dict(properties), self._clock(), by)
        workspace.environments[key] = made
        return made, True

    # -- jobs

    def put_job(self, workspace: Workspace, name: str, properties: Mapping[str, Any], by: str) -> tuple[Job, bool]:
        """Make a job, or change what may be changed of one. Returns it, and whether it is new.

        Raises:
            ArmError: What the service would refuse.
        """
        existing = workspace.jobs.get(name)
        known = Existing(existing.submitted, existing.properties) if existing else None
        if existing is None:
            check(name, properties)
        if name in workspace.deleted:
            raise user_error(f"A job with the name {name} was deleted; a name cannot be used again.", "Immutable")
        decision = decide(known, properties, self.config.arm.replay)
        match decision:
            case Immutable():
                raise decision.error()
            case Update(changes=changes):
                assert existing is not None
                existing.change(changes)
                return existing, False
            case Create():
                return self._create(workspace, name, properties, by), True

    def job(self, workspace: Workspace, name: str) -> Job:
        """Find a job, or raise that it does not exist."""
        found = workspace.jobs.get(name)
        if found is None:
            raise run_not_found(name)
        return found

    def list_jobs(self, workspace: Workspace, chosen: Filter) -> Page[Job]:
        """One page of a workspace's jobs, as they were when the list was last brought up to date."""
        known: Iterable[Job] = reversed(workspace.jobs.values())
        if self.list_lag:
            seen = self._clock() - self.list_lag
            known = (job for job in known if job.created <= seen)
        return page(known, chosen, self.config.arm.page_size)

    def cancel_job(self, workspace: Workspace, name: str) -> bool:
        """Ask a job to end. Returns whether there is something to wait for."""
        job = self.job(workspace, name)
        if job.status in CANCELLABLE and job.life is not None:
            job.life.cancel()
        return not job.terminal

    def exhausted_hours(self, job: Job) -> float | None:
        """The execution time that a virtual cluster grants, if a job has used it up."""
        for compute in self.fleet.virtual.values():
            if compute.virtual is not None and job.place == ("", compute.config.name):
                hours = compute.virtual.max_execution_hours
                used_up = job.used_up or job.ran_seconds(self._clock()) > 3600 * hours
                return hours if used_up else None
        return None

    def delete_job(self, workspace: Workspace, name: str) -> None:
        """Remove the record of a job that has ended; its name stays taken."""
        job = self.job(workspace, name)
        if not job.terminal:
            raise user_error(f"Run {name} is in a non-terminal state and cannot be deleted.", status=409)
        del workspace.jobs[name]
        workspace.deleted.add(name)
        job.changed()

    def _create(self, workspace: Workspace, name: str, properties: Mapping[str, Any], by: str) -> Job:
        compute = self._compute_of(workspace, properties)
        self._check_environment(workspace, properties)
        count = int((properties.get("resources") or {}).get("instanceCount") or 1)
        if not 1 <= count <= max(compute.config.max_nodes, 1):
            raise user_error(f"instanceCount {count} is more than the {compute.config.max_nodes} nodes of the compute.")
        self._sequence += 1
        now = self._clock()
        first = compute.cluster.pace.first(name)
        document = shapes.job_properties(workspace.id, workspace.config.location, name, properties, str(first))
        document["properties"] |= shapes.target_properties(compute.config.name, compute.type_name, properties)
        job = Job(
            workspace=workspace.id, name=name, cluster=compute.config.name, sequence=self._sequence,
            submitted=dict(properties), properties=document, created=now, created_by=by,
            home=workspace.folder,
        )  # fmt: skip
        job.go(first, now)
        workspace.jobs[name] = job
        self._begin(job, compute)
        return job

    def _begin(self, job: Job, compute: Compute) -> None:
        cluster = compute.cluster
        if not isinstance(cluster, Cluster):
            job.life = cluster.submit(job)
            return
        # Records end with the process: a folder that is there already is an earlier run's job of the same name.
        shutil.rmtree(job.folder, ignore_errors=True)
        job.folder.mkdir(parents=True)
        # Both can be read from the first moment on.
        job.launch.stdout.touch()
        job.launch.stderr.touch()
        job.life = JobLife(job, cluster, cluster.pace, clock=self._clock)
        life = asyncio.create_task(job.life.run(), name=f"job {job.name}")
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    def _compute_of(self, workspace: Workspace, properties: Mapping[str, Any]) -> Compute:
        compute_id = str(properties["computeId"])
        if (virtual := self.fleet.virtual.get(compute_id.lower())) is not None:
            return virtual
        child = parse(compute_id)
        names = child.named("computes") if child else None
        if child is None or names is None or child.workspace.key != workspace.id.key:
            raise user_error(f"computeId '{compute_id}' is not a compute of workspace {workspace.config.name}.")
        compute = workspace.computes.get(names[0].lower())
        if compute is None:
            raise user_error(f"Compute target '{names[0]}' was not found.", "NotFound", "ComputeNotFound")
        return compute

    def _check_environment(self, workspace: Workspace, properties: Mapping[str, Any]) -> None:
        environment_id = str(properties["environmentId"])
        child = parse(environment_id)
        names = child.named("environments", "versions") if child else None
        if child is None or names is None or child.workspace.key != workspace.id.key:
            raise user_error(f"environmentId '{environment_id}' is not an environment version of this workspace.")
        if (names[0].lower(), names[1].lower()) not in workspace.environments:
            raise user_error(
                f"Environment {names[0]} with version {names[1]} was not found.", "NotFound", "EnvironmentNotFound"
            )

    def _make_workspace(self, settings: WorkspaceConfig) -> Workspace:
        address = WorkspaceId(self.config.subscription_id, settings.resource_group, settings.name)
        now = self._clock()
        environments = {
            (given.name.lower(), given.version.lower()): EnvironmentVersion(
                given.name, given.version, shapes.environment_properties(given), now, "local"
            )
            for given in settings.environments
        }
        folder = self._site.state_dir / "jobs" / settings.name
        return Workspace(address, settings, self.fleet.of(address), environments, folder=folder)
