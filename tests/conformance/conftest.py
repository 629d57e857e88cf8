"""Clients of a place: the resource manager, Service Bus, queues. All are the product's own way to reach an Azure."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline.policies import AsyncRetryPolicy, RequestIdPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.mgmt.core import AsyncARMPipelineClient
from azure.mgmt.core.policies import AsyncARMChallengeAuthenticationPolicy
from azure.servicebus.aio import ServiceBusClient

from jobq.connect import open_credential, open_transport, queue_service_client, service_bus_client
from tests.conformance.places import SUBSCRIPTION, Place, local_azure, real_azure
from tests.support.storage import run_azurite
from workforce_local.identity.certificates import CertificateAuthority
from workforce_local.storage import TlsFiles

ML_VERSION = "2025-12-01"
BUS_VERSION = "2024-01-01"
MINE = "workforce-conformance"
"""A property of every job that these tests make."""


@pytest.fixture(scope="session", params=["local", *(["azure"] if os.environ.get(SUBSCRIPTION) else [])])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The local Azure, and the real one if there is one."""
    if request.param == "azure":
        yield real_azure(os.environ)
        return
    folder = tmp_path_factory.mktemp("conformance")
    tls = TlsFiles(folder / "cert.pem", folder / "key.pem")
    CertificateAuthority(folder / "azure").write_server_files(tls.certificate, tls.key)
    with (
        run_azurite(["wfdemo"], tls) as azurite,
        local_azure(folder, azurite.queue_url("{account}")) as found,
    ):
        yield found


@pytest_asyncio.fixture
async def credential(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncTokenCredential]:
    """Whoever runs the tests."""
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)
    async with open_credential(place.cloud) as opened:
        yield opened


@dataclass
class Arm:
    """The resource manager through azure-mgmt-core."""

    place: Place
    client: AsyncARMPipelineClient

    async def send(self, method: str, path: str, body: Any = None, **query: str) -> AsyncHttpResponse:
        """One request about a resource; a link of an answer is taken as it is."""
        link = path.startswith("https:")
        version = ML_VERSION if "MachineLearning" in path else BUS_VERSION
        request = HttpRequest(
            method, path if link else self.place.cloud.resource_manager + path,
            params={} if link else {"api-version": version, **query}, json=body,
        )  # fmt: skip
        return await self.client.send_request(request, stream=False)

    async def job(self, method: str, name: str, body: Any = None, action: str = "") -> AsyncHttpResponse:
        """One request about a job."""
        return await self.send(method, f"{self.place.workspace_id}/jobs/{name}{action}", body)

    async def environment(self) -> str:
        """ARM id of an environment version that exists."""
        version = f"{self.place.workspace_id}/environments/{MINE}/versions/1"
        if (await self.send("GET", version)).status_code == 404:
            answer = await self.send("PUT", version, {"properties": {"image": self.place.image}})
            assert answer.status_code in (200, 201), answer.text()
        return version

    async def body(self, command: str = "true", **properties: Any) -> dict[str, Any]:
        """The body of a job's PUT."""
        return {
            "properties": {
                "jobType": "Command",
                "command": command,
                "computeId": f"{self.place.workspace_id}/computes/{self.place.compute}",
                "environmentId": await self.environment(),
                "experimentName": MINE,
                "properties": {MINE: "1"},
                "limits": {"jobLimitsType": "Command", "timeout": "PT10M"},
                **properties,
            }
        }

    async def status(self, name: str) -> str:
        """A job's status, as the job says itself."""
        answer = await self.job("GET", name)
        assert answer.status_code == 200, answer.text()
        status: str = answer.json()["properties"]["status"]
        return status

    async def until(self, name: str, *statuses: str) -> None:
        """Wait until a job has one of these statuses."""

        async def reached() -> bool:
            return await self.status(name) in statuses

        await eventually(reached, self.place, f"{name} to be {statuses}")


async def eventually(condition: Callable[[], Awaitable[bool]], place: Place, what: str) -> None:
    """Wait for something as long as the place may take."""
    deadline = time.monotonic() + place.patience
    pause = 0.1
    while not await condition():
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 10.0)


