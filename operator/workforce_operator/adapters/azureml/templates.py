"""Templates resolved by azure-ai-ml, once per template and compute. See ``ports.azure.Templates`` for the contract.

What azure-ai-ml would submit is taken from a child process and kept in a bounded memory, without what is a single
Workforce's: azure-ai-ml takes experiment and environment variables as they are, so they are added afterwards.
Workforces with equal templates so share one resolution, and no secret goes through the child process or is kept.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.core.utils import case_insensitive_dict

from jobq.cloud import PUBLIC_CLOUDS, Cloud
from workforce_operator.adapters.arm.client import place_of
from workforce_operator.adapters.arm.errors import Absent, Refused, error_of
from workforce_operator.adapters.arm.governor import Governor, Kind
from workforce_operator.adapters.azureml.child_process import ChildProcess
from workforce_operator.adapters.azureml.quantity import shm_size
from workforce_operator.adapters.azureml.worker_jobs import workspace_path
from workforce_operator.api.template import Environment, Identity, Input, Template
from workforce_operator.domain.errors import Denied, OperatorError, SpecError, Unavailable
from workforce_operator.ports.azure import JobBody, Workplace, WriteGuard

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

KEPT = 512
INVALID = "InvalidTemplate"


class ChildTemplates:
    """Asks a child process, and remembers."""

    def __init__(
        self,
        cloud: Cloud,
        credential: AsyncTokenCredential,
        governor: Governor,
        guard: WriteGuard,
        *,
        child: ChildProcess | None = None,
    ) -> None:
        self._cloud = cloud
        self._credential = credential
        self._governor = governor
        self._guard = guard
        self._child = child or ChildProcess()
        self._lock = asyncio.Lock()
        self._known: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    async def resolve(
        self, template: Template, place: Workplace, *, environment: Mapping[str, str], template_hash: str
    ) -> JobBody:
        """See ``ports.azure.Templates``."""
        job = job_request(template, place)
        key = _key(place, job)
        if key not in self._known:
            # Whoever asks for what is known does not wait here for the others' resolutions.
            async with self._lock:
                if key not in self._known:
                    self._known[key] = await self._ask(template, place, job)
                    while len(self._known) > KEPT:
                        self._known.popitem(last=False)
        self._known.move_to_end(key)
        shared = self._known[key]
        own = {"experimentName": place.coordinates.experiment, "environmentVariables": dict(environment)}
        return JobBody(properties={**shared, **own}, template_hash=template_hash)

    async def latest_version(self, place: Workplace, name: str) -> str:
        """See ``ports.azure.Templates``. It is azure-ai-ml that looks up its label."""
        job = job_request(Template(environment=Environment(type="Registered", name=name, version="any")), place)
        request = await self._request(place, job | {"environment": {"registered": f"{name}@latest"}})
        async with self._governor.slot(place.coordinates.subscription_id, Kind.READ, turn=place.owner):
            reply = await self._child.ask(request)
        if "error" in reply:
            raise _error(reply["error"], place)
        return str(reply["properties"]["environmentId"]).rsplit("/", 1)[-1]

    async def close(self) -> None:
        """End the child process."""
        await self._child.close()

    async def _ask(self, template: Template, place: Workplace, job: Mapping[str, Any]) -> dict[str, Any]:
        request = await self._request(place, job)
        async with self._write_slot(template, place):
            reply = await self._child.ask(request)
        error = reply.get("error")
        if error is not None:
            raise _error(error, place)
        properties = dict(reply["properties"])
        for name in ("displayName", "experimentName", "environmentVariables"):
            properties.pop(name, None)
        return properties

    async def _request(self, place: Workplace, job: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "cloud": _cloud_request(self._cloud),
            "token": await self._token(place),
            "subscriptionId": place.coordinates.subscription_id,
            "resourceGroup": place.coordinates.resource_group,
            "workspace": place.coordinates.workspace,
            "job": job,
        }

    @asynccontextmanager
    async def _write_slot(self, template: Template, place: Workplace) -> AsyncIterator[None]:
        """An image is registered as an anonymous environment: one ARM write, fenced and paced like every other."""
        if template.environment.type != "Image":
            yield
            return
        subscription, workspace = place.coordinates.subscription_id, place_of(workspace_path(place))
        async with self._governor.slot(subscription, Kind.WRITE, turn=place.owner, place=workspace):
            self._guard.check()
            yield

    async def _token(self, place: Workplace) -> str:
        scope = self._cloud.audiences.resource_manager.rstrip("/") + "/.default"
        try:
            return (await self._credential.get_token(scope)).token
        except ClientAuthenticationError as error:
            raise Denied(f"no token for {scope}: {error.message}", scope=workspace_path(place)) from error
        except (ServiceRequestError, ServiceResponseError) as error:
            raise Unavailable(f"no token for {scope}: {error.message}") from error


def job_request(template: Template, place: Workplace) -> dict[str, Any]:
    """The job in the words of azure-ai-ml's ``command()``, but for what is a Workforce's own.

    Raises:
        SpecError: The template contradicts itself.
    """
    job: dict[str, Any] = {
        "compute": place.coordinates.compute,
        "command": template.command,
        "environment": _environment(template),
        "inputs": {name: _input(each) for name, each in template.inputs.items()},
        "outputs": {name: each.model_dump(exclude_none=True) for name, each in template.outputs.items()},
        "timeoutSeconds": template.timeout_seconds,
        "tags": dict(template.tags),
        "resourceProperties": template.resources.properties if template.resources is not None else {},
    }
    if template.code is not None:
        job["code"] = _code(template.code, place)
    if template.identity is not None:
        job["identity"] = _identity(template.identity)
    if template.resources is not None:
        job["instanceType"] = template.resources.instance_type
    if template.queue_settings is not None:
        job |= {"jobTier": template.queue_settings.job_tier, "priority": template.queue_settings.priority}
    if template.shm_size is not None:
        try:
            job["shmSize"] = shm_size(template.shm_size)
        except ValueError as error:
            raise SpecError(f"template.shmSize: {error}", reason=INVALID) from error
    return job


def _input(each: Input) -> dict[str, Any]:
    return {"value": each.value} if each.type == "literal" else each.model_dump(exclude_none=True)


def _code(code: str, place: Workplace) -> str:
    """The ARM id of a code asset: azure-ai-ml would take anything else for a folder of this machine."""
    if code.startswith("/"):
        return code
    name, version = code.removeprefix("azureml:").split(":", 1)
    return f"{workspace_path(place)}/codes/{name}/versions/{version}"


def _identity(identity: Identity) -> dict[str, Any]:
    if identity.type == "User":
        return {"user": True}
    known = {"client_id": identity.client_id, "resource_id": identity.resource_id}
    return {name: value for name, value in known.items() if value}


def _environment(template: Template) -> dict[str, str]:
    environment = template.environment
    if environment.type == "Image" and environment.image:
        return {"image": environment.image}
    if environment.type == "Registered" and environment.name and environment.version:
        return {"registered": f"{environment.name}:{environment.version}"}
    needed = "image" if environment.type == "Image" else "name and version"
    raise SpecError(f"template.environment: type {environment.type} needs {needed}", reason=INVALID)


def _cloud_request(cloud: Cloud) -> dict[str, Any]:
    public = cloud.name in PUBLIC_CLOUDS
    return {
        "public": public,
        # A name that azure-ai-ml does not know already: for one that it knows, it ignores the metadata.
        "name": cloud.name if public else f"workforce-{cloud.name}",
        "resourceManager": cloud.resource_manager,
        "authority": cloud.authority,
        "mlIndex": cloud.ml_index,
        "machineLearningAudience": cloud.audiences.machine_learning,
        "storageSuffix": (cloud.storage_queue_suffix or "core.invalid").removeprefix("queue."),
        "caBundle": str(cloud.ca_bundle) if cloud.ca_bundle else None,
    }


def _error(error: Mapping[str, Any], place: Workplace) -> OperatorError:
    what = f"resolve the template for region {place.region}"
    if error["kind"] == "http":
        headers = case_insensitive_dict(error["headers"])
        found = error_of(error["status"], headers, error["body"], what=what, scope=workspace_path(place))
        if isinstance(found, Refused) or (isinstance(found, Absent) and not found.parent):
            refused = SpecError(str(found), reason=INVALID)
            refused.request_id = found.request_id
            return refused
        return found
    text = f"{what}: {error['message']}"
    return SpecError(text, reason=INVALID) if error["kind"] == "spec" else Unavailable(text)


def _key(place: Workplace, job: Mapping[str, Any]) -> str:
    return json.dumps([workspace_path(place), job], sort_keys=True)
