"""Making and counting queues through the service's management endpoint, with the real SDK against a stand-in for it."""

import ssl

import pytest
import trustme
from aiohttp import web

from jobq.address import QueueAddress
from jobq.errors import QueueMissing
from jobq.opening import open_backend
from tests.support.service_bus import NAMESPACE, AnyToken

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
    with pytest.raises(QueueMissing, match="cannot be made from here"):
        await backend.create()
