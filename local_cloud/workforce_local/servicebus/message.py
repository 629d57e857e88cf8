"""An AMQP message as its sections. Pure.

The bare message stays as the raw bytes that its sender wrote; only header and annotations are written anew, so nothing
that we do not understand is lost on the way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workforce_local.servicebus.amqp_types import Described, UByte, UInt
from workforce_local.servicebus.decoding import decode
from workforce_local.servicebus.encoding import described_list, encode
from workforce_local.servicebus.errors import DecodeError
from workforce_local.servicebus.performatives import Fields

HEADER, DELIVERY_ANNOTATIONS, ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES = range(0x70, 0x75)
DATA, SEQUENCE, VALUE, FOOTER = range(0x75, 0x79)
BATCH_FORMAT = 0x80013700
"""Message format of a batch: each data section is one encoded message."""

FOREVER_MS = 0xFFFFFFFF
"""Largest time to live that the header can hold: clients that mean for ever write it, or leave the field out."""

_PROPERTY_NAMES = (
    "message_id",
    "user_id",
    "to",
    "subject",
    "reply_to",
    "correlation_id",
    "content_type",
    "content_encoding",
    "absolute_expiry_time",
    "creation_time",
    "session_id",
    "group_sequence",
    "reply_to_session_id",
)
_SCHEDULED = "x-opt-scheduled-enqueue-time"


@dataclass(frozen=True)
class Header:
    """Transport details that the service reads or rewrites."""

    durable: bool = False
    priority: int | None = None
    time_to_live_ms: int | None = None
    first_acquirer: bool = False

    def encode(self, delivery_count: int) -> bytes:
        """The section, with the service's own delivery count."""
        priority = None if self.priority is None else UByte(self.priority)
        ttl = None if self.time_to_live_ms is None else UInt(self.time_to_live_ms)
        return described_list(HEADER, [self.durable, priority, ttl, self.first_acquirer, UInt(delivery_count)])


@dataclass(frozen=True)
class Message:
    """A message as it was sent."""

    header: Header = Header()
    annotations: Mapping[Any, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    application_properties: Mapping[Any, Any] = field(default_factory=dict)
    data: tuple[bytes, ...] = ()
    value: Any = None
    properties_raw: bytes = b""
    application_properties_raw: bytes = b""
    body_raw: bytes = b""

    @property
    def message_id(self) -> Any:
        """The sender's id of the message, if it gave one."""
        return self.properties.get("message_id")

    @property
    def session_id(self) -> str | None:
        """The session that the message belongs to."""
        value = self.properties.get("session_id")
        return None if value is None else str(value)

    @property
    def time_to_live(self) -> float | None:
        """Seconds that the sender gives it; None for ever."""
        milliseconds = self.header.time_to_live_ms
        return None if milliseconds is None or milliseconds >= FOREVER_MS else milliseconds / 1000

    @property
    def scheduled_for(self) -> float | None:
        """When the message is to appear, in seconds since the epoch."""
        value = self.annotations.get(_SCHEDULED)
        return value / 1000 if isinstance(value, int) else None

    def encode(self, *, delivery_count: int, annotations: Mapping[Any, Any], added: Mapping[Any, Any]) -> bytes:
        """The message as it is delivered.

        Args:
            delivery_count: How often its delivery failed.
            annotations: The service's own, beside the sender's.
            added: Application properties that came since it was sent.
        """
        application = self.application_properties_raw
        if added:
            application = section(APPLICATION_PROPERTIES, {**self.application_properties, **added})
        return b"".join(
            (
                self.header.encode(delivery_count),
                section(ANNOTATIONS, {**self.annotations, **annotations}),
                self.properties_raw,
                application,
                self.body_raw,
            )
        )


def section(code: int, value: Any) -> bytes:
    """One section."""
    return bytes((0, 0x53, code)) + encode(value)


def parse(raw: bytes) -> Message:
    """Read an encoded message.

    Raises:
        DecodeError: It is not one.
    """
    found: dict[str, Any] = {}
    data: list[bytes] = []
    body = bytearray()
    position = 0
    while position < len(raw):
        start = position
        value, position = decode(raw, start)
        code = _section_code(value)
        if code in (DATA, SEQUENCE, VALUE, FOOTER):
            body += raw[start:position]
            if code == DATA:
                data.append(_typed(value.value, bytes, "a data section"))
            elif code == VALUE:
                found["value"] = value.value
        else:
            found |= _metadata(code, value.value, raw[start:position])
    return dataclasses.replace(Message(), **found, data=tuple(data), body_raw=bytes(body))


def _section_code(value: Any) -> int:
    if not isinstance(value, Described) or not isinstance(value.descriptor, int):
        raise DecodeError("a message must consist of described sections")
    if not HEADER <= value.descriptor <= FOOTER:
        raise DecodeError(f"0x{value.descriptor:x} is no section of a message")
    return int(value.descriptor)


def _metadata(code: int, value: Any, raw: bytes) -> dict[str, Any]:
    if code == HEADER:
        return {"header": _header(Fields(value, "header"))}
    if code == PROPERTIES:
        values = _typed(value, list, "properties")
        named = {name: item for name, item in zip(_PROPERTY_NAMES, values, strict=False) if item is not None}
        return {"properties": named, "properties_raw": raw}
    if code == ANNOTATIONS:
        return {"annotations": _typed(value, dict, "message annotations")}
    if code == APPLICATION_PROPERTIES:
        values = _typed(value, dict, "application properties")
        return {"application_properties": values, "application_properties_raw": raw}
    return {}


def _header(fields: Fields) -> Header:
    priority, ttl = fields.optional_integer(1), fields.optional_integer(2)
    if (priority or 0) > 0xFF or (ttl or 0) > 0xFFFFFFFF:
        raise DecodeError("priority or time to live in the header is too large")
    return Header(fields.flag(0), priority, ttl, fields.flag(3))


def _typed(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise DecodeError(f"{what} must be of type {kind.__name__}, not {type(value).__name__}")
    return value


def unbatch(raw: bytes, message_format: int) -> list[Message]:
    """The messages of a delivery: one, or those of a batch.

    Raises:
        DecodeError: One of them cannot be read; then none is to be stored.
    """
    message = parse(raw)
    if message_format != BATCH_FORMAT:
        return [message]
    return [parse(one) for one in message.data]


def reply(correlation_id: Any, application_properties: Mapping[str, Any], value: Any) -> bytes:
    """The encoded answer to a request that came as a message."""
    return (
        described_list(PROPERTIES, [None, None, None, None, None, correlation_id])
        + section(APPLICATION_PROPERTIES, dict(application_properties))
        + section(VALUE, value)
    )
