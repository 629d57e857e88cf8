"""A local Azure whose faults are set through its own interface, and the real clients that meet them."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest_asyncio
from azure.core.pipeline.policies import AsyncRetryPolicy

from tests.contract.azureml.conftest import Arm, open_arm
from workforce_local.azure import LocalAzure


@dataclass
class Interface:
    """``/_local/chaos`` as any client sees it."""

    azure: LocalAzure
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str = "", body: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        """Status and JSON of one request."""
        given = self.azure.admin_token if token is None else token
        async with self.session.request(
            method, f"{self.azure.base_url}/_local/chaos{path}", json=body, headers={"Authorization": f"Bearer {given}"}
        ) as answer:
            return answer.status, await answer.json()

    async def set(self, *faults: dict[str, Any], seed: int = 0) -> None:
        """Set faults."""
        status, answer = await self.ask("POST", body={"seed": seed, "faults": list(faults)})
        assert status == 200, answer

    async def clear(self) -> None:
        """Take all away."""
        assert (await self.ask("DELETE"))[0] == 200

    async def injected(self, **query: str) -> list[dict[str, Any]]:
        """What happened."""
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return list((await self.ask("GET", f"/injected?{text}"))[1]["injected"])


@pytest_asyncio.fixture
async def chaos(local_azure: LocalAzure) -> AsyncIterator[Interface]:
    """The interface of the default local Azure."""
    async with open_interface(local_azure) as found:
        yield found


@pytest_asyncio.fixture
async def arm(local_azure: LocalAzure) -> AsyncIterator[Arm]:
    """Raw requests to the first workspace, with azure-core's retries."""
    async with open_arm(local_azure, AsyncRetryPolicy(retry_backoff_factor=0.01)) as found:
        yield found


@contextlib.asynccontextmanager
async def open_interface(azure: LocalAzure) -> AsyncIterator[Interface]:
    """The interface of a local Azure."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(azure.ca_file)))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Interface(azure, session)
