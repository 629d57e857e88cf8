"""Telemetry to Application Insights, where `APPLICATIONINSIGHTS_CONNECTION_STRING` says so.

Events of the log are handed to a thread, which alone knows the exporter: it imports it (which takes a good while, and
the first task must not wait for that), sends, and flushes at the end. Nothing here can stop or delay task work: a full
queue drops events and counts them, and an exporter that cannot be used is said once.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

from jobq import names
from jobq.cloud import Cloud
from workforce_agent.sample import Sample

CONNECTION_VARIABLE = "APPLICATIONINSIGHTS_CONNECTION_STRING"
ENVIRONMENT_VARIABLE = "JOBQ_ENVIRONMENT_NAME"
QUEUE_LENGTH = 10_000
CLOSE_SECONDS = 10.0
FLUSH_AFTER = frozenset({"task_canceled", "preemption_detected", "soft_shutdown_requested", "hard_shutdown_requested"})
"""Events after which the machine may be gone at any moment."""

_QUIET = {
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
}
"""The exporter says nothing about itself, and asks nobody how to behave: nodes often reach Azure's services only."""

_log = structlog.get_logger()


class Pipeline(Protocol):
    """What turns events into telemetry."""

    def emit(self, at: int, event: Mapping[str, Any]) -> None:
        """Take an event of the log.

        Args:
            at: When it happened, in nanoseconds since 1970.
            event: Its name under `event`, its level under `level`, and its fields.
        """

    def flush(self) -> None:
        """Send what was taken."""

    def close(self) -> None:
        """Send what was taken, and end."""


OpenPipeline = Callable[[], Pipeline]


class Telemetry:
    """Takes events and has them sent. Start it, use it as a sink of the log, close it.

    Args:
        open_pipeline: Called in the thread of its own.
    """

    def __init__(self, open_pipeline: OpenPipeline) -> None:
        self._open = open_pipeline
        self._queue: queue.Queue[tuple[int, Mapping[str, Any]] | None] = queue.Queue(QUEUE_LENGTH)
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take an event; never blocks."""
        try:
            self._queue.put_nowait((time.time_ns(), dict(event)))
        except queue.Full:
            self.dropped += 1

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Have everything sent, as far as the time allows."""
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            pipeline = self._open()
        except Exception as error:  # the user's connection string, the exporter's code
            _log.warning("telemetry_unavailable", error=f"{type(error).__name__}: {error}")
            while self._queue.get() is not None:
                pass
            return
        while (entry := self._queue.get()) is not None:
            at, event = entry
            pipeline.emit(at, event)
            if event.get("event") in FLUSH_AFTER and self._queue.empty():
                pipeline.flush()
        pipeline.close()


def open_telemetry(environ: Mapping[str, str], cloud: Cloud, sample: Callable[[], Sample | None]) -> Telemetry | None:
    """Telemetry as the environment says, started; None if it says nothing.

    Args:
        environ: The environment.
        cloud: Whom to trust.
        sample: Says what the worker is doing; None while there is no worker.
    """
    connection_string = environ.get(CONNECTION_VARIABLE)
    if not connection_string:
        return None

    def open_pipeline() -> Pipeline:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        # Imported here, in the thread: it takes longer than a worker's start.
        from workforce_agent.app_insights import AppInsights  # noqa: PLC0415 - see above

        trust = str(cloud.ca_bundle) if cloud.ca_bundle else None
        return AppInsights(connection_string, dimensions(environ), sample, trust=trust)

    telemetry = Telemetry(open_pipeline)
    telemetry.start()
    return telemetry


def dimensions(environ: Mapping[str, str]) -> dict[str, str]:
    """What every record carries beside its own fields, under the names that the ancestor's dashboards ask for."""
    found = {
        "environment": environ.get(ENVIRONMENT_VARIABLE, ""),
        "azureml_workspace_name": environ.get("AZUREML_ARM_WORKSPACE_NAME", ""),
        "job_url": environ.get("AZUREML_JOB_URL", ""),
    }
    run_id = environ.get(names.AZUREML_RUN_ID_VARIABLE)
    if run_id:
        scope = environ.get("AZUREML_WORKSPACE_SCOPE", "")
        subscription = environ.get("AZUREML_ARM_SUBSCRIPTION", "")
        group = environ.get("AZUREML_ARM_RESOURCEGROUP", "")
        studio = f"https://ml.azure.com/runs/{run_id}?wsid="
        workspace = f"/subscriptions/{subscription}/resourcegroups/{group}/workspaces/{found['azureml_workspace_name']}"
        found |= {
            "azureml_run_id": run_id,
            "azureml_subscription_id": subscription,
            "azureml_resource_group": group,
            "azureml_project_name": environ.get("AZUREML_ARM_PROJECT_NAME", ""),
            "azureml_url": f"{studio}{scope}",
            "job_url": f"{studio}{workspace}",
        }
    return found
