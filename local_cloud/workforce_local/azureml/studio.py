"""Routes of the studio's own services: the index of jobs, and the execution service that resumes a paused one.

Neither is documented; other schedulers use both. They want tokens for the machine learning audience and are not
metered as the resource manager is. It decides nothing that `entities` or the service could decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from workforce_local.azureml.calls import Call, Handler, Reply
from workforce_local.azureml.entities import Question, answer, studio_status
from workforce_local.azureml.errors import user_error
from workforce_local.azureml.jobs import Job
from workforce_local.azureml.paths import EXECUTION, INDEX
from workforce_local.azureml.service import MachineLearning, Workspace
from workforce_local.azureml.shapes import workspace_guid


class StudioRoutes:
    """The handlers, over one service."""

    def __init__(self, service: MachineLearning) -> None:
        self._service = service

    def table(self) -> list[tuple[str, str, Handler]]:
        """Method, path template and handler of every route."""
        return [("POST", INDEX, self.entities), ("POST", EXECUTION + "/resume", self.resume)]

    def entities(self, call: Call) -> Reply:
        """One page of the index, as old as its lag."""
        workspace = self._service.workspace(call.workspace_id)
        return Reply(body=answer(self._entities(workspace), Question.read(call.body)))

    def resume(self, call: Call) -> Reply:
        """Queue a paused job again."""
        workspace = self._service.workspace(call.workspace_id)
        job = self._service.job(workspace, call.names["name"])
        hours = self._service.exhausted_hours(job)
        if hours is not None:
            raise user_error(
                f"Run {job.name} cannot be resumed: it has exceeded max job execution time of {hours:g} hours."
            )
        if job.life is None or not job.life.resume():
            raise user_error(f"Run {job.name} is {job.status} and cannot be resumed: only a paused run can.")
        return Reply(200, {})

    def _entities(self, workspace: Workspace) -> Iterator[dict[str, Any]]:
        seen = self._service.now() - self._service.index_lag
        for job in workspace.jobs.values():
            if job.created <= seen:
                yield entity(job, seen)


def entity(job: Job, seen: datetime) -> dict[str, Any]:
    """A job as the index knows it, with the status that it had at a moment."""
    status = job.reported or job.status_at(seen) or job.history[0].status
    properties = job.properties
    noted = properties["properties"]
    return {
        "type": "runs",
        "entityId": f"azureml://location/run/{job.name}",
        "annotations": {
            "status": studio_status(str(status)),
            "displayName": properties["displayName"],
            "archived": bool(properties["isArchived"]),
            "tags": properties["tags"],
            "effectiveStartTimeUtc": noted.get("StartTimeUtc"),
            "error": None,
            "metrics": {},
        },
        "properties": {
            "runId": job.name,
            "experimentId": workspace_guid(job.workspace),
            "experimentName": properties["experimentName"],
            "compute": {"target": job.cluster},
            "creationContext": {"createdTime": job.created.isoformat(), "createdBy": job.created_by},
            "userProperties": noted,
        },
    }
