"""Making and counting queues through the service's management endpoint, with the real SDK against a stand-in for it."""

import ssl

import pytest
import trustme
from aiohttp import web

from jobq import JobQ
from jobq.address import QueueAddress
from jobq.backends.port import QueueSize
from jobq.errors import QueueMissing
from jobq.opening import open_backend
from tests.support.service_bus import NAMESPACE, AnyToken
from workforce_local.azure import LocalAzure
from workforce_local.config import LocalConfig

ENTRY = """<entry xmlns="http://www.w3.org/2005/Atom"><title type="text">{name}</title><content type="application/xml">
<QueueDescription xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">
<CountDetails xmlns:d="http://schemas.microsoft.com/netservices/2011/06/servicebus"><d:ActiveMessageCount>5</d:ActiveMessageCount>
<d:DeadLetterMessageCount>2</d:DeadLetterMessageCount><d:ScheduledMessageCount>3</d:ScheduledMessageCount></CountDetails>
</QueueDescription></content></entry>"""
FEED = '<feed xmlns="http://www.w3.org/2005/Atom"><title type="text">Publicly Listed Services</title></feed>'


class Management:
    """Answers as the service does, and makes what it is asked for."""

    def __init__(self, bus):
        self.bus = bus
        self.bodies = []
        self.refuses = False

    async def handle(self, request):
        name = request.path.strip("/")
        if self.refuses:
            return web.Response(
                status=401, text="<Error><Code>401</Code><Detail>Manage claim is required</Detail></Error>"
            )
        there = self.bus.run(lambda: self.bus.broker.queue(name)) is not None
        if request.method == "GET":
            return web.Response(text=ENTRY.format(name=name) if there else FEED, content_type="application/atom+xml")
        if there:
            return web.Response(status=409, text="<Error><Code>409</Code><Detail>exists</Detail></Error>")
        self.bodies.append(await request.text())
        self.bus.make_queue(name)
        return web.Response(status=201, text=ENTRY.format(name=name), content_type="application/atom+xml")


@pytest.fixture
async def management(service_bus, tmp_path):
    authority = trustme.CA()
    bundle = tmp_path / "both.pem"
    bundle.write_bytes(service_bus.ca_file.read_bytes() + authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = Management(service_bus)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    server.cloud = service_bus.cloud(service_bus_management=f"127.0.0.1:{port}", ca_bundle=bundle)
    yield server
    await runner.cleanup()


@pytest.fixture
async def backend(management, queue_name):
    async with open_backend(
        QueueAddress(NAMESPACE, queue_name, service_bus=True), management.cloud, AnyToken()
    ) as opened:
        yield opened


async def test_a_queue_is_made_with_long_locks_duplicate_detection_and_room_for_returns(backend, management):
    await backend.create()
    await backend.create()
    (body,) = management.bodies
    for words in (
        "LockDuration>PT5M<",
        "RequiresDuplicateDetection>true<",
        "DuplicateDetectionHistoryTimeWindow>P7D<",
        "MaxDeliveryCount>1000<",
    ):
        assert words in body
    await backend.send("x")


async def test_the_service_counts_its_messages_itself(backend):
    with pytest.raises(QueueMissing):
        await backend.size()
    await backend.create()
    size = await backend.size()
    assert (size.total, size.visible) == (8, None)
    assert (await backend.failed.size()).total == 2


async def test_who_may_not_manage_the_namespace_uses_and_counts_the_queue_all_the_same(
    backend, management, service_bus, queue_name
):
    service_bus.make_queue(queue_name)
    management.refuses = True
    await backend.create()
    await backend.send("x")
    assert (await backend.size()).total == 1


async def test_who_may_not_make_a_missing_queue_is_told_how(backend, management):
    management.refuses = True
    with pytest.raises(QueueMissing, match=r"cannot be made from here \(.*Unauthorized.*\): make it with"):
        await backend.create()


async def test_the_local_cloud_makes_a_queue_as_the_service_does(tmp_path, monkeypatch):
    """What `workforce local up` offers is enough for a first push: nothing has to be made beforehand."""
    monkeypatch.setenv("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "true")
    async with LocalAzure(tmp_path / "azure", LocalConfig()) as azure:
        for name, value in azure.environment().items():
            monkeypatch.setenv(name, value)
        async with JobQ.from_service_bus("made-here", namespace="wf-bus") as queue:
            await queue.push("true")
        async with JobQ.from_service_bus("made-here", namespace="wf-bus") as queue:
            assert await queue.size() == QueueSize(1, None)
        made = azure.namespaces.get("wf-bus").broker.queue("made-here").settings
        assert (made.lock_duration, made.max_delivery_count, made.duplicate_window) == (300.0, 1000, 7 * 86400.0)
