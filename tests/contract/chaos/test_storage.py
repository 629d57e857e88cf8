"""Faults of storage before a real Azurite, met by the real SDK; without faults nothing stands in the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from tests.contract.chaos.conftest import Interface, open_interface
from tests.support.azure import FAST
from tests.support.storage import ACCOUNT
from workforce_local.azure import LocalAzure
from workforce_local.config import LocalConfig
from workforce_local.storage import Azurite


@pytest_asyncio.fixture
async def chaos(tmp_path: Path, azurite: Azurite) -> AsyncIterator[Interface]:
    """A local Azure before an Azurite that speaks plain HTTP."""
    azure = LocalAzure(
        tmp_path / "azure",
        LocalConfig(timing=FAST),
        storage_queue_url=azurite.queue_url("{account}"),
        blob_url=azurite.blob_url("{account}"),
    )
    async with azure, open_interface(azure) as found:
        yield found


def client(chaos, kind, azurite, **options):
    url = chaos.azure.cloud()["storageQueue" if kind is QueueServiceClient else "blob"].format(account=ACCOUNT)
    return kind(url, credential=azurite.accounts[ACCOUNT], **options)


async def use_queue(queue):
    await queue.send_message("hello <&> ü")
    (message,) = [each async for each in queue.receive_messages()]
    await queue.delete_message(message)
    return message.content


async def test_the_queue_works_through_the_relay_and_through_the_proxy(chaos, azurite, queue_name):
    """A shared key's signature covers path, headers and length: the proxy must change none."""
    async with client(chaos, QueueServiceClient, azurite) as service:
        queue = await service.create_queue(queue_name)
        assert await use_queue(queue) == "hello <&> ü"
        await chaos.set({"kind": "latency", "seconds": 0.001, "where": {"service": "queue"}})
        assert await use_queue(queue) == "hello <&> ü"
        assert len(await chaos.injected(service="queue")) >= 3
        await chaos.clear()
        before = len(await chaos.injected())
        assert await use_queue(queue) == "hello <&> ü"
        assert len(await chaos.injected()) == before


async def test_blobs_keep_their_bytes_and_lengths_through_the_proxy(chaos, azurite, queue_name):
    await chaos.set({"kind": "latency", "seconds": 0.001, "where": {"service": "blob"}})
    content = bytes(range(256)) * 2048
    async with client(chaos, BlobServiceClient, azurite) as service:
        container = await service.create_container(queue_name)
        blob = container.get_blob_client("a/b c")
        await blob.upload_blob(content)
        assert (await blob.get_blob_properties()).size == len(content)
        assert await (await blob.download_blob()).readall() == content
        assert await blob.exists()
        await container.delete_container()
    assert len(await chaos.injected(service="blob")) >= 5


async def test_a_busy_service_says_so_in_xml_and_the_sdk_tries_again(chaos, azurite, queue_name):
    async with client(chaos, QueueServiceClient, azurite, initial_backoff=0.01, increment_base=0.01) as service:
        queue = await service.create_queue(queue_name)
        await chaos.set({"kind": "error", "status": 503, "times": 2, "where": {"service": "queue"}})
        assert await use_queue(queue) == "hello <&> ü"
        assert len(await chaos.injected()) == 2
        await chaos.set({"kind": "error", "status": 503, "where": {"service": "queue", "method": "DELETE"}})
        with pytest.raises(HttpResponseError) as caught:
            await service.delete_queue(queue_name, retry_total=0)
        assert caught.value.error_code == "ServerBusy"


async def test_a_push_whose_answer_is_lost_was_stored(chaos, azurite, queue_name):
    """Queue service, Put Message: a POST that is sent again stores the message twice,
    so that nobody may repeat it blindly.
    """
    async with client(chaos, QueueServiceClient, azurite, retry_total=0) as service:
        queue = await service.create_queue(queue_name)
        await chaos.set({"kind": "lostResponse", "times": 1, "where": {"service": "queue", "method": "POST"}})
        with pytest.raises((ServiceResponseError, ServiceRequestError)):
            await queue.send_message("one")
        assert [message.content for message in await queue.peek_messages(10)] == ["one"]


async def test_a_push_that_is_delivered_twice_is_there_twice(chaos, azurite, queue_name):
    async with client(chaos, QueueServiceClient, azurite) as service:
        queue = await service.create_queue(queue_name)
        await chaos.set({"kind": "duplicate", "times": 1, "where": {"service": "queue", "method": "POST"}})
        await queue.send_message("one")
        assert [message.content for message in await queue.peek_messages(10)] == ["one", "one"]


async def test_an_outage_of_queues_leaves_blobs_alone(chaos, azurite, queue_name):
    await chaos.set({"kind": "outage", "showsAs": "cut", "where": {"service": "queue"}})
    async with client(chaos, QueueServiceClient, azurite, retry_total=0) as queues:
        with pytest.raises((ServiceResponseError, ServiceRequestError)):
            await queues.create_queue(queue_name)
    async with client(chaos, BlobServiceClient, azurite) as blobs:
        await blobs.create_container(queue_name)
        await blobs.delete_container(queue_name)
