"""A connection without a socket: what a client that speaks raw AMQP is answered, and what broken ones do."""

from __future__ import annotations

import dataclasses
import uuid

from tests.support.amqp_client import RECEIVER, SENDER, Client
from tests.support.tables import table
from workforce_local.servicebus import framing as f
from workforce_local.servicebus.amqp_types import Symbol, UInt
from workforce_local.servicebus.link import MAX_MESSAGE_SIZE
from workforce_local.servicebus.message import DATA, VALUE, parse, section
from workforce_local.servicebus.performatives import ACCEPTED, REJECTED, outcome


def test_a_client_is_let_in_by_any_sasl_mechanism_and_told_the_limits():
    client = Client()
    client.connection.feed(f.SASL_HEADER)
    client.connection.feed(f.frame(0, f.SASL_INIT, [Symbol("ANONYMOUS")], sasl=True))
    assert client.codes() == [f.SASL_MECHANISMS, f.SASL_OUTCOME]
    client.connection.feed(f.AMQP_HEADER)
    (opened,) = client.say(f.OPEN, ["client", "bus.servicebus.windows.net"])
    assert opened.fields[2:5] == [262144, 4999, 240000]
    (begun,) = client.say(f.BEGIN, [None, UInt(0), UInt(10), UInt(10)])
    assert (len(begun.fields), begun.fields[4]) == (8, 255)


def test_another_protocol_is_answered_with_ours_and_the_end():
    client = Client()
    client.connection.feed(b"AMQP\x00\x00\x09\x01")
    assert bytes(client.sent) == f.AMQP_HEADER
    assert client.ended


@table("host", ["localhost", "127.0.0.1", "", "BUS.servicebus.windows.net", "bus.somewhere.else"])
def test_local_addresses_mean_the_first_namespace_and_names_the_named_one(host):
    client = Client(host=host).open()
    assert client.connection.namespace.name == "bus"


def test_an_undeclared_namespace_closes_the_connection():
    client = Client(host="nowhere.servicebus.windows.net").open()
    assert client.ended
    close = [frame for frame in f.FrameReader().feed(bytes(client.sent[8:])) if frame]
    assert close


def test_a_missing_entity_is_attached_without_an_end_and_detached_with_the_reason():
    attached, detached = Client().open().attach(0, RECEIVER, "amqps://bus.servicebus.windows.net/nothing")
    assert (attached.code, attached.fields[5], attached.fields[6]) == (f.ATTACH, None, None)
    assert detached.fields[2].value[0] == "amqp:not-found"


def test_without_a_token_no_link_stands_and_with_one_it_does():
    client = Client(authorize=lambda token, audience: token == "good" and audience.endswith("/q")).open()
    _, detached = client.attach(0, SENDER, "q")
    assert detached.fields[2].value[0] == "amqp:unauthorized-access"
    client.attach(1, SENDER, "$cbs")
    client.attach(2, RECEIVER, "$cbs")
    client.grant(2, 10)
    answers = []
    for number, token in enumerate(("bad", "good")):
        request = section(0x73, [f"id-{number}"]) + section(
            0x74, {"operation": "put-token", "type": "jwt", "name": "sb://bus.servicebus.windows.net/q"}
        )
        frames = client.send(1, number, request + section(VALUE, token))
        (transfer,) = [frame for frame in frames if frame.code == f.TRANSFER]
        reply = parse(transfer.payload)
        answers.append((reply.properties["correlation_id"], reply.application_properties["status-code"]))
    assert answers == [("id-0", 401), ("id-1", 202)]
    assert [frame.code for frame in client.attach(3, SENDER, "q")] == [f.ATTACH, f.FLOW]
    _, detached = client.attach(4, RECEIVER, "other")
    assert detached.fields[2].value[0] == "amqp:unauthorized-access"


