"""Service Bus as a part of the whole: the same tokens, the same resource manager, the address in the cloud file."""

from __future__ import annotations

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import ServiceBusError

from jobq.cloud import load_cloud
from jobq.connect import open_credential, service_bus_client
from tests.contract.azureml.conftest import Arm

API_VERSION = "2026-01-01"


@pytest.fixture
def bus(arm: Arm) -> str:
    """URL of the namespace in the resource manager."""
    return (
        f"{arm.azure.base_url}/subscriptions/{arm.azure.config.subscription_id}/resourceGroups/workforce"
        "/providers/Microsoft.ServiceBus/namespaces/wf-bus"
    )


async def make_queue(arm: Arm, bus: str) -> None:
    answer = await arm.send("PUT", f"{bus}/queues/orders?api-version={API_VERSION}", {"properties": {}})
    assert answer.status_code in (200, 201), answer.text()


async def test_the_resource_manager_checks_tokens_and_counts_requests_for_it_too(arm: Arm, bus: str):
    answer = await arm.send("GET", f"{bus}?api-version={API_VERSION}")
    assert (answer.status_code, answer.json()["name"]) == (200, "wf-bus")
    assert "x-ms-ratelimit-remaining-subscription-reads" in answer.headers
    assert arm.azure.requests.count("GET", "Microsoft.ServiceBus", 200) == 1


async def test_a_message_travels_with_a_token_of_the_local_identity(arm: Arm, bus: str, monkeypatch):
    """Over TLS, by the product's own connection: nothing but the cloud file and a credential."""
    await make_queue(arm, bus)
    for name, value in arm.azure.environment().items():
        monkeypatch.setenv(name, value)
    cloud = load_cloud()
    async with (
        open_credential(cloud) as credential,
        service_bus_client(cloud, cloud.service_bus_host("wf-bus"), credential) as client,
        client.get_queue_sender("orders") as sender,
        client.get_queue_receiver("orders") as receiver,
    ):
        await sender.send_messages(ServiceBusMessage("hello"))
        (message,) = await receiver.receive_messages(1, max_wait_time=30)
        assert str(message) == "hello"
        await receiver.complete_message(message)


async def test_a_token_for_another_service_opens_no_queue(arm: Arm, bus: str, monkeypatch):
    await make_queue(arm, bus)
    for name, value in arm.azure.environment().items():
        monkeypatch.setenv(name, value)
    cloud = load_cloud()

    class Storage:
        """A credential that asks for storage whatever it is asked for."""

        def __init__(self, inner):
            self._inner = inner

        async def get_token(self, *_scopes, **_options):
            return await self._inner.get_token("https://storage.azure.com/.default")

        async def get_token_info(self, *_scopes, **_options):
            return await self._inner.get_token_info("https://storage.azure.com/.default")

        async def close(self):
            """Nothing of its own."""

    async with open_credential(cloud) as credential:
        client = service_bus_client(cloud, cloud.service_bus_host("wf-bus"), Storage(credential), retry_total=0)
        with pytest.raises(ServiceBusError):
            async with client, client.get_queue_sender("orders") as sender:
                await sender.send_messages(ServiceBusMessage("hello"))


async def test_a_connection_string_works_without_tls(arm: Arm, bus: str):
    await make_queue(arm, bus)
    client = ServiceBusClient.from_connection_string(arm.azure.service_bus_connection_string())
    async with client, client.get_queue_sender("orders") as sender:
        await sender.send_messages(ServiceBusMessage("hello"))
