"""One session of a connection: its links, its windows, and the deliveries whose outcome is awaited.

Invariants: no more transfers leave than the client's window allows; those above it leave in order when it opens.
Attaching is in `attaching`, what happens to messages in `link`.
"""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from workforce_local.servicebus import framing
from workforce_local.servicebus.amqp_types import Described, UInt, ULong, UShort
from workforce_local.servicebus.attaching import Attacher
from workforce_local.servicebus.broker import Broker
from workforce_local.servicebus.cbs import Claims
from workforce_local.servicebus.errors import AmqpError, DecodeError
from workforce_local.servicebus.link import (
    MAX_MESSAGE_SIZE,
    DeliveryLink,
    IncomingLink,
    Link,
    OutgoingLink,
    ResponseLink,
)
from workforce_local.servicebus.outcomes import confirmation, refusal, settlement_of
from workforce_local.servicebus.performatives import (
    ACCEPTED,
    Attach,
    Begin,
    Disposition,
    Flow,
    Transfer,
    error_value,
    handle_of,
    outcome,
)

_WINDOW = 5000
_HANDLE_MAX = 255
_TRANSFER_OVERHEAD = 64
_COUNTER = 0xFFFFFFFF


class Wire(Protocol):
    """What a session needs of its connection."""

    claims: Claims
    max_frame_size: int

    @property
    def broker(self) -> Broker:
        """The entities of the namespace that was opened."""

    def send(self, channel: int, code: int, fields: Sequence[Any]) -> None:
        """Send a performative."""

    def send_raw(self, frame: bytes) -> None:
        """Send a frame that is ready."""

    def carry_out(self, entity: str, send: Callable[[], None]) -> None:
        """Let a send to an entity happen, or refuse it."""


