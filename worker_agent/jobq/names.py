"""Names that both sides must agree on: environment variables, Service Bus entities, job names and properties.

Everything here is pure. A changed value is a changed protocol between an operator and workers of another version.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

# Environment of a worker; the first group is the ancestor's and keeps its meaning.
BACK_CHANNEL_VARIABLE = "WORKFORCE_BACK_CHANNEL_FULLY_QUALIFIED_NAMESPACE"
CONTROL_TOPIC_VARIABLE = "WORKFORCE_CONTROL_TOPIC_NAME"
PID_DIR_VARIABLE = "JOBQ_PID_DIR"
CONNECTION_STRING_VARIABLE = "JOBQ_CONNECTION_STRING"
STORAGE_VARIABLE = "JOBQ_STORAGE"
QUEUE_VARIABLE = "JOBQ_QUEUE"
NUM_WORKERS_VARIABLE = "JOBQ_NUM_WORKERS"
TIME_LIMIT_VARIABLE = "JOBQ_TIME_LIMIT"
KILL_TIMEOUT_VARIABLE = "JOBQ_KILL_TIMEOUT"
DISABLE_SCHEDULED_EVENTS_VARIABLE = "JOBQ_DISABLE_SCHEDULED_EVENTS"
DETERMINISTIC_IDS_VARIABLE = "JOBQ_DETERMINISTIC_IDS"
TASK_ID_VARIABLE = "JOBQ_TASK_ID"
QUEUE_NAME_VARIABLE = "JOBQ_QUEUE_NAME"
CHECKPOINT_VARIABLE = "JOBQ_CHECKPOINT_FILE"
NODE_QUEUE_VARIABLE = "WORKFORCE_NODE_QUEUE_NAME"
REPORTS_QUEUE_VARIABLE = "WORKFORCE_REPORTS_QUEUE_NAME"
JOB_NAME_VARIABLE = "WORKFORCE_JOB_NAME"
AZUREML_RUN_ID_VARIABLE = "AZUREML_RUN_ID"

SHUTDOWN_SUBSCRIPTION = "shutdown"
"""The subscription of every control topic; the name is fixed by the users' documents."""

OWNER_PROPERTY = "workforce-owner"
"""AzureML job property: ``<installationId>/<namespace>/<name>``."""
INSTALLATION_PROPERTY = "workforce-installation"
"""AzureML job property: the installation id alone, for one list of everything that is ours in a workspace."""
COHORT_PROPERTY = "workforce-cohort"
"""AzureML job property: ``<hash10>-<cohort>``, for lists whose cost does not grow with history."""
TEMPLATE_PROPERTY = "workforce-template"
"""AzureML job property: the hash of the template that the job was made of."""

COHORT_SIZE = 256
"""Sequences per cohort."""

_HASH_LENGTH = 10
_JOB_NAME = re.compile(r"^(?P<prefix>.+-(?P<hash>[0-9a-f]{10}))-(?P<sequence>\d+)$")


def node_queue_name(installation_id: str) -> str:
    """Queue of the targeted orders of one installation, per Service Bus namespace."""
    return f"workforce-{installation_id}-nodes"


def reports_queue_name(installation_id: str) -> str:
    """Queue of the reports of one installation's workers, per Service Bus namespace."""
    return f"workforce-{installation_id}-reports"


def owner(installation_id: str, namespace: str, name: str) -> str:
    """Value of the owner property of a Workforce's jobs."""
    return f"{installation_id}/{namespace}/{name}"


@lru_cache(maxsize=4096)
def region_hash(installation_id: str, namespace: str, name: str, region: str) -> str:
    """Ten hex digits that tell the jobs of one Workforce and region from all others."""
    text = "\n".join((installation_id, namespace, name, region))
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]


def job_name(name: str, region: str, hash10: str, sequence: int) -> str:
    """Name of a worker job, ``<name>-<region>-<hash10>-<sequence>``; also its Service Bus session id (≤ 128)."""
    return f"{name}-{region}-{hash10}-{sequence}"


def parse_job_name(job: str) -> tuple[str, int] | None:
    """The region hash and the sequence in a job's name, or None if it is not of our form."""
    match = _JOB_NAME.match(job)
    return (match["hash"], int(match["sequence"])) if match else None


def cohort(sequence: int) -> int:
    """Number of the cohort that a sequence belongs to."""
    return sequence // COHORT_SIZE


def cohort_value(hash10: str, cohort_number: int) -> str:
    """Value of the cohort property."""
    return f"{hash10}-{cohort_number}"
