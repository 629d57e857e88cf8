"""Azurite with `--oauth basic` takes the tokens of the local identity: issuer and audience have the shape it checks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from azure.core.exceptions import ClientAuthenticationError

from jobq.cloud import load_cloud
from jobq.connect import open_credential, open_transport, queue_service_client
from workforce_local.azure import LocalAzure
from workforce_local.config import LocalConfig
from workforce_local.storage import Azurite, TlsFiles


@pytest_asyncio.fixture
async def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalAzure]:
    """A local Azure with Azurite behind its storage account, and this process as its service principal."""
    azure = LocalAzure(tmp_path / "azure", LocalConfig())
    tls = TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    azure.certificates.write_server_files(tls.certificate, tls.key)
    azurite = Azurite(tmp_path / "azurite", ["wfdemo"], tls=tls)
    await azurite.start()
    try:
        azure.storage_queue_url, azure.blob_url = azurite.queue_url("{account}"), azurite.blob_url("{account}")
        for name, value in azure.environment().items():
            monkeypatch.setenv(name, value)
        async with azure:
            yield azure
    finally:
        await azurite.stop()


async def test_a_queue_is_used_with_a_bearer_token(azure: LocalAzure):
    cloud = load_cloud(str(azure.cloud_file))
    async with (
        open_credential(cloud) as credential,
        open_transport(cloud) as transport,
        queue_service_client(cloud, "wfdemo", credential, transport) as service,
    ):
        queue = await service.create_queue("tasks")
        await queue.send_message("hello")
        assert [message.content async for message in queue.receive_messages()] == ["hello"]


async def test_a_token_for_another_audience_is_refused(azure: LocalAzure):
    cloud = load_cloud(str(azure.cloud_file))
    audiences = replace(cloud.audiences, storage="https://elsewhere.test")
    cloud = replace(cloud, audiences=audiences)
    async with (
        open_credential(cloud) as credential,
        open_transport(cloud) as transport,
        queue_service_client(cloud, "wfdemo", credential, transport) as service,
    ):
        with pytest.raises(ClientAuthenticationError):
            await service.create_queue("tasks")
