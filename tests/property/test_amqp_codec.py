"""AMQP values: what is written can be read, and what cannot be read is refused."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from workforce_local.servicebus import amqp_types as t
from workforce_local.servicebus import framing
from workforce_local.servicebus.decoding import decode
from workforce_local.servicebus.encoding import encode
from workforce_local.servicebus.errors import DecodeError


def integers(kind: type, bits: int, *, signed: bool) -> st.SearchStrategy:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high).map(kind)


text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    integers(t.UByte, 8, signed=False),
    integers(t.UShort, 16, signed=False),
    integers(t.UInt, 32, signed=False),
    integers(t.ULong, 64, signed=False),
    integers(t.Byte, 8, signed=True),
    integers(t.Short, 16, signed=True),
    integers(t.Int, 32, signed=True),
    integers(int, 64, signed=True),
    integers(t.Timestamp, 64, signed=True),
    st.floats(allow_nan=False),
    st.floats(allow_nan=False, width=32).map(t.Float),
    st.binary(max_size=300),
    text,
    st.text("abcdefghijklmnopqrstuvwxyz:-.", max_size=300).map(t.Symbol),
    st.uuids(),
    st.sampled_from([t.Opaque(0x74, b"1234"), t.Opaque(0x94, bytes(16)), t.Char(0x1F600)]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(text, inner, max_size=5),
        st.builds(t.Described, integers(t.ULong, 64, signed=False), inner),
    ),
    max_leaves=20,
)
arrays = st.one_of(
    st.lists(integers(t.UInt, 32, signed=False)).map(lambda items: t.Array(items, code=0x70)),
    st.lists(text).map(lambda items: t.Array(items, code=0xA1)),
    st.lists(st.uuids()).map(lambda items: t.Array(items, code=0x98)),
    st.lists(st.booleans()).map(lambda items: t.Array(items, code=0x56)),
)


@given(values)
def test_every_value_is_read_as_it_was_written_with_its_type(value):
    encoded = encode(value)
    decoded, end = decode(encoded)
    assert end == len(encoded)
    assert decoded == value
    assert type(decoded) is type(value)
    assert encode(decoded) == encoded


@given(arrays)
def test_arrays_keep_their_elements(array):
    decoded, _ = decode(encode(array))
    assert list(decoded) == list(array)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_decode_error(data):
    with contextlib.suppress(DecodeError):
        decode(data)


@given(st.binary(max_size=120))
def test_any_stream_gives_frames_or_a_decode_error(data):
    with contextlib.suppress(DecodeError):
        list(framing.FrameReader().feed(len(data + b"1234").to_bytes(4, "big") + data))
