"""AMQP values, frames and messages: what is written can be read, and what cannot be read is refused."""

from __future__ import annotations

import uuid

import pytest

from tests.support.tables import table
from workforce_local.servicebus import amqp_types as t
from workforce_local.servicebus import framing
from workforce_local.servicebus.decoding import MAX_DEPTH, decode
from workforce_local.servicebus.encoding import described_list, encode
from workforce_local.servicebus.errors import DecodeError
from workforce_local.servicebus.message import DATA, HEADER, parse, section, unbatch


def test_short_and_long_forms_of_the_same_value_are_read_alike():
    assert decode(b"\x70\x00\x00\x00\x05") == (t.UInt(5), 5)
    assert decode(b"\x52\x05") == (t.UInt(5), 2)
    assert decode(b"\xb1\x00\x00\x00\x02hi") == ("hi", 7)
    assert decode(b"\x45") == ([], 1)


@pytest.mark.parametrize("raw", [b"\xe0\x04\x01\xc0\x01\x00", b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x41"])
def test_an_array_of_lists_or_of_nothing_is_carried_unread(raw):
    value, end = decode(raw)
    assert (type(value), end) == (t.Opaque, len(raw))
    assert encode(value) == raw


@table(
    "data",
    [
        b"\xd0\x00\x00\x00\x08\xff\xff\xff\xff",  # more elements than bytes
        b"\xf0\x00\x00\x00\x06\xff\xff\xff\xff\x50\x01",  # the same of an array
        b"\xb0\xff\xff\xff\xff",  # longer than the data
        b"\xc1\x03\x02\x45\x40",  # a list as a key
        b"\xc1\x02\x01\x40",  # a key without a value
        b"\xa1\x02\xff\xfe",  # not UTF-8
        b"\x01",  # no such constructor
        b"\xc0\x01\x01" * (MAX_DEPTH + 2) + b"\x40",  # nested too deeply
        b"",
    ],
)
def test_malformed_values_are_refused(data):
    with pytest.raises(DecodeError):
        decode(data)


def test_a_type_that_amqp_does_not_have_is_a_mistake_of_ours():
    with pytest.raises(TypeError, match="set"):
        encode({"a": {1}})


def test_a_stream_is_cut_into_frames_wherever_it_is_split():
    stream = framing.AMQP_HEADER + framing.frame(3, framing.END, []) + framing.HEARTBEAT
    reader = framing.FrameReader()
    items = [item for byte in stream for item in reader.feed(bytes([byte]))]
    end = framing.Frame(sasl=False, channel=3, code=framing.END, fields=[None])
    assert items == [framing.AMQP_HEADER, end, None]


def test_an_oversized_frame_is_refused_by_its_size_alone():
    with pytest.raises(DecodeError, match="8 to 262144 bytes"):
        list(framing.FrameReader().feed((300_000).to_bytes(4, "big") + b"\x02\x00\x00\x00"))


def test_a_message_keeps_the_bytes_that_are_not_the_service_s():
    properties = section(0x73, ["id-1", None, None, "drain", None, None, None, None, None, None, "node-1"])
    application = section(0x74, {"job": "j1"})
    body = section(DATA, b"hello")
    footer = section(0x78, {t.Symbol("x"): 1})
    message = parse(described_list(HEADER, [True, None, t.UInt(5000)]) + properties + application + body + footer)
    assert (message.message_id, message.session_id, message.time_to_live) == ("id-1", "node-1", 5.0)
    sent = message.encode(delivery_count=2, annotations={t.Symbol("x-opt-sequence-number"): 7}, added={})
    assert sent.endswith(properties + application + body + footer)
    again = parse(sent)
    assert again.annotations == {"x-opt-sequence-number": 7}
    assert (again.header.durable, again.header.time_to_live_ms) == (True, 5000)


def test_added_properties_come_beside_the_sender_s():
    message = parse(section(0x74, {"job": "j1"}) + section(DATA, b"x"))
    again = parse(message.encode(delivery_count=0, annotations={}, added={"DeadLetterReason": "Poison"}))
    assert again.application_properties == {"job": "j1", "DeadLetterReason": "Poison"}


def test_the_largest_time_to_live_means_for_ever():
    assert parse(described_list(HEADER, [None, None, t.UInt(0xFFFFFFFF)])).time_to_live is None


def test_a_batch_is_several_messages_and_a_broken_one_is_refused_as_a_whole():
    one = section(DATA, b"1")
    batch = section(DATA, one) + section(DATA, one)
    assert len(unbatch(batch, 0x80013700)) == 2
    assert len(unbatch(batch, 0)) == 1
    with pytest.raises(DecodeError):
        unbatch(batch + section(DATA, b"\xff"), 0x80013700)


@table(
    "raw",
    [
        encode("no section"),
        section(0x79, None),
        section(0x75, "text"),
        section(0x73, {}),
        section(0x74, []),
        section(0x70, "x"),
        described_list(0x70, [None, t.UInt(256)]),
        described_list(0x70, ["yes"]),
    ],
)
def test_malformed_messages_are_refused(raw):
    with pytest.raises(DecodeError):
        parse(raw)


def test_uuids_are_their_sixteen_bytes():
    token = uuid.uuid4()
    assert encode(token) == b"\x98" + token.bytes
