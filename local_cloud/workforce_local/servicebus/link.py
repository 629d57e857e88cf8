"""Links: the one-way streets on which messages come and go.

A link keeps count of its credit and knows what to do with a message; the session carries its frames. Invariant: the
server never sends a message for which it has no credit, and every delivery that is not settled beforehand is answered.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Protocol

from typing_extensions import override

from workforce_local.servicebus.errors import SIZE_EXCEEDED, AmqpError, EntityError
from workforce_local.servicebus.message import Message, parse, unbatch
from workforce_local.servicebus.performatives import SETTLED, Attach, Flow, Transfer
from workforce_local.servicebus.queue import Queue
from workforce_local.servicebus.sessions import SessionRequest
from workforce_local.servicebus.stored import StoredMessage
from workforce_local.servicebus.topic import Topic

MAX_MESSAGE_SIZE = 262144
"""Largest message, or batch, in bytes: that of the standard tier."""

SENDER_CREDIT = 1000
_COUNTER = 0xFFFFFFFF


class Carrier(Protocol):
    """What a link needs of its session."""

    def transfer(self, link: OutgoingLink, payload: bytes, tag: bytes, *, settled: bool) -> None:
        """Send a message."""

    def settled(self, delivery_id: int, error: AmqpError | None) -> None:
        """Tell the client what became of a delivery of its: accepted, or rejected with an error."""

    def send_flow(self, link: Link | None, *, drained: bool = False) -> None:
        """Tell the client how link and session stand."""

    def detach(self, link: Link, error: AmqpError | None) -> None:
        """End a link."""

    def responder(self, address: str) -> ResponseLink | None:
        """The link on which the client waits for answers of a node."""

    def carry_out(self, entity: str, send: Callable[[], None]) -> None:
        """Let a send to an entity happen.

        Raises:
            AmqpError: It is refused.
        """


class Link:
    """A link of either direction.

    Attributes:
        attached: The client was told that the link stands.
        credit: How many messages its sender may send.
        delivery_count: How many it has sent.
        used: When something happened on it last, on the monotonic clock.
    """

    def __init__(self, carrier: Carrier, attach: Attach, address: str) -> None:
        self.name = attach.name
        self.handle = attach.handle
        self.client_receives = attach.client_receives
        self.address = address
        self.attached = False
        self.credit = 0
        self.delivery_count = 0
        self.used = time.monotonic()
        self._carrier = carrier

    def opened(self) -> None:
        """The client was told that the link stands."""
        self.attached = True

    def closed(self, *, orderly: bool) -> None:
        """The link has gone: detached by the client, or lost."""

    def touch(self) -> None:
        """Something happened on the link."""
        self.used = time.monotonic()


class IncomingLink(Link):
    """A link on which the client sends."""

    def __init__(self, carrier: Carrier, attach: Attach, address: str) -> None:
        super().__init__(carrier, attach, address)
        self._partial = bytearray()
        self._first: Transfer | None = None

    @override
    def opened(self) -> None:
        super().opened()
        self._grant()

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """Take a message or a piece of one."""
        self.touch()
        self._first = self._first or transfer
        if len(self._partial) <= MAX_MESSAGE_SIZE:  # What is too large already is not kept.
            self._partial += payload
        if transfer.aborted:
            self._reset()
        elif not transfer.more:
            self._complete()

    def receive(self, payload: bytes, message_format: int) -> None:
        """Do with a whole message what the link is for.

        Raises:
            AmqpError: The message is refused.
        """

    def _complete(self) -> None:
        first, payload = self._reset()
        self.credit -= 1
        self.delivery_count += 1
        error: AmqpError | None = None
        try:
            _check_size(payload)
            self.receive(payload, first.message_format if first else 0)
        except AmqpError as refused:
            error = refused
        if first is not None and not first.settled and first.delivery_id is not None:
            self._carrier.settled(first.delivery_id, error)
        if self.credit < SENDER_CREDIT // 2:
            self._grant()

    def _reset(self) -> tuple[Transfer | None, bytes]:
        first, payload = self._first, bytes(self._partial)
        self._first, self._partial = None, bytearray()
        return first, payload

    def _grant(self) -> None:
        self.credit = SENDER_CREDIT
        self._carrier.send_flow(self)


class PublishLink(IncomingLink):
    """A link on which messages come into an entity."""

    def __init__(self, carrier: Carrier, attach: Attach, address: str, entity: Queue | Topic) -> None:
        super().__init__(carrier, attach, address)
        self.entity = entity

    @override
    def receive(self, payload: bytes, message_format: int) -> None:
        def send() -> None:
            for message in unbatch(payload, message_format):
                self.entity.submit(message)

        self._carrier.carry_out(self.address, send)


class RequestLink(IncomingLink):
    """A link on which requests to a node (`$cbs`, `$management`) come in."""

    def __init__(self, carrier: Carrier, attach: Attach, address: str, answer: Callable[[Message], bytes]) -> None:
        super().__init__(carrier, attach, address)
        self._answer = answer

    @override
    def receive(self, payload: bytes, message_format: int) -> None:
        responder = self._carrier.responder(self.address)
        if responder is None:
            raise EntityError("amqp:precondition-failed", f"Attach a receiver to '{self.address}' for the answers.")
        responder.respond(self._answer(parse(payload)))


class OutgoingLink(Link):
    """A link on which the client receives."""

    def on_flow(self, flow: Flow) -> None:
        """Take the client's credit."""
        self.touch()
        # What the client grants counts from what it has seen; what is on its way to it is used up already.
        self.credit = max(0, _signed((flow.delivery_count + flow.credit - self.delivery_count) & _COUNTER))
        self.granted()
        if flow.drain:
            self.delivery_count = (self.delivery_count + self.credit) & _COUNTER
            self.credit = 0
            self._carrier.send_flow(self, drained=True)
        elif flow.echo:
            self._carrier.send_flow(self)

    def granted(self) -> None:
        """Send what there is to send."""

    def _send(self, payload: bytes, tag: bytes, *, settled: bool) -> None:
        self.touch()
        self.delivery_count = (self.delivery_count + 1) & _COUNTER
        self._carrier.transfer(self, payload, tag, settled=settled)


