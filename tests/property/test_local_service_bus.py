"""Whatever a client sends, the local Service Bus ends that client's connection at most."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.amqp_client import RECEIVER, SENDER, Client
from workforce_local.servicebus import framing as f
from workforce_local.servicebus.amqp_types import Described, UInt, ULong
from workforce_local.servicebus.message import DATA, section
from workforce_local.servicebus.performatives import ACCEPTED, outcome

junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-10, 10), st.integers(0, 300).map(UInt), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=12),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.builds(Described, st.integers(0x20, 0x78).map(ULong), inner),
    ),
    max_leaves=12,
)


frames_of_junk = st.tuples(st.integers(f.OPEN, f.CLOSE), st.lists(junk, max_size=14), st.binary(max_size=20))


@settings(max_examples=40)
@given(st.lists(frames_of_junk, max_size=6))
def test_whatever_frames_come_nothing_but_this_connection_ends(frames):
    client = Client().open()
    client.attach(0, SENDER, "q")
    client.attach(1, RECEIVER, "q")
    for code, fields, payload in frames:
        client.connection.feed(f.frame(0, code, fields, payload))
    client.connection.lost()
    other = Client().open()
    assert [frame.code for frame in other.attach(0, SENDER, "q")] == [f.ATTACH, f.FLOW]


@given(st.binary(max_size=300))
def test_whatever_bytes_come_nothing_but_this_connection_ends(data):
    client = Client().open()
    client.connection.feed(data)
    client.connection.lost()


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=4), st.integers(0, 8)), min_size=1, max_size=4))
def test_a_sound_stream_with_changed_bytes_ends_its_own_connection_at_most(changes):
    client = Client().open()
    client.attach(1, RECEIVER, "q")
    end = Described(ULong(0x29), ["q"])
    stream = bytearray(f.frame(0, f.ATTACH, ["link-0", UInt(0), SENDER, None, None, None, end]))
    stream += f.frame(0, f.TRANSFER, [UInt(0), UInt(0), b"tag"], section(0x74, {"n": 1}) + section(DATA, b"x"))
    stream += f.frame(0, f.DISPOSITION, [True, UInt(0), UInt(9), False, outcome(ACCEPTED)])
    for place, new, gone in changes:
        stream[place : place + gone] = new
    client.connection.feed(bytes(stream))
    client.connection.lost()
    assert [frame.code for frame in Client().open().attach(0, SENDER, "q")] == [f.ATTACH, f.FLOW]
