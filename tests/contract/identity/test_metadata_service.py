"""The instance metadata service, as Microsoft documents it: Azure Instance Metadata Service, Scheduled Events."""

from __future__ import annotations

from datetime import UTC, datetime

import aiohttp
import pytest
import pytest_asyncio

from workforce_local.azure import LocalAzure
from workforce_local.imds import ScheduledEvent

EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
INSTANCE = "/metadata/instance?api-version=2021-02-01"


@pytest_asyncio.fixture
async def imds(local_azure: LocalAzure):
    """A session that says `Metadata: true`."""
    async with aiohttp.ClientSession(local_azure.imds.url, headers={"Metadata": "true"}) as session:
        yield session


async def test_a_machine_without_events_has_an_empty_list(imds):
    async with imds.get(EVENTS) as answer:
        assert await answer.json() == {"DocumentIncarnation": 1, "Events": []}


async def test_an_event_appears_is_approved_and_is_withdrawn(local_azure, imds):
    event = ScheduledEvent("Preempt", ("host",), datetime(2030, 1, 1, tzinfo=UTC))
    local_azure.imds.events.schedule(event)
    async with imds.get(EVENTS) as answer:
        document = await answer.json()
    assert document["Events"][0]["EventId"] == event.event_id
    assert document["Events"][0]["NotBefore"] == "Tue, 01 Jan 2030 00:00:00 GMT"
    async with imds.post(EVENTS, json={"StartRequests": [{"EventId": event.event_id}]}) as answer:
        assert answer.status == 200
    local_azure.imds.events.withdraw(event.event_id)
    async with imds.get(EVENTS) as answer:
        assert (await answer.json())["Events"] == []


@pytest.mark.parametrize("body", [{}, {"StartRequests": [{"EventId": "none"}]}, {"StartRequests": 3}])
async def test_a_malformed_approval_is_400(imds, body):
    async with imds.post(EVENTS, json=body) as answer:
        assert answer.status == 400


@pytest.mark.parametrize("path", [EVENTS, INSTANCE, "/metadata/identity/oauth2/token?api-version=1&resource=r"])
async def test_the_metadata_header_is_mandatory(local_azure, path):
    async with aiohttp.ClientSession(local_azure.imds.url) as session, session.get(path) as answer:
        assert answer.status == 400


async def test_an_api_version_is_mandatory(imds):
    async with imds.get("/metadata/instance") as answer:
        assert answer.status == 400
        assert "api-version" in (await answer.json())["error"]


async def test_the_instance_document_names_the_machine(local_azure, imds):
    async with imds.get(INSTANCE) as answer:
        compute = (await answer.json())["compute"]
    assert (compute["name"], compute["subscriptionId"]) == ("host", local_azure.config.subscription_id)


async def test_a_part_of_the_instance_document_is_given_by_its_path(imds):
    """As the real service does: objects as JSON, single values as text and only with format=text."""
    path, version = "/metadata/instance/compute", "?api-version=2021-02-01"
    async with imds.get(f"{path}{version}") as answer:
        assert (await answer.json())["name"] == "host"
    async with imds.get(f"{path}/name{version}&format=text") as answer:
        assert await answer.text() == "host"
    async with imds.get(f"{path}/name{version}") as answer:
        assert answer.status == 400
    async with imds.get(f"{path}/nothing{version}") as answer:
        assert answer.status == 404


async def test_a_wrong_msi_secret_opens_nothing(local_azure):
    url = local_azure.imds.environment()["MSI_ENDPOINT"]
    query = {"api-version": "2017-09-01", "resource": "https://storage.azure.com"}
    async with aiohttp.ClientSession() as session, session.get(url, params=query, headers={"secret": "x"}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("query", ["", "&resource=https://a.test&client_id=nobody"])
async def test_a_token_request_without_a_resource_or_with_an_unknown_identity_is_400(imds, query):
    async with imds.get(f"/metadata/identity/oauth2/token?api-version=2018-02-01{query}") as answer:
        assert answer.status == 400