def test_left_over_credit_stays_and_drained_credit_is_used_up():
    client = Client().open()
    client.attach(0, SENDER, "q")
    client.attach(1, RECEIVER, "q")
    assert client.grant(1, 2) == []
    frames = client.send(0, 0, section(DATA, b"one"))
    assert sorted(frame.code for frame in frames) == [f.TRANSFER, f.DISPOSITION]
    (flow,) = client.grant(1, 1, seen=1, drain=True)
    assert (flow.fields[5], flow.fields[6], flow.fields[8]) == (2, 0, True)
    assert [frame.code for frame in client.send(0, 1, section(DATA, b"two"))] == [f.DISPOSITION]


def test_credit_counts_from_what_the_client_has_seen():
    client = Client().open()
    client.attach(0, SENDER, "q")
    client.attach(1, RECEIVER, "q")
    client.grant(1, 1)
    client.send(0, 0, section(DATA, b"one"))
    assert client.grant(1, 1, seen=0) == []  # the client had not seen the first one yet: it is this credit
    client.send(0, 1, section(DATA, b"two"))
    assert client.broker.snapshot()["q"].locked == 1


def test_transfers_wait_for_the_client_s_window():
    client = Client().open()
    client.attach(0, SENDER, "q")
    client.attach(1, RECEIVER, "q")
    client.grant(1, 10, window=1)
    for number in range(3):
        client.send(0, number, section(DATA, b"x"))
    frames = client.say(f.FLOW, [UInt(1), UInt(5), UInt(3), UInt(1000)])
    assert [frame.code for frame in frames] == [f.TRANSFER, f.TRANSFER]


def test_a_settlement_is_confirmed_with_its_state_and_a_lost_lock_refused():
    client = Client().open()
    client.attach(0, SENDER, "q")
    client.attach(1, RECEIVER, "q")
    client.grant(1, 2)
    for number in range(2):
        client.send(0, number, section(DATA, b"x"))
    (done,) = client.say(f.DISPOSITION, [True, UInt(0), None, False, outcome(ACCEPTED)])
    assert (done.fields[3], done.fields[4].descriptor) == (True, ACCEPTED)
    client.broker.queue("q").messages.clear()
    client.broker.queue("q")._locked.clear()
    (refused,) = client.say(f.DISPOSITION, [True, UInt(1), None, False, outcome(ACCEPTED)])
    assert refused.fields[4].descriptor == REJECTED
    assert refused.fields[4].value[0].value[0] == "com.microsoft:message-lock-lost"


def test_a_range_of_deliveries_is_settled_at_once():
    client = Client().open()
    client.attach(0, SENDER, "q")
    client.attach(1, RECEIVER, "q")
    client.grant(1, 3)
    for number in range(3):
        client.send(0, number, section(DATA, b"x"))
    assert len(client.say(f.DISPOSITION, [True, UInt(0), UInt(0xFFFFFFFF), False, outcome(ACCEPTED)])) == 3
    assert client.broker.snapshot()["q"].total == 0


def test_a_message_above_the_limit_is_rejected_and_never_kept_in_whole():
    client = Client().open()
    client.attach(0, SENDER, "q")
    piece = bytes(200_000)
    for _ in range(3):
        client.send(0, 0, piece, more=True)
    link = client.connection.sessions[0].links[0]
    assert len(link._partial) < 2 * MAX_MESSAGE_SIZE
    (rejected,) = client.send(0, 0, b"")
    assert rejected.fields[4].value[0].value[0] == "amqp:link:message-size-exceeded"
    assert [frame.fields[4].descriptor for frame in client.send(0, 1, section(DATA, b"x"))] == [ACCEPTED]


def test_a_malformed_message_is_rejected_and_the_link_lives_on():
    client = Client().open()
    client.attach(0, SENDER, "q")
    (rejected,) = client.send(0, 0, b"\xff\xff")
    assert rejected.fields[4].value[0].value[0] == "amqp:decode-error"
    assert [frame.fields[4].descriptor for frame in client.send(0, 1, section(DATA, b"x"))] == [ACCEPTED]


