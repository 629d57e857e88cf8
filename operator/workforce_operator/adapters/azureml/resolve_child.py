"""The program that asks azure-ai-ml what it would submit, in a process of its own.

It reads one request per line from standard input, answers one line each, and ends with its input. azure-ai-ml builds
and resolves the job as always; the transport lets everything through but the job's own PUT, which is taken down
instead of sent. The caller hands over a token, so that this process has no credentials.

This is the only module that imports azure-ai-ml, which costs a second and 120 MB; nothing of the daemon imports it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from azure.ai.ml import Input, MLClient, Output, command
from azure.ai.ml.entities import Environment, ManagedIdentityConfiguration, UserIdentityConfiguration
from azure.ai.ml.exceptions import ErrorCategory, MlException
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.transport import RequestsTransport

TOKEN_SECONDS = 3600
CONNECT_SECONDS = 10
READ_SECONDS = 30
_JOB_PATH = re.compile(r"/jobs/[^/]+$")


class _Captured(Exception):
    """Carries the body of the job's PUT out of the SDK."""

    def __init__(self, body: Any) -> None:
        super().__init__("captured")
        self.body = body


class _CapturingTransport(RequestsTransport):  # type: ignore[misc] # azure-core exports it through __getattr__
    """Sends what belongs to one base URL, except for the job itself."""

    def __init__(self, base: str, **options: Any) -> None:
        super().__init__(**options)
        self._base = base.rstrip("/") + "/"

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Refuse other hosts: azure-ai-ml falls back to the public cloud when it is configured wrongly."""
        if not request.url.lower().startswith(self._base.lower()):
            raise ValueError(f"azure-ai-ml wanted to call {urlsplit(request.url).netloc}, which is not {self._base}")
        if request.method == "PUT" and _JOB_PATH.search(urlsplit(request.url).path):
            body = request.data
            raise _Captured(json.loads(body) if isinstance(body, str | bytes) else body)
        return super().send(request, **kwargs)


class _GivenToken:
    """A credential that knows one token, for the resource manager: nothing else is called.

    For identity User azure-ai-ml sends the submitter's token for the machine learning audience along with the job, and
    looks into it first. As the job is not sent from here, an empty one for that audience does.
    """

    def __init__(self, token: str, machine_learning: str) -> None:
        self._token = token
        self._machine_learning = machine_learning.rstrip("/")

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """The token for the first of the scopes."""
        del options
        of_submitter = scopes and scopes[0].startswith(self._machine_learning)
        token = _unsigned(self._machine_learning) if of_submitter else self._token
        return AccessToken(token, int(time.time()) + TOKEN_SECONDS)


def _unsigned(audience: str) -> str:
    """A token that says nothing but its audience."""
    parts = ({"alg": "none", "typ": "JWT"}, {"aud": audience})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join((*encoded, ""))


def resolve(request: Mapping[str, Any]) -> dict[str, Any]:
    """The ``properties`` object that azure-ai-ml would submit.

    Raises:
        RuntimeError: It submitted nothing.
    """
    client = _client(request)
    try:
        client.jobs.create_or_update(_job(request))
    except _Captured as captured:
        return dict(captured.body["properties"])
    raise RuntimeError("azure-ai-ml did not submit a job")


def _client(request: Mapping[str, Any]) -> MLClient:
    cloud, base = request["cloud"], request["cloud"]["resourceManager"]
    trust = {"connection_verify": cloud["caBundle"]} if cloud.get("caBundle") else {}
    metadata: dict[str, Any] = {} if cloud["public"] else {"cloud_metadata": _metadata(cloud)}
    return MLClient(
        _GivenToken(request["token"], cloud["machineLearningAudience"]),
        request["subscriptionId"],
        request["resourceGroup"],
        request["workspace"],
        cloud=cloud["name"],
        transport=_CapturingTransport(base, **trust),
        show_progress=False,
        enable_telemetry=False,
        retry_total=0,
        connection_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        **metadata,
        **trust,
    )


def _metadata(cloud: Mapping[str, Any]) -> dict[str, str]:
    """All six keys are required; only the first three are used for a command job without uploads."""
    base = cloud["resourceManager"].rstrip("/") + "/"
    return {
        "resource_manager": base,
        "active_directory": cloud["authority"].rstrip("/") + "/",
        "azure_portal": cloud["mlIndex"].rstrip("/") + "/",
        "aml_resource_id": cloud["machineLearningAudience"],
        "storage_endpoint": cloud["storageSuffix"],
        "registry_discovery_endpoint": base,
    }


_NAME = "template"
"""Whatever azure-ai-ml would make up: names are the Workforces' own, and so are given later."""


def _job(request: Mapping[str, Any]) -> Any:
    job, environment = request["job"], request["job"]["environment"]
    made = command(
        name=_NAME,
        display_name=_NAME,
        experiment_name=_NAME,
        command=job["command"],
        code=job.get("code"),
        compute=job["compute"],
        environment=Environment(image=environment["image"]) if "image" in environment else environment["registered"],
        inputs={name: _input(each) for name, each in job["inputs"].items()},
        outputs={name: Output(**each) for name, each in job["outputs"].items()},
        identity=_identity(job.get("identity")),
        shm_size=job.get("shmSize"),
        timeout=job["timeoutSeconds"],
        tags=job["tags"],
        instance_count=1,
        instance_type=job.get("instanceType"),
        job_tier=job.get("jobTier"),
        priority=job.get("priority"),
    )
    if job["resourceProperties"]:
        made.resources.properties = job["resourceProperties"]
    return made


def _input(each: Mapping[str, Any]) -> Any:
    return each["value"] if "value" in each else Input(**each)


def _identity(identity: Mapping[str, Any] | None) -> Any:
    if identity is None:
        return None
    return UserIdentityConfiguration() if "user" in identity else ManagedIdentityConfiguration(**identity)


def answer(line: str) -> dict[str, Any]:
    """One request's answer: ``properties``, or an ``error`` of kind ``spec``, ``http`` or ``unavailable``."""
    try:
        return {"properties": resolve(json.loads(line))}
    except HttpResponseError as error:
        return {"error": _http_error(error)}
    except MlException as error:
        kind = "spec" if error.error_category == ErrorCategory.USER_ERROR else "unavailable"
        return {"error": {"kind": kind, "message": str(error.message)}}
    except AzureError as error:
        return {"error": {"kind": "unavailable", "message": str(error.message)}}
    except Exception as error:  # the boundary of the process: any failure becomes an answer
        return {"error": {"kind": "unavailable", "message": f"{type(error).__name__}: {error}"}}


def _http_error(error: HttpResponseError) -> dict[str, Any]:
    response: Any = error.response
    if response is None:
        return {"kind": "unavailable", "message": str(error.message)}
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    return {"kind": "http", "status": response.status_code, "headers": headers, "body": response.text()}


def main() -> None:
    """Serve until the input ends. What libraries print goes to standard error, away from the answers."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            answers.write(json.dumps(answer(line)) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
