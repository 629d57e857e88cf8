"""The real clients of the resource manager, pointed at the local one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio
from azure.core.pipeline.policies import RequestIdPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.core import AsyncARMPipelineClient
from azure.mgmt.core.policies import AsyncARMChallengeAuthenticationPolicy

from jobq.cloud import load_cloud
from jobq.connect import open_transport
from workforce_local.azure import LocalAzure
from workforce_local.azureml.jobs import JobView

API_VERSION = "2025-12-01"
PATIENCE_SECONDS = 60.0


@dataclass
class Arm:
    """Raw requests through azure-mgmt-core's own pipeline: `await arm.get("/jobs/x")` is under a workspace."""

    azure: LocalAzure
    client: AsyncARMPipelineClient
    name: str = "ws-uksouth"

    @property
    def workspace(self) -> str:
        """ARM id of the workspace."""
        return (
            f"/subscriptions/{self.azure.config.subscription_id}/resourceGroups/workforce"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.name}"
        )

    async def send(self, method: str, path: str, body: Any = None, **query: str) -> AsyncHttpResponse:
        """One request; a path without a scheme is under the workspace."""
        url = path if path.startswith("https:") else self.azure.base_url + self.workspace + path
        params = query if path.startswith("https:") else {"api-version": API_VERSION, **query}
        return await self.client.send_request(HttpRequest(method, url, params=params, json=body), stream=False)

    async def post_as(self, token: str, path: str, body: Any = None) -> Any:
        """The JSON of a POST with another token than the resource manager's."""
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(self.azure.ca_file)))
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(connector=connector, headers=headers) as session,
            session.post(self.azure.base_url + path, json=body or {}) as answer,
        ):
            return await answer.json()

    async def get(self, path: str, **query: str) -> Any:
        """The JSON of a successful GET."""
        response = await self.send("GET", path, **query)
        assert response.status_code == 200, response.text()
        return response.json()

    async def environment(self) -> str:
        """ARM id of an environment version that exists."""
        path = "/environments/worker/versions/1"
        response = await self.send("PUT", path, {"properties": {"image": "local/worker:1"}})
        assert response.status_code in (200, 201), response.text()
        return self.workspace + path

    async def body(self, command: str = "true", **properties: Any) -> dict[str, Any]:
        """The body of a job PUT."""
        return {
            "properties": {
                "jobType": "Command",
                "command": command,
                "computeId": f"{self.workspace}/computes/cluster",
                "environmentId": await self.environment(),
                "experimentName": "exp",
                **properties,
            }
        }

    async def hire(self, name: str, command: str = "true", **properties: Any) -> dict[str, Any]:
        """PUT a new job."""
        response = await self.send("PUT", f"/jobs/{name}", await self.body(command, **properties))
        assert response.status_code == 201, response.text()
        return response.json()

    def job(self, name: str) -> JobView:
        """A job as it really is."""
        return next(job for job in self.azure.jobs() if job.name == name)

    async def until(self, name: str, *statuses: str) -> JobView:
        """Wait until a job has one of these statuses."""
        await eventually(lambda: self.job(name).status in statuses, f"{name} to be {statuses}")
        return self.job(name)


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for something, generously."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended, whoever has to collect it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextlib.asynccontextmanager
async def open_arm(azure: LocalAzure, *more: Any) -> AsyncIterator[Arm]:
    """azure-mgmt-core's pipeline as the operator uses it: its own session, bearer tokens; and more policies."""
    cloud = load_cloud(str(azure.cloud_file))
    credential = ClientSecretCredential(
        azure.config.tenant_id,
        azure.config.client_id,
        azure.environment()["AZURE_CLIENT_SECRET"],
        authority=azure.base_url,
        disable_instance_discovery=True,
        connection_verify=str(azure.ca_file),
    )
    scope = f"{cloud.audiences.resource_manager}/.default"
    async with credential, open_transport(cloud) as transport:
        policies = [RequestIdPolicy(), *more, AsyncARMChallengeAuthenticationPolicy(credential, scope)]
        async with AsyncARMPipelineClient(cloud.resource_manager, policies=policies, transport=transport) as client:
            yield Arm(azure, client)


@pytest_asyncio.fixture
async def arm(local_azure: LocalAzure) -> AsyncIterator[Arm]:
    """Raw requests to the first workspace."""
    async with open_arm(local_azure) as found:
        yield found


@pytest.fixture(autouse=True)
def _quiet_sdk() -> None:
    """azure-ai-ml logs a line per experimental class that it imports."""
    logging.getLogger("azure.ai.ml").setLevel(logging.ERROR)
