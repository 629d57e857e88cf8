"""The resource type Microsoft.ServiceBus over HTTP, as azure-mgmt-servicebus calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from workforce_local.servicebus.arm import routes
from workforce_local.servicebus.namespaces import Namespaces

VERSION = "2026-01-01"


@pytest.fixture
def namespaces() -> Namespaces:
    namespaces = Namespaces()
    namespaces.declare("bus", subscription_id="sub-1", resource_group="workforce")
    return namespaces


@pytest_asyncio.fixture
async def url(namespaces: Namespaces) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(routes(namespaces))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}/subscriptions/sub-1/resourceGroups/workforce/providers/Microsoft.ServiceBus/namespaces"
    await runner.cleanup()


async def call(method: str, url: str, properties: object = None, *, version: str = VERSION) -> tuple[int, dict]:
    body = None if properties is None else {"properties": properties}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, params={"api-version": version} if version else {}, json=body) as answer,
    ):
        return answer.status, await answer.json() if answer.content_length else {}


async def test_a_put_is_idempotent_and_answers_200_each_time(url: str, namespaces: Namespaces):
    """Microsoft.ServiceBus REST reference, create_or_update: no 409, no If-Match."""
    for _ in range(2):
        assert (await call("PUT", f"{url}/bus/topics/t", {"defaultMessageTimeToLive": "PT15M"}))[0] == 200
        properties = {"lockDuration": "PT30S", "maxDeliveryCount": 100, "deadLetteringOnMessageExpiration": False}
        status, body = await call("PUT", f"{url}/bus/topics/t/subscriptions/shutdown", properties)
        assert (status, body["type"]) == (200, "Microsoft.ServiceBus/namespaces/topics/subscriptions")
        assert body["id"].endswith("/namespaces/bus/topics/t/subscriptions/shutdown")
    settings = namespaces.get("bus").broker.subscription("t", "shutdown").settings
    assert (settings.lock_duration, settings.max_delivery_count) == (30.0, 100)


async def test_a_namespace_gives_its_endpoint_and_an_unknown_one_is_not_found(url: str):
    """Microsoft.ServiceBus REST reference: serviceBusEndpoint is where the host name comes from."""
    status, body = await call("GET", f"{url}/bus")
    assert (status, body["properties"]["serviceBusEndpoint"]) == (200, "https://bus.servicebus.windows.net:443/")
    status, body = await call("PUT", f"{url}/nowhere/topics/t", {})
    assert (status, body["error"]["code"]) == (404, "ParentResourceNotFound")


async def test_ids_are_read_without_regard_to_case(url: str):
    await call("PUT", f"{url}/bus/queues/Orders", {})
    other = url.replace("resourceGroups", "resourcegroups").replace("Microsoft.ServiceBus", "microsoft.servicebus")
    status, body = await call("GET", f"{other}/BUS/queues/orders")
    assert (status, body["name"]) == (200, "Orders")


async def test_errors_have_the_resource_manager_s_shape(url: str):
    """What cannot be changed is refused with 400, a wrong body too, and a missing api-version."""
    await call("PUT", f"{url}/bus/queues/q", {"requiresSession": True})
    status, body = await call("PUT", f"{url}/bus/queues/q", {"requiresSession": False})
    assert (status, body["error"]["code"]) == (400, "MessagingGatewayBadRequest")
    status, body = await call("PUT", f"{url}/bus/queues/q", ["no object"])
    assert (status, body["error"]["code"]) == (400, "InvalidRequestContent")
    status, body = await call("GET", f"{url}/bus", version="")
    assert (status, body["error"]["code"]) == (400, "MissingApiVersionParameter")
    status, body = await call("PUT", f"{url}/bus/topics/Q", {})
    assert (status, body["error"]["code"]) == (409, "Conflict")


async def test_deleting_answers_200_then_204(url: str):
    await call("PUT", f"{url}/bus/queues/q", {})
    assert [(await call("DELETE", f"{url}/bus/queues/q"))[0] for _ in range(2)] == [200, 204]
    assert (await call("GET", f"{url}/bus/queues/q"))[0] == 404