class Session:
    """The server's end of a session."""

    def __init__(self, wire: Wire, channel: int, begin: Begin) -> None:
        self._wire = wire
        self._channel = channel
        self._attacher = Attacher(self, wire.broker, wire.claims)
        self._next_incoming = begin.next_outgoing
        self._remote_window = begin.incoming_window
        self._window = _WINDOW
        self._next_outgoing = 0
        self._delivery_ids = itertools.count()
        self._held: deque[bytes] = deque()
        self._unsettled: dict[int, tuple[DeliveryLink, uuid.UUID]] = {}
        self.links: dict[int, Link] = {}
        fields = [UShort(channel), UInt(0), UInt(_WINDOW), UInt(_WINDOW), UInt(_HANDLE_MAX)]
        wire.send(channel, framing.BEGIN, fields)

    def on_frame(self, frame: framing.Frame) -> None:
        """Take a frame of this session.

        Raises:
            DecodeError: It is not what the protocol says.
        """
        match frame.code:
            case framing.ATTACH:
                self._on_attach(Attach.of(frame.fields))
            case framing.FLOW:
                self._on_flow(Flow.of(frame.fields))
            case framing.TRANSFER:
                self._on_transfer(Transfer.of(frame.fields), frame.payload)
            case framing.DISPOSITION:
                self._on_disposition(Disposition.of(frame.fields))
            case framing.DETACH:
                self._on_detach(handle_of(frame.fields))
            case _:
                raise DecodeError(f"performative 0x{frame.code:x} does not belong into a session")

    def close(self, *, orderly: bool) -> None:
        """The session has ended: by the client's word, or with its connection."""
        links = list(self.links.values())
        self.links.clear()
        self._unsettled.clear()
        for link in links:
            link.closed(orderly=orderly)

    # -- frames in

    def _on_attach(self, attach: Attach) -> None:
        if attach.handle > _HANDLE_MAX:
            raise DecodeError(f"handle {attach.handle} is above the maximum of {_HANDLE_MAX}")
        if attach.handle in self.links:
            raise DecodeError(f"handle {attach.handle} is in use", "amqp:session:handle-in-use")
        self._attacher.attach(attach)

    def _on_flow(self, flow: Flow) -> None:
        self._remote_window = (flow.next_incoming + flow.incoming_window - self._next_outgoing) & _COUNTER
        while self._held and self._remote_window > 0:
            self._send_transfer(self._held.popleft())
        link = self.links.get(flow.handle) if flow.handle is not None else None
        if isinstance(link, OutgoingLink):
            link.on_flow(flow)
        elif flow.echo:
            self.send_flow(link)

    def _on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        self._next_incoming = (self._next_incoming + 1) & _COUNTER
        self._window -= 1
        if self._window < _WINDOW // 2:
            self._window = _WINDOW
            self.send_flow(None)
        link = self.links.get(transfer.handle)
        if isinstance(link, IncomingLink) and link.attached:
            link.on_transfer(transfer, payload)

    def _on_disposition(self, disposition: Disposition) -> None:
        if not disposition.client_receives:
            return
        first, last = disposition.first, disposition.last
        ids = [first] if first == last else [one for one in self._unsettled if first <= one <= last]
        for delivery_id in ids:
            link, token = self._unsettled.pop(delivery_id, (None, None))
            if link is not None and token is not None:
                answer = self._settle(link, token, disposition.state)
                if not disposition.settled:
                    fields = [False, UInt(delivery_id), UInt(delivery_id), True, answer]
                    self._wire.send(self._channel, framing.DISPOSITION, fields)

    @staticmethod
    def _settle(link: DeliveryLink, token: uuid.UUID, state: Described | None) -> Described:
        link.touch()
        try:
            settlement = settlement_of(state)
            link.queue.settle(token, settlement)
        except AmqpError as error:
            return refusal(error)
        return confirmation(state, settlement)

    def _on_detach(self, handle: int) -> None:
        link = self._forget(handle, orderly=True)
        if link is not None:
            self._wire.send(self._channel, framing.DETACH, [UInt(handle), True])

    # -- what links need

    def open_link(self, link: Link, attach: Attach, source: Described | None, properties: Any = None) -> None:
        """Tell the client that a link stands."""
        fields = [link.name, UInt(link.handle), not attach.client_receives]
        fields += [attach.sender_settle_mode, attach.receiver_settle_mode, source, attach.target, None, None]
        fields += [UInt(0) if attach.client_receives else None, ULong(MAX_MESSAGE_SIZE), None, None, properties]
        self._wire.send(self._channel, framing.ATTACH, fields)
        link.opened()

    def detach(self, link: Link, error: AmqpError | None) -> None:
        """End a link. One that was not attached yet is attached without source and target, then ended: refused."""
        if self._forget(link.handle, orderly=False) is None:
            return
        if not link.attached:
            fields = [link.name, UInt(link.handle), not link.client_receives, *[None] * 6, UInt(0)]
            self._wire.send(self._channel, framing.ATTACH, fields)
        reason = error_value(error) if error is not None else None
        self._wire.send(self._channel, framing.DETACH, [UInt(link.handle), True, reason])

    def transfer(self, link: OutgoingLink, payload: bytes, tag: bytes, *, settled: bool) -> None:
        """Send a message, in as many frames as it needs."""
        delivery_id = next(self._delivery_ids) & _COUNTER
        if isinstance(link, DeliveryLink) and not settled:
            self._unsettled[delivery_id] = (link, uuid.UUID(bytes_le=tag))
        room = self._wire.max_frame_size - _TRANSFER_OVERHEAD
        for start in range(0, max(len(payload), 1), room):
            more = start + room < len(payload)
            first = [UInt(delivery_id), tag, UInt(0), settled] if start == 0 else [None] * 4
            fields = [UInt(link.handle), *first, more]
            piece = payload[start : start + room]
            frame = framing.frame(self._channel, framing.TRANSFER, fields, piece)
            if self._remote_window > 0 and not self._held:
                self._send_transfer(frame)
            else:
                self._held.append(frame)

    def settled(self, delivery_id: int, error: AmqpError | None) -> None:
        """Tell the client what became of a delivery of its."""
        state = outcome(ACCEPTED) if error is None else refusal(error)
        fields = [True, UInt(delivery_id), UInt(delivery_id), True, state]
        self._wire.send(self._channel, framing.DISPOSITION, fields)

    def send_flow(self, link: Link | None, *, drained: bool = False) -> None:
        """Tell the client how link and session stand."""
        fields: list[Any] = [UInt(self._next_incoming), UInt(self._window), UInt(self._next_outgoing), UInt(_WINDOW)]
        if link is not None:
            fields += [UInt(link.handle), UInt(link.delivery_count), UInt(link.credit), None, drained]
        self._wire.send(self._channel, framing.FLOW, fields)

    def responder(self, address: str) -> ResponseLink | None:
        """The link on which the client waits for answers of a node."""
        for link in self.links.values():
            if isinstance(link, ResponseLink) and link.address.lower() == address.lower():
                return link
        return None

    def carry_out(self, entity: str, send: Callable[[], None]) -> None:
        """Let a send to an entity happen, or refuse it."""
        self._wire.carry_out(entity, send)

    def _send_transfer(self, frame: bytes) -> None:
        self._remote_window -= 1
        self._next_outgoing = (self._next_outgoing + 1) & _COUNTER
        self._wire.send_raw(frame)

    def _forget(self, handle: int, *, orderly: bool) -> Link | None:
        link = self.links.pop(handle, None)
        if link is not None:
            self._unsettled = {key: entry for key, entry in self._unsettled.items() if entry[0] is not link}
            link.closed(orderly=orderly)
        return link
