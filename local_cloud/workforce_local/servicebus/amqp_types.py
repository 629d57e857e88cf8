"""Python types for those AMQP types that Python's own would blur: widths of integers, symbols, described values.

Pure values. Invariant: a decoded value is encoded with the AMQP type that it came with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class Symbol(str):
    """A symbol: a name out of a protocol, equal to the string of its text."""

    __slots__ = ()


class UByte(int):
    """An unsigned integer of 8 bits."""

    __slots__ = ()


class UShort(int):
    """An unsigned integer of 16 bits."""

    __slots__ = ()


class UInt(int):
    """An unsigned integer of 32 bits."""

    __slots__ = ()


class ULong(int):
    """An unsigned integer of 64 bits."""

    __slots__ = ()


class Byte(int):
    """A signed integer of 8 bits."""

    __slots__ = ()


class Short(int):
    """A signed integer of 16 bits."""

    __slots__ = ()


class Int(int):
    """A signed integer of 32 bits. Python's own `int` is AMQP's long, of 64 bits."""

    __slots__ = ()


class Char(int):
    """A code point."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since the epoch."""

    __slots__ = ()


class Float(float):
    """A floating point number of 32 bits. Python's own `float` is AMQP's double."""

    __slots__ = ()


@dataclass(frozen=True)
class Opaque:
    """A value that is carried and never looked into, such as a decimal: its constructor and its raw bytes."""

    code: int
    raw: bytes


@dataclass(frozen=True, eq=True)
class Described:
    """A value with a descriptor that says what it means."""

    descriptor: Any
    value: Any


class Array(list[Any]):
    """An array: values of one constructor.

    Attributes:
        code: The constructor of the elements.
    """

    def __init__(self, items: Iterable[Any] = (), *, code: int) -> None:
        super().__init__(items)
        self.code = code
