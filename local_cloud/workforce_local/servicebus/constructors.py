"""The constructors of AMQP's primitive types, as tables that the encoder and the decoder share. Pure."""

from __future__ import annotations

import struct
from typing import Any

from workforce_local.servicebus.amqp_types import (
    Byte,
    Char,
    Float,
    Int,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)

FIXED: dict[int, tuple[struct.Struct, type]] = {
    0x56: (struct.Struct(">?"), bool),
    0x50: (struct.Struct(">B"), UByte),
    0x60: (struct.Struct(">H"), UShort),
    0x70: (struct.Struct(">I"), UInt),
    0x52: (struct.Struct(">B"), UInt),
    0x80: (struct.Struct(">Q"), ULong),
    0x53: (struct.Struct(">B"), ULong),
    0x51: (struct.Struct(">b"), Byte),
    0x61: (struct.Struct(">h"), Short),
    0x71: (struct.Struct(">i"), Int),
    0x54: (struct.Struct(">b"), Int),
    0x81: (struct.Struct(">q"), int),
    0x55: (struct.Struct(">b"), int),
    0x72: (struct.Struct(">f"), Float),
    0x82: (struct.Struct(">d"), float),
    0x73: (struct.Struct(">I"), Char),
    0x83: (struct.Struct(">q"), Timestamp),
}
"""Values of a fixed width."""

EMPTY: dict[int, Any] = {
    0x40: None,
    0x41: True,
    0x42: False,
    0x43: UInt(0),
    0x44: ULong(0),
}
"""Values that are their constructor."""

VARIABLE: dict[int, type] = {0xA0: bytes, 0xA1: str, 0xA3: Symbol}
"""Values with a length of one byte before them; with a length of four bytes the constructor is 0x10 higher."""

OPAQUE: dict[int, int] = {0x74: 4, 0x84: 8, 0x94: 16}
"""Decimals, and how long they are."""

UUID_CODE = 0x98
EMPTY_LIST = 0x45
LIST, LIST_WIDE = 0xC0, 0xD0
MAP, MAP_WIDE = 0xC1, 0xD1
ARRAY, ARRAY_WIDE = 0xE0, 0xF0
DESCRIBED = 0x00
WIDE = 0x10
"""What is added to a constructor for a length of four bytes."""
