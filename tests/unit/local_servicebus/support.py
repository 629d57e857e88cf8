"""A clock, a receiver and messages for tests without a network."""

from __future__ import annotations

import uuid

from workforce_local.servicebus.amqp_types import Symbol, Timestamp, UInt
from workforce_local.servicebus.broker import Broker
from workforce_local.servicebus.encoding import described_list
from workforce_local.servicebus.errors import EntityError
from workforce_local.servicebus.message import ANNOTATIONS, DATA, HEADER, Message, parse, section
from workforce_local.servicebus.queue import Queue
from workforce_local.servicebus.stored import Action, Settlement, StoredMessage


class FakeTime:
    """A broker's clock, that only tests move."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.broker = Broker(lambda: self.now)

    def pass_by(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.broker.run_due()) is not None and due <= end:
            self.now = due
        self.now = end
        self.broker.run_due()


class FakeConsumer:
    """A receiver that remembers what it got."""

    def __init__(self, queue: Queue, credit: int = 0, *, settles_on_send: bool = False) -> None:
        self.queue = queue
        self.credit = 0
        self.settles_on_send = settles_on_send
        self.messages: list[StoredMessage] = []
        self.tokens: list[uuid.UUID] = []
        self.detached: EntityError | None = None
        queue.add_consumer(self)
        if credit:
            self.grant(credit)

    def grant(self, credit: int = 1) -> None:
        self.credit += credit
        self.queue.granted(self)

    def deliver(self, message: StoredMessage, tag: bytes) -> None:
        self.messages.append(message)
        self.tokens.append(uuid.UUID(bytes_le=tag))

    def force_detach(self, error: EntityError) -> None:
        self.detached = error

    def settle(self, action: Action, index: int = -1, **details: str) -> None:
        self.queue.settle(self.tokens[index], Settlement(action, **details))

    @property
    def bodies(self) -> list[str]:
        return [message.message.data[0].decode() for message in self.messages]


def message(
    body: str = "hello",
    *,
    ttl: float | None = None,
    session: str | None = None,
    message_id: str | None = None,
    at: float | None = None,
    subject: str | None = None,
    properties: dict | None = None,
) -> Message:
    """A message as a client would send it."""
    raw = b""
    if ttl is not None:
        raw += described_list(HEADER, [None, None, UInt(int(ttl * 1000))])
    if at is not None:
        raw += section(ANNOTATIONS, {Symbol("x-opt-scheduled-enqueue-time"): Timestamp(int(at * 1000))})
    raw += described_list(0x73, [message_id, None, None, subject, None, None, None, None, None, None, session])
    if properties:
        raw += section(0x74, properties)
    return parse(raw + section(DATA, body.encode()))