class ResponseLink(OutgoingLink):
    """A link on which a client waits for the answers of a node."""

    def __init__(self, carrier: Carrier, attach: Attach, address: str) -> None:
        super().__init__(carrier, attach, address)
        self._backlog: deque[bytes] = deque()

    def respond(self, payload: bytes) -> None:
        """Send an answer as soon as there is credit."""
        self._backlog.append(payload)
        self.granted()

    @override
    def granted(self) -> None:
        while self._backlog and self.credit > 0:
            self.credit -= 1
            self._send(self._backlog.popleft(), uuid.uuid4().bytes, settled=True)


class DeliveryLink(OutgoingLink):
    """A link on which an entity delivers its messages; the entity's view of it is `stored.Consumer`."""

    def __init__(self, carrier: Carrier, attach: Attach, address: str, queue: Queue) -> None:
        super().__init__(carrier, attach, address)
        self.queue = queue
        self.settles_on_send = attach.sender_settle_mode == SETTLED
        self.session_request: SessionRequest | None = None
        queue.add_consumer(self)

    @override
    def granted(self) -> None:
        if self.attached:
            self.queue.granted(self)

    @override
    def closed(self, *, orderly: bool) -> None:
        if self.session_request is not None and self.queue.sessions is not None:
            self.queue.sessions.withdraw(self.session_request)
        self.credit = 0
        self.queue.remove_consumer(self, orderly=orderly)

    def deliver(self, message: StoredMessage, tag: bytes) -> None:
        """Send a message; the tag is the lock token."""
        self._send(message.encode(), tag, settled=self.settles_on_send)

    def force_detach(self, error: EntityError) -> None:
        """End the link: the entity does not serve it any more."""
        self._carrier.detach(self, error)


def _check_size(payload: bytes) -> None:
    if len(payload) > MAX_MESSAGE_SIZE:
        raise EntityError(SIZE_EXCEEDED, f"The message exceeds the limit of {MAX_MESSAGE_SIZE} bytes of the link.")


def _signed(number: int) -> int:
    return number - (_COUNTER + 1) if number > _COUNTER // 2 else number