@pytest_asyncio.fixture
async def arm(place: Place, credential: AsyncTokenCredential) -> AsyncIterator[Arm]:
    """The resource manager; what is refused with a time to come back is asked again."""
    scope = f"{place.cloud.audiences.resource_manager}/.default"
    async with open_transport(place.cloud) as transport:
        policies = [RequestIdPolicy(), AsyncRetryPolicy(), AsyncARMChallengeAuthenticationPolicy(credential, scope)]
        async with AsyncARMPipelineClient(
            place.cloud.resource_manager, policies=policies, transport=transport
        ) as client:
            yield Arm(place, client)


@pytest_asyncio.fixture
async def job_name(arm: Arm) -> AsyncIterator[str]:
    """A name that no job has; a job that gets it is cancelled in the end."""
    name = f"{MINE}-{uuid.uuid4().hex[:12]}"
    yield name
    if (await arm.job("GET", name)).status_code == 200:
        await arm.job("POST", name, action="/cancel")


@dataclass
class Bus:
    """A Service Bus namespace: entities by the resource manager, messages by the SDK."""

    arm: Arm
    client: ServiceBusClient
    prefix: str

    async def queue(self, name: str = "queue", **properties: Any) -> str:
        """Make a queue with the shortest lock; returns its name."""
        return await self._make(f"/queues/{self.prefix}-{name}", {"lockDuration": "PT5S", **properties})

    async def topic(self, **subscriptions: dict[str, Any] | None) -> str:
        """Make a topic with subscriptions, each with the one rule that is given or the default one."""
        name = await self._make(f"/topics/{self.prefix}-topic", {})
        for subscription, rule in subscriptions.items():
            path = f"/topics/{name}/subscriptions/{subscription}"
            await self._make(path, {"lockDuration": "PT30S"})
            if rule is not None:
                await self._make(f"{path}/rules/only", rule)
                answer = await self.arm.send("DELETE", f"{self.arm.place.bus_id}{path}/rules/$Default")
                assert answer.status_code == 200, answer.text()
        return name

    async def _make(self, path: str, properties: dict[str, Any]) -> str:
        answer = await self.arm.send("PUT", self.arm.place.bus_id + path, {"properties": properties})
        assert answer.status_code in (200, 201), answer.text()
        return path.rsplit("/", 1)[-1]

    async def active(self, queue: str) -> int:
        """How many messages wait in a queue."""
        answer = await self.arm.send("GET", f"{self.arm.place.bus_id}/queues/{queue}")
        count: int = answer.json()["properties"]["countDetails"]["activeMessageCount"]
        return count

    async def empties(self, queue: str) -> None:
        """Wait until no message is in a queue; counts may be late."""

        async def empty() -> bool:
            return await self.active(queue) == 0

        await eventually(empty, self.arm.place, f"{queue} to be empty")

    async def receive(self, receiver: Any, count: int = 1) -> list[Any]:
        """Receive exactly so many messages."""
        found: list[Any] = []
        while len(found) < count:
            more = await receiver.receive_messages(count - len(found), max_wait_time=60)
            assert more, f"only {len(found)} of {count} messages came"
            found += more
        return found


@pytest_asyncio.fixture
async def bus(arm: Arm, place: Place, credential: AsyncTokenCredential) -> AsyncIterator[Bus]:
    """A namespace; entities that the test makes are deleted in the end."""
    prefix = f"conformance-{uuid.uuid4().hex[:12]}"
    host = place.cloud.service_bus_host(place.service_bus)
    async with service_bus_client(place.cloud, host, credential, retry_total=2) as client:
        yield Bus(arm, client, prefix)
    for kind in ("queues", "topics"):
        listed = (await arm.send("GET", f"{place.bus_id}/{kind}")).json()["value"]
        for entity in listed:
            if entity["name"].startswith(prefix):
                await arm.send("DELETE", f"{place.bus_id}/{kind}/{entity['name']}")


@pytest_asyncio.fixture
async def storage_queue(place: Place, credential: AsyncTokenCredential) -> AsyncIterator[str]:
    """The name of a storage queue that is deleted in the end, with the one of its dead letters."""
    name = f"conformance-{uuid.uuid4().hex[:12]}"
    yield name
    async with (
        open_transport(place.cloud) as transport,
        queue_service_client(place.cloud, place.account, credential, transport) as client,
    ):
        async for found in client.list_queues(name_starts_with=name):
            await client.delete_queue(found)
