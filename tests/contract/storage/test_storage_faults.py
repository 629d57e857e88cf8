"""Azure Storage Queue when the service fails: what is repeated, what is not, and what the caller is told."""

import asyncio
import socket
from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web

from jobq.address import AddressError, QueueAddress
from jobq.backends.port import Delivery
from jobq.backends.storage import DELETES_AT_ONCE
from jobq.cloud import PUBLIC_CLOUDS
from jobq.errors import MaybeStored, NotStored, QueueMissing, QueueRefused, QueueUnavailable
from jobq.opening import open_backend
from jobq.queue import JobQ

CLOUD = PUBLIC_CLOUDS["AzureCloud"]


class Faulty:
    """An HTTP server that answers from a script and counts what it was asked."""

    def __init__(self):
        self.requests = []
        self.script = []

    async def handle(self, request):
        await request.read()
        self.requests.append(request.method)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if step == "drop":
            request.transport.abort()
            return web.Response()
        status, code = step
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} happened</Message></Error>"
        return web.Response(status=status, text=body if status >= 400 else "", headers={"x-ms-error-code": code})


@pytest.fixture
async def faulty(monkeypatch):
    monkeypatch.setattr("jobq.backends.storage._BACKOFF_SECONDS", 0.001)
    server = Faulty()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = site._server.sockets[0].getsockname()[1]
    yield server
    await runner.cleanup()


def address(port):
    text = f"DefaultEndpointsProtocol=http;AccountName=acct;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:{port}/acct"
    return QueueAddress("", "tasks", text)


@pytest.fixture(params=["direct", "proxied"])
async def queue(faulty, request, monkeypatch):
    """Over our own HTTP client, and over the one that is used where there is a proxy."""
    if request.param == "proxied":
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "*")
    async with open_backend(address(faulty.port), CLOUD) as backend:
        yield backend


async def test_a_push_whose_answer_is_lost_is_sent_once_and_reported_as_unknown(queue, faulty):
    faulty.script = ["drop"]
    with pytest.raises(MaybeStored, match="task my-id may or may not"):
        await JobQ(queue).push("echo", id="my-id")
    assert faulty.requests == ["POST"]


async def test_a_push_that_ends_in_a_server_error_is_not_repeated(queue, faulty):
    faulty.script = [(500, "InternalError")]
    with pytest.raises(MaybeStored):
        await queue.send("x")
    assert faulty.requests == ["POST"]


async def test_a_push_that_the_service_was_too_busy_for_is_sent_again(queue, faulty):
    faulty.script = [(503, "ServerBusy"), (503, "ServerBusy"), (500, "InternalError")]
    with pytest.raises(MaybeStored):
        await queue.send("x")
    assert len(faulty.requests) == 3


async def test_a_refused_push_says_that_the_task_is_not_stored(queue, faulty):
    faulty.script = [(403, "AuthorizationPermissionMismatch")]
    with pytest.raises(NotStored, match="my-id was not stored"):
        await JobQ(queue).push("echo", id="my-id")


async def test_a_push_to_a_missing_queue_says_so(queue, faulty):
    faulty.script = [(404, "QueueNotFound")]
    with pytest.raises(QueueMissing, match="acct/tasks does not exist"):
        await queue.send("x")


async def test_missing_rights_and_outages_are_told_apart(queue, faulty):
    faulty.script = [(403, "AuthorizationPermissionMismatch")]
    with pytest.raises(QueueRefused):
        await queue.receive(1, timedelta(seconds=30))
    faulty.script = [(500, "InternalError")]
    with pytest.raises(QueueUnavailable):
        await queue.receive(1, timedelta(seconds=30))
    faulty.script = ["drop"]
    with pytest.raises(QueueUnavailable):
        await queue.size()


async def test_a_delete_whose_answer_was_lost_counts_as_done_when_the_message_is_gone(queue, faulty):
    faulty.script = ["drop", (404, "MessageNotFound")]
    await queue.complete(Delivery("id", "receipt", "x", 1))
    assert faulty.requests == ["DELETE", "DELETE"]


async def test_a_service_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("jobq.backends.storage._BACKOFF_SECONDS", 0.001)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    async with asyncio.timeout(30), open_backend(address(port), CLOUD) as backend:
        with pytest.raises(NotStored, match="acct/tasks could not be reached"):
            await backend.send("x")


async def test_a_queue_that_cannot_be_made_now_is_unavailable_and_not_an_unknown_error(queue, faulty):
    faulty.script = ["drop"]
    with pytest.raises(QueueUnavailable):
        await queue.create()
    faulty.script = [(409, "QueueBeingDeleted")]
    with pytest.raises(QueueUnavailable):
        await queue.create()
    faulty.script = [(409, "QueueAlreadyExists")]
    await queue.create()


async def test_deletes_that_get_no_answer_do_not_keep_others_waiting(queue, faulty, monkeypatch):
    monkeypatch.setattr("jobq.backends.storage.TURN_SECONDS", 0.05)
    for _ in range(DELETES_AT_ONCE):
        await queue._deletes.acquire()
    faulty.script = [(204, "")]
    async with asyncio.timeout(10):
        await queue.complete(Delivery("id", "receipt", "x", 1))
    assert faulty.requests == ["DELETE"]


@pytest.mark.parametrize("name", ["a b", "ü", "a?b=c"])
async def test_a_queue_name_that_cannot_be_one_is_refused_before_anything_is_asked(faulty, name):
    with pytest.raises(AddressError, match="cannot be a storage queue"):
        async with open_backend(replace(address(faulty.port), queue=name), CLOUD):
            pass
    assert faulty.requests == []