def request(client: Client, number: int, operation: str, body: object) -> tuple[int, object]:
    head = section(0x73, [f"id-{number}"]) + section(0x74, {"operation": f"com.microsoft:{operation}"})
    frames = client.send(8, number, head + section(VALUE, body))
    (transfer,) = [frame for frame in frames if frame.code == f.TRANSFER]
    reply = parse(transfer.payload)
    return reply.application_properties["statusCode"], reply


@table(
    ("operation", "body", "status", "condition"),
    [
        ("peek-message", {"from-sequence-number": 0, "message-count": 5}, 204, None),
        ("peek-message", "nonsense", 400, "com.microsoft:argument-error"),
        ("renew-lock", {"lock-tokens": [uuid.UUID(int=1)]}, 410, "com.microsoft:message-lock-lost"),
        ("renew-lock", {"lock-tokens": ["no token"]}, 400, "com.microsoft:argument-error"),
        ("renew-session-lock", {"session-id": "n1"}, 410, "com.microsoft:session-lock-lost"),
        ("receive-by-sequence-number", {"sequence-numbers": [7]}, 404, "com.microsoft:message-not-found"),
        ("cancel-scheduled-message", {"sequence-numbers": [7]}, 404, "com.microsoft:message-not-found"),
        ("update-disposition", {"disposition-status": "odd", "lock-tokens": []}, 400, "com.microsoft:argument-error"),
        ("schedule-message", {"messages": [{"message": b"\xff"}]}, 400, "amqp:decode-error"),
        ("make-coffee", {}, 501, "amqp:not-implemented"),
    ],
)
def test_every_management_request_is_answered(operation, body, status, condition):
    client = Client().open()
    client.attach(8, SENDER, "q/$management")
    client.attach(9, RECEIVER, "q/$management")
    client.grant(9, 10)
    code, reply = request(client, 0, operation, body)
    assert (code, reply.application_properties.get("errorCondition")) == (status, condition)
    assert reply.properties["correlation_id"] == "id-0"


def test_answers_wait_for_credit():
    client = Client().open()
    client.attach(1, SENDER, "$cbs")
    client.attach(2, RECEIVER, "$cbs")
    put = section(0x73, ["id"]) + section(0x74, {"operation": "put-token", "name": "q"}) + section(VALUE, "t")
    assert [frame.code for frame in client.send(1, 0, put)] == [f.DISPOSITION]
    assert [frame.code for frame in client.grant(2, 1)] == [f.TRANSFER]


def test_a_client_that_says_close_gives_its_session_back_and_one_that_is_lost_does_not():
    for goodbye, free in ((True, True), (False, False)):
        client = Client().open()
        with_sessions = dataclasses.replace(client.broker.queue("q").settings, requires_session=True)
        sessions = client.broker.create_queue("s", with_sessions).sessions
        client.attach(0, RECEIVER, "s", {Symbol("com.microsoft:session-filter"): "n1"})
        assert sessions.locked_until("n1")
        if goodbye:
            client.say(f.CLOSE, [])
        else:
            client.connection.lost()
        assert (sessions._sessions.get("n1") is None) is free


def test_frames_for_a_session_that_has_ended_are_ignored():
    client = Client().open()
    client.attach(0, SENDER, "q")
    assert [frame.code for frame in client.say(f.END, [])] == [f.END]
    assert client.send(0, 0, section(DATA, b"x")) == []
    assert not client.ended


@table(
    ("code", "fields"),
    [
        (f.ATTACH, ["x", "handle"]),
        (f.ATTACH, ["x", UInt(300), True]),
        (f.ATTACH, ["x", UInt(1), True, None, None, "source"]),
        (f.TRANSFER, []),
        (f.FLOW, [None, -5]),
        (f.DISPOSITION, [True]),
        (f.BEGIN, [None, UInt(0), UInt(1)]),
        (0x99, []),
    ],
)
def test_a_frame_with_wrong_fields_closes_the_connection_with_an_error(code, fields):
    client = Client().open()
    (close,) = client.say(code, fields)
    assert (close.code, client.ended) == (f.CLOSE, True)
    assert close.fields[0].value[0].startswith("amqp:")
