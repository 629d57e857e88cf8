"""What clients say, as typed values: each performative's fields, checked once, here. Pure.

Invariant: behind this module no field has a type that the protocol does not give it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from workforce_local.servicebus.amqp_types import Described, Symbol, ULong
from workforce_local.servicebus.errors import AmqpError, DecodeError

RECEIVED, ACCEPTED, REJECTED, RELEASED, MODIFIED = range(0x23, 0x28)
ERROR = 0x1D
SETTLED = 1
"""Sender settle mode of a link that does not wait for outcomes."""


class Fields:
    """Typed access to the fields of a performative, a section or a terminus. Fields at the end may be left out."""

    def __init__(self, values: Any, what: str) -> None:
        if not isinstance(values, list):
            raise DecodeError(f"{what} must be a list")
        self._values: Sequence[Any] = values
        self._what = what

    def value(self, index: int) -> Any:
        """The field as it is; None if it was left out."""
        return self._values[index] if index < len(self._values) else None

    def optional_integer(self, index: int) -> int | None:
        """A field that must be an unsigned integer if it is there."""
        value = self.value(index)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong(index, "an unsigned integer")
        return int(value)

    def integer(self, index: int, default: int | None = None) -> int:
        """An unsigned integer."""
        value = self.optional_integer(index)
        if value is None:
            value = default
        if value is None:
            raise self._wrong(index, "an unsigned integer")
        return value

    def flag(self, index: int) -> bool:
        """A boolean; a missing one is false."""
        value = self.value(index)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(index, "a boolean")
        return bool(value)

    def text(self, index: int) -> str:
        """A string; a missing one is empty."""
        value = self.value(index)
        if value is not None and not isinstance(value, str):
            raise self._wrong(index, "a string")
        return value or ""

    def mapping(self, index: int) -> dict[Any, Any]:
        """A map; a missing one is empty."""
        value = self.value(index)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(index, "a map")
        return value or {}

    def described(self, index: int) -> Described | None:
        """A described value."""
        value = self.value(index)
        if value is not None and not isinstance(value, Described):
            raise self._wrong(index, "a described value")
        return value

    def _wrong(self, index: int, wanted: str) -> DecodeError:
        return DecodeError(f"field {index} of {self._what} must be {wanted}, not {self.value(index)!r:.80}")


@dataclass(frozen=True)
class Open:
    """A client introduces itself."""

    container: str
    hostname: str
    max_frame_size: int

    @classmethod
    def of(cls, values: list[Any]) -> Self:
        """Read the performative."""
        fields = Fields(values, "open")
        return cls(fields.text(0), fields.text(1), fields.integer(2, 0xFFFFFFFF))


@dataclass(frozen=True)
class Begin:
    """A client starts a session."""

    next_outgoing: int
    incoming_window: int

    @classmethod
    def of(cls, values: list[Any]) -> Self:
        """Read the performative."""
        fields = Fields(values, "begin")
        return cls(fields.integer(1), fields.integer(2))


@dataclass(frozen=True)
class Attach:
    """A client opens a link."""

    name: str
    handle: int
    client_receives: bool
    sender_settle_mode: Any
    receiver_settle_mode: Any
    source: Described | None
    target: Described | None
    properties: Mapping[Any, Any]

    @classmethod
    def of(cls, values: list[Any]) -> Self:
        """Read the performative."""
        fields = Fields(values, "attach")
        return cls(
            fields.text(0),
            fields.integer(1),
            fields.flag(2),
            fields.value(3),
            fields.value(4),
            fields.described(5),
            fields.described(6),
            fields.mapping(13),
        )

    @property
    def address(self) -> str:
        """Address of the entity: the source of a link that receives, the target of one that sends."""
        terminus = self.source if self.client_receives else self.target
        return Fields(terminus.value, "terminus").text(0) if terminus is not None else ""

    @property
    def filters(self) -> Mapping[Any, Any]:
        """The source's filters."""
        return Fields(self.source.value, "source").mapping(7) if self.source is not None else {}


@dataclass(frozen=True)
class Flow:
    """A client grants credit, or asks how things stand."""

    next_incoming: int
    incoming_window: int
    handle: int | None
    delivery_count: int
    credit: int
    drain: bool
    echo: bool

    @classmethod
    def of(cls, values: list[Any]) -> Self:
        """Read the performative."""
        fields = Fields(values, "flow")
        return cls(
            fields.integer(0, 0),
            fields.integer(1),
            fields.optional_integer(4),
            fields.integer(5, 0),
            fields.integer(6, 0),
            fields.flag(8),
            fields.flag(9),
        )


@dataclass(frozen=True)
class Transfer:
    """A client sends a message, or a piece of one."""

    handle: int
    delivery_id: int | None
    message_format: int
    settled: bool
    more: bool
    aborted: bool

    @classmethod
    def of(cls, values: list[Any]) -> Self:
        """Read the performative."""
        fields = Fields(values, "transfer")
        return cls(
            fields.integer(0),
            fields.optional_integer(1),
            fields.integer(3, 0),
            fields.flag(4),
            fields.flag(5),
            fields.flag(9),
        )


@dataclass(frozen=True)
class Disposition:
    """A client says what became of deliveries."""

    client_receives: bool
    first: int
    last: int
    settled: bool
    state: Described | None

    @classmethod
    def of(cls, values: list[Any]) -> Self:
        """Read the performative."""
        fields = Fields(values, "disposition")
        first = fields.integer(1)
        return cls(fields.flag(0), first, fields.integer(2, first), fields.flag(3), fields.described(4))


def handle_of(values: list[Any]) -> int:
    """The handle of a detach."""
    return Fields(values, "detach").integer(0)


def outcome(code: int, fields: list[Any] | None = None) -> Described:
    """A delivery state."""
    return Described(ULong(code), fields or [])


def error_value(error: AmqpError) -> Described:
    """An error as it is written into a performative or an outcome."""
    return Described(ULong(ERROR), [Symbol(error.condition), str(error), None])
