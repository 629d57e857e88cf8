"""Frames: how a stream of bytes is cut into performatives, and how performatives become bytes. Pure.

Invariant: a frame larger than what we announced is refused by its size field alone, before its body is waited for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from workforce_local.servicebus.amqp_types import Described
from workforce_local.servicebus.decoding import decode
from workforce_local.servicebus.encoding import encode
from workforce_local.servicebus.errors import DecodeError, framing_error

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_MECHANISMS, SASL_INIT, SASL_OUTCOME = 0x40, 0x41, 0x44

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
HEARTBEAT = b"\x00\x00\x00\x08\x02\x00\x00\x00"
MAX_FRAME_SIZE = 262144
"""Largest frame that we take, as the service announces it."""

_AMQP_FRAME, _SASL_FRAME = 0, 1
_FIELD_COUNTS = {
    OPEN: 10,
    BEGIN: 8,
    ATTACH: 14,
    FLOW: 11,
    TRANSFER: 11,
    DISPOSITION: 6,
    DETACH: 3,
    END: 1,
    CLOSE: 1,
}
_HEAD = struct.Struct(">IBBH")


@dataclass(frozen=True)
class Frame:
    """One frame: a performative and, of a transfer, a piece of a message."""

    sasl: bool
    channel: int
    code: int
    fields: list[Any]
    payload: bytes = b""


class FrameReader:
    """Cuts a stream into protocol headers (bytes), frames, and heartbeats (None)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes | Frame | None]:
        """Take more of the stream and give out what is complete.

        Raises:
            DecodeError: The stream is not AMQP; nothing after this point can be understood.
        """
        self._buffer += data
        while (piece := self._cut()) is not None:
            if piece[:4] == b"AMQP":
                yield piece
            else:
                yield parse_frame(piece)

    def _cut(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < 8:
            return None
        # The letters AMQP, read as a size, are more than a gigabyte.
        size = 8 if buffer[:4] == b"AMQP" else int.from_bytes(buffer[:4], "big")
        if not 8 <= size <= MAX_FRAME_SIZE:
            raise framing_error(f"a frame must have 8 to {MAX_FRAME_SIZE} bytes, not {size}")
        if len(buffer) < size:
            return None
        piece = bytes(buffer[:size])
        del buffer[:size]
        return piece


def parse_frame(raw: bytes) -> Frame | None:
    """Read one whole frame; None for a heartbeat.

    Raises:
        DecodeError: It is not a frame of AMQP or SASL with a performative in it.
    """
    _, offset, kind, channel = _HEAD.unpack_from(raw)
    start = offset * 4
    if not 8 <= start <= len(raw) or kind not in (_AMQP_FRAME, _SASL_FRAME):
        raise framing_error(f"a frame has data offset {offset} and type {kind}")
    if start == len(raw):
        return None
    performative, end = decode(raw, start)
    if not isinstance(performative, Described) or not isinstance(performative.value, list):
        raise DecodeError("a frame's body must be a described list")
    if not isinstance(performative.descriptor, int):
        raise DecodeError(f"unknown performative {performative.descriptor!r}")
    return Frame(kind == _SASL_FRAME, channel, performative.descriptor, performative.value, raw[end:])


def frame(channel: int, code: int, fields: Sequence[Any], payload: bytes = b"", *, sasl: bool = False) -> bytes:
    """The bytes of a frame.

    Every field of the performative is written, nulls too: SDKs before 7.15 index into the list without padding it.
    """
    padding = [None] * (_FIELD_COUNTS.get(code, 0) - len(fields))
    body = bytes((0, 0x53, code)) + encode([*fields, *padding])
    kind = _SASL_FRAME if sasl else _AMQP_FRAME
    return _HEAD.pack(8 + len(body) + len(payload), 2, kind, channel) + body + payload
