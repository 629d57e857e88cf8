"""The AzureML routes of the resource manager: from requests to the service, and from records to documents.

Every handler takes a `Call` and returns a `Reply`; authentication, headers and the log are the server's. Any
api-version is accepted. It decides nothing that `service` or a pure module could decide.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from workforce_local.azureml import shapes
from workforce_local.azureml.calls import Call, Handler, Reply
from workforce_local.azureml.cluster import Cluster
from workforce_local.azureml.durations import format_duration
from workforce_local.azureml.errors import not_found
from workforce_local.azureml.fleet import Compute, virtual_cluster_id
from workforce_local.azureml.ids import PROVIDER
from workforce_local.azureml.jobs import Job
from workforce_local.azureml.listing import Filter
from workforce_local.azureml.paths import ENVIRONMENT, JOB, LOCATION, RUN, VIRTUAL_CLUSTER, WORKSPACE
from workforce_local.azureml.service import EnvironmentVersion, MachineLearning, Workspace

_CANCEL_POLL_SECONDS = 1
_PAGES_KEPT = 500


class MachineLearningRoutes:
    """The handlers, over one service."""

    def __init__(self, service: MachineLearning) -> None:
        self._service = service
        self._pages: dict[tuple[str, ...], bytes] = {}
        self._pages_changes = Job.changes

    def table(self) -> list[tuple[str, str, Handler]]:
        """Method, path template and handler of every route."""
        return [
            ("GET", WORKSPACE, self.get_workspace),
            ("GET", WORKSPACE + "/computes", self.list_computes),
            ("GET", WORKSPACE + "/computes/{name}", self.get_compute),
            ("POST", WORKSPACE + "/computes/{name}/listNodes", self.list_nodes),
            ("GET", VIRTUAL_CLUSTER, self.get_virtual_cluster),
            ("GET", LOCATION + "/usages", self.list_usages),
            ("GET", LOCATION + "/mfeOperationResults/{operation}", self.operation_result),
            ("GET", ENVIRONMENT, self.get_environment),
            ("GET", ENVIRONMENT + "/versions", self.list_environment_versions),
            ("GET", ENVIRONMENT + "/versions/{version}", self.get_environment_version),
            ("PUT", ENVIRONMENT + "/versions/{version}", self.put_environment_version),
            ("GET", WORKSPACE + "/jobs", self.list_jobs),
            ("PUT", JOB, self.put_job),
            ("GET", JOB, self.get_job),
            ("DELETE", JOB, self.delete_job),
            ("POST", JOB + "/cancel", self.cancel_job),
            ("PATCH", RUN, self.patch_run),
        ]

    def _workspace(self, call: Call) -> Workspace:
        return self._service.workspace(call.workspace_id)

    # -- workspaces, clusters, quota

    def get_workspace(self, call: Call) -> Reply:
        """A workspace."""
        found = self._workspace(call)
        config = self._service.config
        document = shapes.workspace_document(
            found.id, found.config, base_url=call.base_url, tenant_id=config.tenant_id,
            storage_account=next(iter(config.storage_accounts), "none"),
        )  # fmt: skip
        return Reply(body=document)

    def list_computes(self, call: Call) -> Reply:
        """The clusters of a workspace."""
        found = self._workspace(call)
        documents = [self._document(found, compute) for compute in found.computes.values()]
        return Reply(body={"value": documents, "nextLink": None})

    def get_compute(self, call: Call) -> Reply:
        """A cluster with its node counts."""
        found = self._workspace(call)
        return Reply(body=self._document(found, _compute(found, call.names["name"])))

    def list_nodes(self, call: Call) -> Reply:
        """The nodes of a cluster and the jobs on them; a simulated cluster has none."""
        cluster = _compute(self._workspace(call), call.names["name"]).cluster
        nodes = [
            shapes.node_document(node.node_id, node.address, "running" if node.job else "idle", node.job)
            for node in (cluster.nodes() if isinstance(cluster, Cluster) else [])
        ]
        return Reply(body={"nodes": nodes, "nextLink": None})

    def get_virtual_cluster(self, call: Call) -> Reply:
        """A Singularity virtual cluster."""
        compute = self._service.fleet.virtual.get(call.path.rstrip("/").lower())
        if compute is None or compute.virtual is None:
            raise not_found(f"Virtual cluster {call.names['name']}")
        document = shapes.virtual_cluster_document(
            virtual_cluster_id(call.names["subscription"], compute.virtual), compute.config.name, compute.location,
            nodes=compute.config.max_nodes, used=compute.cluster.counts().running,
        )  # fmt: skip
        return Reply(body=document)

    def list_usages(self, call: Call) -> Reply:
        """Cores in use in a region."""
        location = call.names["location"]
        current, limit = self._service.fleet.usage(location)
        line = shapes.usage_document(
            call.names["subscription"], location, "lowPriorityCores", "Low Priority Cores", current=current, limit=limit
        )
        return Reply(body={"value": [line], "nextLink": None})

    def _document(self, workspace: Workspace, compute: Compute) -> dict[str, Any]:
        cluster = compute.cluster
        errors = [shapes.quota_error(compute.location)] if self._service.fleet.over_quota(compute) else None
        return shapes.compute_document(
            workspace.id, compute.location, compute.config, cluster.counts(), created=cluster.created,
            changed=cluster.changed, idle=format_duration(self._service.config.timing.node_idle_seconds),
            tenant_id=self._service.config.tenant_id, errors=errors,
        )  # fmt: skip

    # -- environments

    def get_environment(self, call: Call) -> Reply:
        """The container of an environment's versions."""
        found = self._workspace(call)
        versions = self._service.environment_versions(found, call.names["name"])
        newest = versions[0]
        document = {
            "id": f"{found.id}/environments/{newest.name}",
            "name": newest.name,
            "type": f"{PROVIDER}/workspaces/environments",
            "properties": {
                "description": None, "tags": {}, "properties": {}, "isArchived": False,
                "latestVersion": newest.version, "nextVersion": str(len(versions) + 1),
            },
            "systemData": shapes.system_data(versions[-1].created, versions[-1].by),
        }  # fmt: skip
        return Reply(body=document)

    def list_environment_versions(self, call: Call) -> Reply:
        """The versions of an environment, by creation time."""
        found = self._workspace(call)
        versions = self._service.environment_versions(found, call.names["name"])
        if not call.query.get("$orderBy", "createdtime desc").lower().endswith("desc"):
            versions.reverse()
        top = call.query.get("$top", "")
        versions = versions[: int(top)] if top.isdecimal() else versions
        return Reply(body={"value": [_environment(found, version) for version in versions], "nextLink": None})

    def get_environment_version(self, call: Call) -> Reply:
        """One version of an environment."""
        found = self._workspace(call)
        return Reply(
            body=_environment(found, self._service.environment(found, call.names["name"], call.names["version"]))
        )

    def put_environment_version(self, call: Call) -> Reply:
        """Register a version of an environment."""
        found = self._workspace(call)
        version, new = self._service.put_environment(
            found, call.names["name"], call.names["version"], call.properties(), call.principal
        )
        return Reply(201 if new else 200, _environment(found, version))

    # -- jobs

    def put_job(self, call: Call) -> Reply:
        """Hire."""
        job, new = self._service.put_job(self._workspace(call), call.names["name"], call.properties(), call.principal)
        if not new:
            return Reply(200, job.encoded())
        return Reply(201, job.encoded(), {"Location": f"{call.url}?{_query(tuple(call.query.items()))}"})

    def get_job(self, call: Call) -> Reply:
        """One job."""
        return Reply(body=self._service.job(self._workspace(call), call.names["name"]).encoded())

    def list_jobs(self, call: Call) -> Reply:
        """One page of jobs; kept until any job changes, because the same lists are asked for again and again."""
        if self._service.list_lag:
            return Reply(body=self._page(call))
        if self._pages_changes != Job.changes or len(self._pages) >= _PAGES_KEPT:
            self._pages.clear()
            self._pages_changes = Job.changes
        asked = (call.url, *(text for pair in call.query.items() for text in pair))
        if (page := self._pages.get(asked)) is None:
            page = self._pages[asked] = self._page(call)
        return Reply(body=page)

    def _page(self, call: Call) -> bytes:
        found = self._service.list_jobs(self._workspace(call), Filter.read(call.query))
        link = None
        if found.skip is not None:
            link = f"{call.url}?{urlencode({**call.query, '$skip': found.skip})}"
        jobs = b",".join(self._listed(job) for job in found.items)
        return b'{"value":[' + jobs + b'],"nextLink":' + json.dumps(link).encode() + b"}"

    def _listed(self, job: Job) -> bytes:
        """A job in a list, which may be behind what a GET of the job says."""
        if not self._service.list_lag:
            return job.encoded()
        return json.dumps(job.document(job.status_at(self._service.now() - self._service.list_lag))).encode()

    def delete_job(self, call: Call) -> Reply:
        """Remove a job that has ended."""
        self._service.delete_job(self._workspace(call), call.names["name"])
        return Reply(204)

    def cancel_job(self, call: Call) -> Reply:
        """Ask a job to end; with nothing to wait for the answer is 200."""
        found = self._workspace(call)
        name = call.names["name"]
        if not self._service.cancel_job(found, name):
            return Reply(200)
        operation = f"jc:{shapes.workspace_guid(found.id)}:{name}"
        path = LOCATION.format(subscription=found.id.subscription, location=found.config.location)
        return _wait(f"{call.base_url}{path}/mfeOperationResults/{operation}?{urlencode(dict(call.query))}")

    def operation_result(self, call: Call) -> Reply:
        """Whether a cancelled job has ended."""
        kind, _, rest = call.names["operation"].partition(":")
        guid, _, name = rest.partition(":")
        for workspace in self._service.workspaces(call.names["location"]):
            if kind == "jc" and shapes.workspace_guid(workspace.id) == guid:
                job = self._service.job(workspace, name)
                return Reply(200) if job.terminal else _wait(f"{call.url}?{urlencode(dict(call.query))}")
        raise not_found(f"Operation {call.names['operation']}")

    def patch_run(self, call: Call) -> Reply:
        """Run history: archive, and change what may be changed of a job; tags and properties are merged."""
        job = self._service.job(self._workspace(call), call.names["name"])
        changes = {key: call.body[key] for key in ("displayName", "description") if call.body.get(key) is not None}
        if call.body.get("hidden") is not None:
            changes["isArchived"] = bool(call.body["hidden"])
        for key in ("tags", "properties"):
            if call.body.get(key):
                changes[key] = {**job.properties[key], **call.body[key]}
        job.change(changes)
        document = {
            "runId": job.name, "status": str(job.status), "hidden": job.properties["isArchived"],
            "displayName": job.properties["displayName"], "description": job.properties["description"],
            "tags": job.properties["tags"], "properties": job.properties["properties"],
        }  # fmt: skip
        return Reply(body=document)


@lru_cache
def _query(pairs: tuple[tuple[str, str], ...]) -> str:
    """A query of a URL: the same few again and again."""
    return urlencode(pairs)


def _compute(workspace: Workspace, name: str) -> Compute:
    found = workspace.computes.get(name.lower())
    if found is None:
        raise not_found(f"Compute {name}")
    return found


def _environment(workspace: Workspace, version: EnvironmentVersion) -> dict[str, Any]:
    return shapes.environment_document(
        workspace.id, version.name, version.version, version.properties, created=version.created, by=version.by
    )


def _wait(location: str) -> Reply:
    return Reply(202, None, {"Location": location, "Retry-After": str(_CANCEL_POLL_SECONDS)})
