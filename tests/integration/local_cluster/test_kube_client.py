"""The client's watch against a server that misbehaves."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque

import pytest
import trustme
import yaml
from aiohttp import web

from workforce_local.cluster.kube_client import Access, ApiError, Changed, Deleted, KubeClient, Listed


def thing(name, version):
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def event(kind, name, version):
    return {"type": kind, "object": thing(name, version)}


class Server:
    """Answers lists and watches from a script; a watch without a script stays open."""

    def __init__(self):
        self.lists = deque()
        self.watches = deque()
        self.asked = []

    async def answer(self, request):
        if request.query.get("watch") != "true":
            self.asked.append("list")
            status, body = self.lists.popleft() if self.lists else (503, {"reason": "x", "message": "no script"})
            return web.json_response(body, status=status)
        self.asked.append(f"watch {request.query['resourceVersion']}")
        status, lines = self.watches.popleft() if self.watches else (200, None)
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        if lines is None:
            await asyncio.sleep(60)
        for line in lines or ():
            if line == "break":
                request.transport.abort()
                return response
            # In pieces, as networks deliver it.
            text = json.dumps(line).encode() + b"\n"
            for start in range(0, len(text), 50_000):
                await response.write(text[start : start + 50_000])
        return response


@pytest.fixture
async def server():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    script = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", script.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    script.access = Access(f"https://127.0.0.1:{runner.addresses[0][1]}", authority.cert_pem.bytes().decode(), "tok")
    yield script
    await runner.cleanup()


def listing(version, *names):
    return 200, {"metadata": {"resourceVersion": str(version)}, "items": [thing(name, version) for name in names]}


async def collect(server, count):
    found = []
    async with KubeClient(server.access) as client, asyncio.timeout(60):
        events = client.watch("/api/v1/things")
        async for found_event in events:
            match found_event:
                case Listed(objects):
                    found.append(["listed", *(o["metadata"]["name"] for o in objects)])
                case Changed(content):
                    found.append(["changed", content["metadata"]["name"]])
                case Deleted(content):
                    found.append(["deleted", content["metadata"]["name"]])
            if len(found) == count:
                break
        await events.aclose()
    return found


async def test_a_watch_lists_and_then_tells_every_change(server):
    server.lists.append(listing(5, "a"))
    server.watches.append((200, [event("ADDED", "b", 6), event("BOOKMARK", "", 7), event("DELETED", "a", 8)]))
    assert await collect(server, 3) == [["listed", "a"], ["changed", "b"], ["deleted", "a"]]


async def test_a_broken_watch_resumes_where_it_was(server):
    server.lists.append(listing(5, "a"))
    server.watches.append((200, [event("MODIFIED", "a", 6), event("BOOKMARK", "", 9), "break"]))
    server.watches.append((200, [event("MODIFIED", "a", 10)]))
    assert await collect(server, 3) == [["listed", "a"], ["changed", "a"], ["changed", "a"]]
    assert server.asked == ["list", "watch 5", "watch 9"]


async def test_a_watch_that_the_server_ended_resumes(server):
    server.lists.append(listing(5))
    server.watches.append((200, []))
    server.watches.append((200, [event("ADDED", "a", 6)]))
    assert await collect(server, 2) == [["listed"], ["changed", "a"]]
    assert server.asked == ["list", "watch 5", "watch 5"]


@pytest.mark.parametrize(
    "gone", [(200, [{"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}]), (410, [{"reason": "Expired"}])]
)
async def test_a_forgotten_version_leads_to_a_new_list(server, gone):
    server.lists.extend([listing(5, "a"), listing(20, "b")])
    server.watches.append(gone)
    assert await collect(server, 2) == [["listed", "a"], ["listed", "b"]]


async def test_a_server_that_is_not_ready_is_asked_again(server):
    server.lists.extend([(503, {"reason": "ServiceUnavailable", "message": "starting"}), listing(5, "a")])
    assert await collect(server, 1) == [["listed", "a"]]


async def test_an_object_larger_than_a_line_buffer_arrives_whole(server):
    large = event("ADDED", "a", 6)
    large["object"]["data"] = "x" * 1_000_000
    server.lists.append(listing(5))
    server.watches.append((200, [large]))
    assert await collect(server, 2) == [["listed"], ["changed", "a"]]


async def test_a_refusal_has_its_status_reason_and_message(server):
    server.lists.append((403, {"reason": "Forbidden", "message": "no"}))
    async with KubeClient(server.access) as client:
        with pytest.raises(ApiError, match="403 Forbidden: no"):
            await client.get("/api/v1/things")


def test_a_kubeconfig_file_is_read_with_its_authority_inside_or_beside_it(tmp_path):
    (tmp_path / "ca.crt").write_text("PEM")
    content = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://h:1/", "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    assert Access.from_file(path) == Access("https://h:1", "PEM", "t")
    content["current-context"] = "y"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="contexts has no entry 'y'"):
        Access.from_file(path)
