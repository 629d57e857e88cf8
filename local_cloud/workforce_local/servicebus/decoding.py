"""AMQP decoding: from bytes to values. Pure.

Input is whatever a client sent. Invariant: any bytes give a value or a `DecodeError`, in time and memory proportional
to their number: counts are checked against what is there, and nesting is bounded.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any

from workforce_local.servicebus import constructors as c
from workforce_local.servicebus.amqp_types import Array, Described, Opaque, Symbol
from workforce_local.servicebus.errors import DecodeError

MAX_DEPTH = 32
"""Deepest nesting of lists, maps and described values that is read."""

_Reader = Callable[[bytes, int, int], tuple[Any, int]]


def decode(data: bytes, position: int = 0) -> tuple[Any, int]:
    """Read one value; return it with the position after it.

    Raises:
        DecodeError: There is no whole, well-formed value at the position.
    """
    try:
        return _read(data, position, 0)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise DecodeError(f"not an AMQP value at byte {position}: {error}") from error


def _read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
    reader = _READERS.get(data[position])
    if reader is None:
        raise DecodeError(f"unknown AMQP constructor 0x{data[position]:02x} at byte {position}")
    if depth > MAX_DEPTH:
        raise DecodeError(f"AMQP values are nested deeper than {MAX_DEPTH}")
    return reader(data, position + 1, depth)


def _take(data: bytes, position: int, size: int) -> tuple[bytes, int]:
    end = position + size
    if end > len(data):
        raise DecodeError(f"the value at byte {position} should have {size} bytes but the data ends before")
    return data[position:end], end


def _fixed(code: int) -> _Reader:
    layout, kind = c.FIXED[code]

    def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
        return kind(layout.unpack_from(data, position)[0]), position + layout.size

    return read


def _constant(value: Any) -> _Reader:
    return lambda data, position, depth: (value, position)


def _variable(code: int, width: int) -> _Reader:
    kind = c.VARIABLE[code]

    def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
        head, position = _take(data, position, width)
        raw, position = _take(data, position, int.from_bytes(head, "big"))
        if kind is bytes:
            return raw, position
        text = raw.decode()
        return (Symbol(text) if kind is Symbol else text), position

    return read


def _opaque(code: int, size: int) -> _Reader:
    def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
        raw, position = _take(data, position, size)
        return Opaque(code, raw), position

    return read


def _uuid(data: bytes, position: int, depth: int) -> tuple[Any, int]:
    raw, position = _take(data, position, 16)
    return uuid.UUID(bytes=raw), position


def _described(data: bytes, position: int, depth: int) -> tuple[Any, int]:
    descriptor, position = _read(data, position, depth + 1)
    value, position = _read(data, position, depth + 1)
    return Described(descriptor, value), position


def _head(data: bytes, position: int, width: int) -> tuple[int, int, int]:
    """Count, position of the first element, and end of a list, map or array."""
    size, count = struct.unpack_from(">BB" if width == 1 else ">II", data, position)
    end = position + width + size
    if end > len(data):
        raise DecodeError(f"the list, map or array at byte {position} is longer than the data")
    return count, position + 2 * width, end


def _items(data: bytes, position: int, end: int, count: int, depth: int) -> list[Any]:
    if count > end - position:  # Each element has a byte at least.
        raise DecodeError(f"the list or map before byte {end} claims {count} elements")
    items = []
    for _ in range(count):
        value, position = _read(data, position, depth + 1)
        items.append(value)
    if position > end:
        raise DecodeError(f"the elements before byte {position} are longer than their list or map")
    return items


def _list(width: int) -> _Reader:
    def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
        count, position, end = _head(data, position, width)
        return _items(data, position, end, count, depth), end

    return read


def _map(width: int) -> _Reader:
    def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
        count, position, end = _head(data, position, width)
        flat = _items(data, position, end, count, depth)
        if count % 2:
            raise DecodeError(f"the map before byte {end} has a key without a value")
        try:
            return dict(zip(flat[::2], flat[1::2], strict=True)), end
        except TypeError as error:
            raise DecodeError(f"the map before byte {end} has a list or a map as key") from error

    return read


def _array(width: int) -> _Reader:
    own_code = c.ARRAY if width == 1 else c.ARRAY_WIDE

    def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
        start = position
        count, position, end = _head(data, position, width)
        code = data[position]
        if code not in _ARRAY_ELEMENTS:
            # Arrays of compound, described or empty values occur nowhere in what we read; they are only carried.
            return Opaque(own_code, data[start:end]), end
        if count > end - position:
            raise DecodeError(f"the array before byte {end} claims {count} elements")
        items = Array(code=code)
        reader, position = _READERS[code], position + 1
        for _ in range(count):
            value, position = reader(data, position, depth + 1)
            items.append(value)
        if position != end:
            raise DecodeError(f"the elements of the array before byte {end} do not fill it")
        return items, end

    return read


_READERS: dict[int, _Reader] = {
    c.DESCRIBED: _described,
    c.UUID_CODE: _uuid,
    c.EMPTY_LIST: lambda data, position, depth: ([], position),
    c.LIST: _list(1),
    c.LIST_WIDE: _list(4),
    c.MAP: _map(1),
    c.MAP_WIDE: _map(4),
    c.ARRAY: _array(1),
    c.ARRAY_WIDE: _array(4),
    **{code: _fixed(code) for code in c.FIXED},
    **{code: _constant(value) for code, value in c.EMPTY.items()},
    **{code: _variable(code, 1) for code in c.VARIABLE},
    **{code + c.WIDE: _variable(code, 4) for code in c.VARIABLE},
    **{code: _opaque(code, size) for code, size in c.OPAQUE.items()},
}

_ARRAY_ELEMENTS = {
    c.UUID_CODE,
    *c.FIXED,
    *c.VARIABLE,
    *(code + c.WIDE for code in c.VARIABLE),
    *c.OPAQUE,
}
