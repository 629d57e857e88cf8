"""AMQP encoding: from values to bytes. Pure.

Invariant: the shortest constructor of a value's type is used, so that equal values give equal bytes.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workforce_local.servicebus import constructors as c
from workforce_local.servicebus.amqp_types import (
    Array,
    Byte,
    Char,
    Described,
    Float,
    Int,
    Opaque,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)

_SIZE_AND_COUNT = struct.Struct(">II")
_NARROW = 255


def encode(value: Any) -> bytes:
    """The bytes of one value.

    Raises:
        TypeError: AMQP has no such type.
    """
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise TypeError(f"AMQP has no type for {type(value).__name__}")
    return writer(value)


def described_list(code: int, fields: Sequence[Any]) -> bytes:
    """A section or a delivery state: a described list, without the nulls at its end."""
    count = len(fields)
    while count and fields[count - 1] is None:
        count -= 1
    return bytes((c.DESCRIBED, 0x53, code)) + encode(list(fields[:count]))


def _fixed(code: int) -> Callable[[Any], bytes]:
    pack, prefix = c.FIXED[code][0].pack, bytes((code,))
    return lambda value: prefix + pack(value)


def _small(zero: int | None, small: int, limits: range, wide: int) -> Callable[[Any], bytes]:
    """Integers that have shorter constructors for small values and, perhaps, for zero."""
    write_small, write_wide = _fixed(small), _fixed(wide)

    def write(value: int) -> bytes:
        if value == 0 and zero is not None:
            return bytes((zero,))
        return (write_small if value in limits else write_wide)(value)

    return write


def _raw(code: int, raw: bytes) -> bytes:
    if len(raw) <= _NARROW:
        return bytes((code, len(raw))) + raw
    return bytes((code + c.WIDE,)) + len(raw).to_bytes(4, "big") + raw


def _compound(code: int, body: bytes, count: int) -> bytes:
    if count <= _NARROW and len(body) < _NARROW:
        return bytes((code, len(body) + 1, count)) + body
    return bytes((code + c.WIDE,)) + _SIZE_AND_COUNT.pack(len(body) + 4, count) + body


def _list(value: Sequence[Any]) -> bytes:
    return _compound(c.LIST, b"".join(map(encode, value)), len(value)) if value else bytes((c.EMPTY_LIST,))


def _map(value: Mapping[Any, Any]) -> bytes:
    return _compound(c.MAP, b"".join(encode(key) + encode(item) for key, item in value.items()), 2 * len(value))


def _array(value: Array) -> bytes:
    code = value.code + c.WIDE if value.code in c.VARIABLE else value.code
    body = bytes((code,)) + b"".join(_element(code, item) for item in value)
    return bytes((c.ARRAY_WIDE,)) + _SIZE_AND_COUNT.pack(len(body) + 4, len(value)) + body


def _element(code: int, item: Any) -> bytes:
    """An array's element: its bytes without the constructor, which all of them share."""
    if code in c.FIXED:
        return c.FIXED[code][0].pack(item)
    if code == c.UUID_CODE:
        return bytes(item.bytes)
    if code in c.OPAQUE:
        return bytes(item.raw)
    raw: bytes = item if isinstance(item, bytes) else item.encode()
    return len(raw).to_bytes(4, "big") + raw


def _opaque(value: Opaque) -> bytes:
    return bytes((value.code,)) + value.raw


def _described(value: Described) -> bytes:
    return bytes((c.DESCRIBED,)) + encode(value.descriptor) + encode(value.value)


_WRITERS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"\x40",
    bool: lambda value: b"\x41" if value else b"\x42",
    UByte: _fixed(0x50),
    UShort: _fixed(0x60),
    UInt: _small(0x43, 0x52, range(256), 0x70),
    ULong: _small(0x44, 0x53, range(256), 0x80),
    Byte: _fixed(0x51),
    Short: _fixed(0x61),
    Int: _small(None, 0x54, range(-128, 128), 0x71),
    int: _small(None, 0x55, range(-128, 128), 0x81),
    Float: _fixed(0x72),
    float: _fixed(0x82),
    Char: _fixed(0x73),
    Timestamp: _fixed(0x83),
    uuid.UUID: lambda value: bytes((c.UUID_CODE,)) + bytes(value.bytes),
    bytes: lambda value: _raw(0xA0, value),
    str: lambda value: _raw(0xA1, value.encode()),
    Symbol: lambda value: _raw(0xA3, value.encode()),
    list: _list,
    dict: _map,
    Array: _array,
    Opaque: _opaque,
    Described: _described,
}
