"""The AzureML routes of the resource manager: from requests to the service, and from records to documents.

Every handler takes a `Call` and returns a `Reply`; authentication, headers and the log are the server's. Any
api-version is accepted. It decides nothing that `service` or a pure module could decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from workforce_local.azureml import shapes
from workforce_local.azureml.durations import format_duration
from workforce_local.azureml.errors import not_found, user_error
from workforce_local.azureml.ids import PROVIDER, WorkspaceId
from workforce_local.azureml.listing import Filter
from workforce_local.azureml.service import EnvironmentVersion, MachineLearning, Workspace, usages

WORKSPACE = "/subscriptions/{subscription}/resourceGroups/{group}/providers/" + PROVIDER + "/workspaces/{workspace}"
LOCATION = "/subscriptions/{subscription}/providers/" + PROVIDER + "/locations/{location}"
JOB = WORKSPACE + "/jobs/{name}"
ENVIRONMENT = WORKSPACE + "/environments/{name}"
RUN = "/history/v1.0" + WORKSPACE + "/experiments/{experiment}/runs/{name}"

_CANCEL_POLL_SECONDS = 1


@dataclass(frozen=True)
class Call:
    """One authenticated request."""

    base_url: str
    path: str
    names: Mapping[str, str]
    query: Mapping[str, str]
    principal: str
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def workspace_id(self) -> WorkspaceId:
        """The workspace in the path."""
        return WorkspaceId(self.names["subscription"], self.names["group"], self.names["workspace"])

    @property
    def url(self) -> str:
        """The address that was called, without its query."""
        return self.base_url + self.path

    def properties(self) -> Mapping[str, Any]:
        """The `properties` of the body, or a refusal."""
        found = self.body.get("properties")
        if not isinstance(found, Mapping):
            raise user_error("The request body must have an object 'properties'.")
        return found


@dataclass(frozen=True)
class Reply:
    """One answer; no body is an empty one."""

    status: int = 200
    body: Mapping[str, Any] | list[Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Reply]


class MachineLearningRoutes:
    """The handlers, over one service."""

    def __init__(self, service: MachineLearning) -> None:
        self._service = service

    def table(self) -> list[tuple[str, str, Handler]]:
        """Method, path template and handler of every route."""
        return [
            ("GET", WORKSPACE, self.get_workspace),
            ("GET", WORKSPACE + "/computes", self.list_computes),
            ("GET", WORKSPACE + "/computes/{name}", self.get_compute),
            ("POST", WORKSPACE + "/computes/{name}/listNodes", self.list_nodes),
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
        return Reply(body={"value": [self._compute(found, name) for name in found.clusters], "nextLink": None})

    def get_compute(self, call: Call) -> Reply:
        """A cluster with its node counts."""
        return Reply(body=self._compute(self._workspace(call), call.names["name"]))

    def list_nodes(self, call: Call) -> Reply:
        """The nodes of a cluster and the jobs on them."""
        found = self._workspace(call)
        cluster = found.clusters.get(call.names["name"].lower())
        if cluster is None:
            raise not_found(f"Compute {call.names['name']}")
        nodes = [
            shapes.node_document(node.node_id, node.address, "running" if node.job else "idle", node.job)
            for node in cluster.nodes()
        ]
        return Reply(body={"nodes": nodes, "nextLink": None})

    def list_usages(self, call: Call) -> Reply:
        """Cores in use in a region."""
        location = call.names["location"]
        current, limit = usages(self._service.workspaces(location))
        line = shapes.usage_document(
            call.names["subscription"], location, "lowPriorityCores", "Low Priority Cores", current=current, limit=limit
        )
        return Reply(body={"value": [line], "nextLink": None})

    def _compute(self, workspace: Workspace, name: str) -> dict[str, Any]:
        cluster = workspace.clusters.get(name.lower())
        if cluster is None:
            raise not_found(f"Compute {name}")
        return shapes.compute_document(
            workspace.id, workspace.config.location, cluster.config, cluster.counts(), created=cluster.created,
            changed=cluster.changed, idle=format_duration(self._service.config.timing.node_idle_seconds),
            tenant_id=self._service.config.tenant_id,
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
            return Reply(200, job.document())
        return Reply(201, job.document(), {"Location": f"{call.url}?{urlencode(dict(call.query))}"})

    def get_job(self, call: Call) -> Reply:
        """One job."""
        return Reply(body=self._service.job(self._workspace(call), call.names["name"]).document())

    def list_jobs(self, call: Call) -> Reply:
        """One page of jobs."""
        found = self._service.list_jobs(self._workspace(call), Filter.read(call.query))
        link = None
        if found.skip is not None:
            link = f"{call.url}?{urlencode({**call.query, '$skip': found.skip})}"
        return Reply(body={"value": [job.document() for job in found.items], "nextLink": link})

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
        job.properties.update(changes)
        document = {
            "runId": job.name, "status": str(job.status), "hidden": job.properties["isArchived"],
            "displayName": job.properties["displayName"], "description": job.properties["description"],
            "tags": job.properties["tags"], "properties": job.properties["properties"],
        }  # fmt: skip
        return Reply(body=document)


def _environment(workspace: Workspace, version: EnvironmentVersion) -> dict[str, Any]:
    return shapes.environment_document(
        workspace.id, version.name, version.version, version.properties, created=version.created, by=version.by
    )


def _wait(location: str) -> Reply:
    return Reply(202, None, {"Location": location, "Retry-After": str(_CANCEL_POLL_SECONDS)})
