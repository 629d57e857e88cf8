"""The HTTP client: what it says of an answer, of none, and of a service that was never reached."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from jobq.http import Answer, AnswerLost, DirectClient, NotSent, _Parser, open_http, trust

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Two:  b \r\n\r\nhello"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: t\r\n\r\n"
EMPTY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"


@asynccontextmanager
async def server(*answers, context=None):
    """Answers each request with the next of `answers`; None hangs up, and `close` hangs up after it."""
    left, connections = list(answers), []

    async def serve(reader, writer):
        connections.append(writer)
        try:
            while left:
                await reader.readuntil(b"\r\n\r\n")
                answer = left.pop(0)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
                if b"bye" in answer:
                    return
            await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1], connections
    finally:
        listening.close()
        for writer in connections:
            writer.close()


@asynccontextmanager
async def client(port, **options):
    made = DirectClient("127.0.0.1", port, f"127.0.0.1:{port}", None, **options)
    try:
        yield made
    finally:
        await made.close()


async def ask(made):
    return await made.request("GET", "/x", {})


async def test_answers_of_every_form_come_over_one_connection():
    async with server(PLAIN, CHUNKED, EMPTY, PLAIN) as (port, connections), client(port) as made:
        assert await ask(made) == Answer(200, {"content-length": "5", "x-two": "b"}, b"hello")
        assert (await ask(made)).body == b"hello!"
        assert (await ask(made)).status == 204
        assert (await ask(made)).body == b"hello"
        assert len(connections) == 1


async def test_an_answer_that_ends_with_the_connection_is_whole_and_the_next_one_gets_another_connection():
    until_closed = b"HTTP/1.0 200 OK\r\n\r\nbye"
    async with server(until_closed, PLAIN) as (port, connections), client(port) as made:
        assert (await ask(made)).body == b"bye"
        assert (await ask(made)).body == b"hello"
        assert len(connections) == 2


async def test_a_kept_connection_that_the_peer_has_closed_is_not_used_again(monkeypatch):
    monkeypatch.setattr("jobq.http.QUIET_SECONDS", -1.0)
    async with server(PLAIN, PLAIN) as (port, connections), client(port) as made:
        await ask(made)
        connections[0].close()
        await connections[0].wait_closed()
        assert (await ask(made)).body == b"hello"
        assert len(connections) == 2


@pytest.mark.parametrize(
    ("says", "wanted"),
    [("timeout=0", 2), ("timeout=0, max=100", 2), ("timeout=600", 1), ("timeout=soon", 1), ("max=9", 1)],
)
async def test_a_kept_connection_is_not_used_for_longer_than_its_peer_says(says, wanted):
    """A push on a connection that the peer was just closing was reported as perhaps stored, on a busy machine."""
    answer = PLAIN.replace(b"\r\n\r\n", f"\r\nKeep-Alive: {says}\r\n\r\n".encode(), 1)
    async with server(answer, PLAIN) as (port, connections), client(port) as made:
        await ask(made)
        assert (await ask(made)).body == b"hello"
        assert len(connections) == wanted


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbye", b"nonsense bye\r\n\r\n"])
async def test_half_an_answer_or_none_is_a_lost_one(answer):
    async with server(answer) as (port, _), client(port) as made:
        with pytest.raises(AnswerLost):
            await ask(made)


async def test_a_peer_that_says_nothing_is_given_up():
    async with server(b"") as (port, _), client(port, answer_seconds=0.05) as made:
        with pytest.raises(AnswerLost, match=r"no answer in 0\.05 s"):
            await ask(made)


async def test_a_cancelled_request_leaves_no_half_read_connection_behind():
    async with server(b"", PLAIN) as (port, connections), client(port) as made:
        asking = asyncio.create_task(ask(made))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert (await ask(made)).body == b"hello"
        assert len(connections) == 2


async def test_a_service_that_cannot_be_reached_has_not_heard_of_the_request():
    async with server() as (port, _):
        pass
    async with client(port) as made:
        with pytest.raises(NotSent, match=f"no connection to 127.0.0.1:{port}"):
            await ask(made)


async def test_only_trusted_authorities_are_spoken_to(tmp_path):
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    for made, name in ((authority, "ours.pem"), (stranger, "theirs.pem")):
        made.cert_pem.write_to_path(tmp_path / name)
    async with server(PLAIN, context=context) as (port, _):
        good = open_http(f"https://127.0.0.1:{port}", tmp_path / "ours.pem", {})
        assert (await good.request("GET", "/", {})).body == b"hello"
        await good.close()
        bad = DirectClient("127.0.0.1", port, "x", trust(tmp_path / "theirs.pem"))
        with pytest.raises(NotSent):
            await bad.request("GET", "/", {})


@given(st.sampled_from([PLAIN, CHUNKED, EMPTY]), st.lists(st.integers(0, 120), max_size=6))
def test_an_answer_is_the_same_however_it_is_cut(answer, cuts):
    whole = _Parser().feed(answer)
    parser, found, last = _Parser(), None, 0
    for cut in [*sorted(min(cut, len(answer)) for cut in cuts), len(answer)]:
        if cut > last:
            found, last = parser.feed(answer[last:cut]), cut
    assert found == whole is not None


@given(st.sampled_from([PLAIN, CHUNKED, EMPTY, b"HTTP/1.1 "]), st.binary(max_size=60), st.integers(0, 60))
def test_nonsense_is_refused_and_nothing_else_happens(answer, noise, place):
    parser = _Parser()
    try:
        found = parser.feed(answer[:place] + noise + answer[place:])
    except ValueError:
        return
    assert found is None or isinstance(found, Answer)
