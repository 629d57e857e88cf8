"""Clients that break the rules: each is told what is wrong, and everybody else is served as before."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.support.azure import FAST
from workforce_local.azure import LocalAzure
from workforce_local.config import LocalConfig
from workforce_local.servicebus import framing
from workforce_local.servicebus.amqp_types import Symbol, UInt
from workforce_local.servicebus.framing import Frame, FrameReader

HOST = "127.0.0.1"
PATIENCE = 30.0
HTTP_SERVICES = pytest.mark.parametrize("service", ["arm", "imds"])
OPENING = (
    framing.SASL_HEADER
    + framing.frame(0, framing.SASL_INIT, [Symbol("ANONYMOUS")], sasl=True)
    + framing.AMQP_HEADER
    + framing.frame(0, framing.OPEN, ["client", HOST, UInt(65536)])
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Azure:
    """The local Azure as a client without any library sees it."""

    local: LocalAzure

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.local.ca_file))

    def address(self, service: str) -> tuple[int, ssl.SSLContext | None]:
        """Port and trust of a service."""
        if service == "imds":
            return self.local.imds.port, None
        if service == "arm":
            return int(self.local.base_url.rpartition(":")[2]), self.trust
        bus = self.local.service_bus
        return (bus.plain_port, None) if service == "amqp" else (bus.tls_port, self.trust)

    async def open(self, service: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a service."""
        port, trust = self.address(service)
        return await asyncio.open_connection(HOST, port, ssl=trust)

    async def tell(self, service: str, data: bytes) -> bytes:
        """Everything that a service answers until it ends the connection."""
        reader, writer = await self.open(service)
        writer.write(data)
        try:
            return await asyncio.wait_for(reader.read(), PATIENCE)
        finally:
            writer.close()

    async def serves(self) -> None:
        """Each service still answers a decent client."""
        trust, metadata = self.trust, {"Metadata": "true"}
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{self.local.base_url}/metadata/endpoints", ssl=trust) as answer:
                assert answer.status == 200
            url = f"{self.local.imds.url}/metadata/instance?api-version=2021-02-01"
            async with session.get(url, headers=metadata) as answer:
                assert answer.status == 200
        for service in ("amqp", "amqps"):
            answered = await self.tell(service, OPENING + framing.frame(0, framing.CLOSE, []))
            assert framing.CLOSE in codes(answered)

    async def token(self) -> str:
        """A bearer token of the operator's own."""
        environment = self.local.environment()
        form = {
            "grant_type": "client_credentials",
            "client_id": environment["AZURE_CLIENT_ID"],
            "client_secret": environment["AZURE_CLIENT_SECRET"],
            "scope": f"{self.local.base_url}/.default",
        }
        url = f"{self.local.base_url}/{self.local.config.tenant_id}/oauth2/v2.0/token"
        async with aiohttp.ClientSession() as session, session.post(url, data=form, ssl=self.trust) as answer:
            return str((await answer.json())["access_token"])


def frames(data: bytes) -> list[Frame]:
    return [item for item in FrameReader().feed(data) if isinstance(item, Frame)]


def codes(data: bytes) -> list[int]:
    return [frame.code for frame in frames(data)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def azure(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Azure]:
    folder: Path = tmp_path_factory.mktemp("azure")
    async with LocalAzure(folder, LocalConfig(timing=FAST)) as local:
        yield Azure(local)


@pytest.mark.parametrize("service", ["amqp", "amqps"])
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"\x00\x00\x00\x02\x02\x00\x00\x00", id="a frame smaller than its head"),
        pytest.param(b"\x7f\xff\xff\xff\x02\x00\x00\x00", id="a frame of two gigabytes"),
        pytest.param(b"\x00\x00\x00\x09\xff\x00\x00\x00\x00", id="a data offset behind the frame"),
        pytest.param(b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x11\xd0", id="a list that ends too early"),
        pytest.param(b"\x00\x00\x00\x0a\x02\x00\x00\x00\xa1\x00", id="no performative"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP"),
        pytest.param(framing.frame(9, framing.BEGIN, [True]), id="wrong fields"),
    ],
)
async def test_a_broken_frame_is_answered_with_a_close_that_says_why(azure: Azure, service: str, broken: bytes) -> None:
    close = frames(await azure.tell(service, OPENING + broken))[-1]
    assert close.code == framing.CLOSE
    condition, description = close.fields[0].value[:2]
    assert condition.startswith("amqp:")
    assert description
    await azure.serves()


async def test_plain_amqp_on_the_tls_port_is_cut_and_the_port_serves_on(azure: Azure) -> None:
    port, _ = azure.address("amqps")
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(OPENING)
    await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    await azure.serves()


@HTTP_SERVICES
async def test_an_oversized_header_is_a_bad_request(azure: Azure, service: str) -> None:
    request = b"GET /metadata/endpoints HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n"
    assert (await azure.tell(service, request)).startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    await azure.serves()


@HTTP_SERVICES
@pytest.mark.parametrize(
    "request_line",
    [b"\x16\x03\x01\x00\xa5junk\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G\x00T / HTTP/1.1\r\n\r\n"],
)
async def test_what_is_no_http_is_a_bad_request(azure: Azure, service: str, request_line: bytes) -> None:
    answer = await azure.tell(service, request_line)
    assert answer.split(b" ")[1:2] == [b"400"], answer
    await azure.serves()


@pytest.mark.parametrize(
    "resource",
    [
        "Microsoft.MachineLearningServices/workspaces/ws-uksouth/jobs/job",
        "Microsoft.ServiceBus/namespaces/{bus}/queues/queue",
    ],
)
@pytest.mark.parametrize("body", [b"{", b'{"properties": ', b"[]", b'"text"', b"\xff\xfe", b"[" * 5_000])
async def test_arm_names_broken_json_in_its_own_error_shape(azure: Azure, resource: str, body: bytes) -> None:
    providers = f"/subscriptions/{azure.local.config.subscription_id}/resourceGroups/workforce/providers"
    bus = azure.local.config.service_bus[0]
    path = f"{providers}/{resource.format(bus=bus.name)}?api-version=2025-12-01"
    headers = {"Authorization": f"Bearer {await azure.token()}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.put(azure.local.base_url + path, data=body, headers=headers, ssl=azure.trust) as answer,
    ):
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "InvalidRequestContent"
    await azure.serves()


@pytest.mark.parametrize("path", ["/v2.1/track", "/_local/preempt", "/adfs/oauth2/v2.0/token"])
async def test_a_body_that_is_not_encoded_as_it_says_is_refused_by_name(azure: Azure, path: str) -> None:
    headers = {
        "Content-Encoding": "gzip",
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": f"Bearer {azure.local.admin_token}",
    }
    async with aiohttp.ClientSession() as session:
        url = azure.local.base_url + path
        async with session.post(url, data=b"no gzip", headers=headers, ssl=azure.trust) as answer:
            assert answer.status == 400
            assert "gzip" in (await answer.json())["error"]
    await azure.serves()


async def test_a_mistyped_path_of_the_admin_interface_is_named(azure: Azure) -> None:
    headers = {"Authorization": f"Bearer {azure.local.admin_token}"}
    async with aiohttp.ClientSession() as session:
        url = f"{azure.local.base_url}/_local/preemt"
        async with session.post(url, json={}, headers=headers, ssl=azure.trust) as answer:
            assert answer.status == 404
            assert "/_local/preemt" in (await answer.json())["error"]
        async with session.post(url, json={}, ssl=azure.trust) as answer:
            assert answer.status == 401


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"StartRequests": [{}]}', b'{"StartRequests": 1}', b"[" * 5_000])
async def test_imds_refuses_a_broken_approval(azure: Azure, body: bytes) -> None:
    url = f"{azure.local.imds.url}/metadata/scheduledevents?api-version=2020-07-01"
    headers = {"Metadata": "true"}
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
        assert answer.status == 400
        assert json.loads(await answer.text())["error"] == "invalid_request"
    await azure.serves()


@pytest.mark.parametrize("service", ["amqp", "amqps", "arm", "imds"])
async def test_half_open_and_half_said_connections_do_not_keep_others_waiting(azure: Azure, service: str) -> None:
    port, _ = azure.address(service)
    said = OPENING[:-3] if service.startswith("amqp") else b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    silent = [await asyncio.open_connection(HOST, port) for _ in range(10)]  # a TLS handshake that never comes, too
    half = [await azure.open(service) for _ in range(10)]
    for _, writer in half:
        writer.write(said)
    await azure.serves()
    for _, writer in [*silent, *half]:
        writer.transport.abort()
    await azure.serves()


async def test_nothing_waits_for_clients_that_never_read_or_leave_when_it_is_stopped(tmp_path: Path) -> None:
    async with LocalAzure(tmp_path / "azure", LocalConfig(timing=FAST)) as local:
        azure = Azure(local)
        writers = [(await azure.open(service))[1] for service in ("amqp", "amqps", "arm", "imds")]
    for writer in writers:
        writer.transport.abort()
