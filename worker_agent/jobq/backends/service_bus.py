"""Azure Service Bus queue as a task queue, over AMQP: duplicate detection by key, native dead letters.

A retry with less retries left is another message: it is sent first, under a key that follows from the message it
replaces, and that one is completed after. A crash in between leaves both, and then the task runs once more; where the
queue detects duplicates, the second copy of the retry is dropped. Nothing here knows tasks.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusMessageState,
    ServiceBusReceivedMessage,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

from jobq.backends.port import Delivery, Peeked, QueueBackend, QueueSize
from jobq.backends.service_bus_admin import Administration
from jobq.backends.service_bus_holds import Hold, Holds
from jobq.backends.service_bus_links import ReceiveLink, SendLink
from jobq.backends.service_bus_text import from_native, to_native
from jobq.errors import JobQError, LockLost, MaybeStored, NotStored, QueueMissing, QueueRefused, QueueUnavailable

OPTIONS: dict[str, Any] = {"try_timeout": 10.0, "retry_total": 2, "retry_backoff_factor": 0.2}
"""For the client that receives."""
SENDING_OPTIONS: dict[str, Any] = {"try_timeout": 10.0, "retry_total": 0}
"""For the client that sends: a send whose answer was lost is not repeated blindly."""

FIRST_SECONDS = 0.5
"""How long to wait for a first message: a link that is open delivers in milliseconds what there is."""
NEXT_SECONDS = 0.1
ATTEMPTS_PROPERTY = "jobq-attempts"
KEY_PROPERTY = "jobq-key"

_KEY_LIMIT = 128
_CLEAR_PAGE = 200
_PEEK_PAGE = 250
_SEND_ATTEMPTS = 4
_NOW = timedelta(0)


class ServiceBusQueue:
    """A queue of a Service Bus namespace.

    Args:
        receiving: An open client made with `OPTIONS`; closed by whoever opened it.
        sending: An open client made with `SENDING_OPTIONS`; the same.
        host: Fully qualified host name of the namespace.
        name: Name of the queue.
        administration: Makes and counts queues, where the namespace lets us.
        dead_letters: Its dead-letter queue is meant.

    Attributes:
        holds: The messages that are ours.
    """

    page = 32
    longest: timedelta | None = timedelta(minutes=1)

    def __init__(
        self,
        receiving: ServiceBusClient,
        sending: ServiceBusClient,
        host: str,
        name: str,
        administration: Administration | None = None,
        *,
        dead_letters: bool = False,
    ) -> None:
        self._clients = (receiving, sending)
        self._host = host
        self._name = name
        self._administration = administration
        self._dead_letters = dead_letters
        self._failed: ServiceBusQueue | None = None
        self._receive = ReceiveLink(self.full_name, self._receiver())
        self._send = SendLink(self.full_name, lambda: sending.get_queue_sender(name))
        self.holds = Holds(self.full_name, self._renew_lock, self._abandon)

    @property
    def full_name(self) -> str:
        """See the port."""
        return f"{self._host}/{self._name}" + ("/$DeadLetterQueue" if self._dead_letters else "")

    @property
    def limit(self) -> int:
        """See the port: by the namespace's tier, once a link has told it."""
        return self._send.limit

    @property
    def failed(self) -> ServiceBusQueue:
        """See the port."""
        if self._failed is None:
            self._failed = ServiceBusQueue(
                *self._clients, self._host, self._name, self._administration, dead_letters=True
            )
        return self._failed

    async def close(self) -> None:
        """Close all links. Messages that are still ours are free when their locks end."""
        await self.holds.close()
        failed = [] if self._failed is None else [self._failed.close()]
        await asyncio.gather(self._receive.close(), self._send.close(), *failed)

    async def create(self) -> None:
        """See the port. Where we may not make queues, it is enough that it is there."""
        why_not = "there is no management endpoint"
        if self._administration is not None:
            refusal = await self._administration.create(self._name)
            if refusal is None:
                return
            why_not = refusal
        try:
            await self._receive.use(_nothing)
        except QueueRefused:
            await self._send.use(_nothing)  # who may only send need not be able to receive
        except QueueMissing as error:
            raise QueueMissing(
                f"{error}, and cannot be made from here ({why_not}): make it with duplicate detection, locks of 5 "
                "minutes and a maximum delivery count of 1000"
            ) from error

    async def send(self, body: str, *, key: str | None = None, delay: timedelta = _NOW) -> None:
        """See the port."""
        self._refuse_for_dead_letters("sent to")
        await self._send.check_size(body)
        await self._send.send(_message(body, key, delay))

    async def receive(self, count: int, visibility: timedelta) -> Sequence[Delivery]:
        """See the port. One message is asked for at a time: what is asked for and not waited for would be held."""
        found: list[Hold] = []
        try:
            while len(found) < min(max(count, 1), self.page):
                wait = NEXT_SECONDS if found else FIRST_SECONDS
                raw = await self._receive.use(_take_one(wait))
                if raw is None:
                    break
                found.append(self.holds.add(raw, visibility.total_seconds()))
        except JobQError:
            if not found:
                raise
        except asyncio.CancelledError:
            for hold in found:
                hold.until = 0.0
            raise
        return [self._delivery(hold) for hold in found]

    async def renew(self, delivery: Delivery, visibility: timedelta) -> Delivery:
        """See the port."""
        hold = self.holds.owned(delivery.message_id, delivery.receipt)
        await self.holds.extend(hold, visibility.total_seconds())
        return self._delivery(hold)

    async def renew_for(self, owner: QueueBackend, delivery: Delivery, visibility: timedelta) -> Delivery:
        """See the port. The service asks for the lock's token only, whichever link it came on."""
        assert isinstance(owner, ServiceBusQueue)  # it is of the same queue
        hold = owner.holds.owned(delivery.message_id, delivery.receipt)
        begun = self.holds.now()
        await self._renew_lock(hold.raw)
        hold.renewed, hold.until = begun, begun + visibility.total_seconds()
        return delivery

    async def complete(self, delivery: Delivery) -> None:
        """See the port."""
        try:
            hold = self.holds.owned(delivery.message_id, delivery.receipt)
        except LockLost as error:
            if error.gone:
                return
            raise
        await self._settle(hold, lambda receiver: receiver.complete_message(hold.raw), completed=True)

    async def release(self, delivery: Delivery, *, body: str | None = None, delay: timedelta = _NOW) -> None:
        """See the port."""
        hold = self.holds.owned(delivery.message_id, delivery.receipt)
        if body in (None, delivery.body) and not delay:
            await self._settle(hold, lambda receiver: receiver.abandon_message(hold.raw))
            return
        self._refuse_for_dead_letters("sent to")
        await self.holds.renew(hold)  # surely ours while the copy is sent
        await self._send_surely(_copy(hold.raw, delivery, delivery.body if body is None else body, delay))
        await self._settle(hold, lambda receiver: receiver.complete_message(hold.raw), completed=True)

    async def dead_letter(self, delivery: Delivery, body: str) -> None:
        """See the port: one step of the service, which keeps the body and has the reason beside it."""
        hold = self.holds.owned(delivery.message_id, delivery.receipt)
        self._refuse_for_dead_letters("given up again")
        reason, description = to_native(body)
        await self._settle(
            hold,
            lambda receiver: receiver.dead_letter_message(hold.raw, reason=reason, error_description=description),
            completed=True,
        )

    async def peek(self, count: int) -> Sequence[Peeked]:
        """See the port. Messages that somebody has cannot be told apart, and are shown, too."""
        found: list[Peeked] = []
        start, wanted = 1, min(max(count, 1), self.page)
        while len(found) < wanted and (page := await self._peek_page(start, _PEEK_PAGE if found else wanted)):
            found += [
                Peeked(self._text(raw), _attempts(raw) - 1, raw.enqueued_time_utc)
                for raw in page
                if raw.state is ServiceBusMessageState.ACTIVE
            ]
            start = (page[-1].sequence_number or 0) + 1
        return found[:wanted]

    async def size(self) -> QueueSize:
        """See the port. Messages that wait for a retry are known; those that somebody has are not told apart."""
        if self._administration is not None:
            counted = await self._administration.size(self._name, dead_letters=self._dead_letters)
            if counted is not None:
                return QueueSize(*counted)
        total = active = 0
        async for raw in self._walk():
            total += 1
            active += raw.state is ServiceBusMessageState.ACTIVE
        return QueueSize(total, None if active else 0)

    async def clear(self) -> None:
        """See the port. What somebody has stays until they settle it."""
        waiting = [raw async for raw in self._walk() if raw.state is ServiceBusMessageState.SCHEDULED]
        numbers = [raw.sequence_number for raw in waiting if raw.sequence_number is not None]
        if numbers:
            await self._send.use(lambda sender: sender.cancel_scheduled_messages(numbers))
        taking = ReceiveLink(self.full_name, self._receiver(receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE))
        try:
            while await taking.use(lambda link: link.receive_messages(_CLEAR_PAGE, max_wait_time=2 * FIRST_SECONDS)):
                pass
        finally:
            await taking.close()

    # Inside

    def _receiver(self, **options: Any) -> Callable[[], ServiceBusReceiver]:
        if self._dead_letters:
            options["sub_queue"] = ServiceBusSubQueue.DEAD_LETTER
        return lambda: self._clients[0].get_queue_receiver(self._name, prefetch_count=0, **options)

    async def _renew_lock(self, raw: ServiceBusReceivedMessage) -> None:
        await self._receive.use(lambda receiver: receiver.renew_message_lock(raw))

    async def _abandon(self, raw: ServiceBusReceivedMessage) -> None:
        await self._receive.use(lambda receiver: receiver.abandon_message(raw))

    async def _settle(self, hold: Hold, how: Callable[[ServiceBusReceiver], Any], *, completed: bool = False) -> None:
        try:
            await self._receive.use(how)
        except LockLost:
            self.holds.end(hold)
            raise
        self.holds.end(hold, completed=completed)

    async def _send_surely(self, message: ServiceBusMessage) -> None:
        """Repeated when its answer was lost, unlike a push: a second copy is better than running without end."""
        for _ in range(_SEND_ATTEMPTS):
            with suppress(MaybeStored):
                try:
                    return await self._send.send(message)
                except NotStored as error:
                    raise QueueUnavailable(str(error)) from error
        raise QueueUnavailable(f"{self.full_name} gave no clear answer in {_SEND_ATTEMPTS} attempts")

    async def _peek_page(self, start: int, count: int) -> list[ServiceBusReceivedMessage]:
        return await self._receive.use(
            lambda receiver: receiver.peek_messages(max_message_count=count, sequence_number=start)
        )

    async def _walk(self) -> Any:
        """Look at all messages, in whatever state."""
        start = 1
        while page := await self._peek_page(start, _PEEK_PAGE):
            for raw in page:
                yield raw
            start = (page[-1].sequence_number or 0) + 1

    def _refuse_for_dead_letters(self, what: str) -> None:
        if self._dead_letters:
            raise QueueRefused(f"{self.full_name} is a dead-letter queue and cannot be {what}")

    def _delivery(self, hold: Hold) -> Delivery:
        raw = hold.raw
        return Delivery(hold.id, hold.receipt, self._text(raw), _attempts(raw), raw.enqueued_time_utc)

    def _text(self, raw: ServiceBusReceivedMessage) -> str:
        text = _body(raw)
        if not self._dead_letters:
            return text
        return from_native(text, raw.dead_letter_reason, raw.dead_letter_error_description)


async def _nothing(_link: object) -> None:
    """Opening the link was all."""


def _take_one(wait: float) -> Callable[[ServiceBusReceiver], Any]:
    async def take(receiver: ServiceBusReceiver) -> ServiceBusReceivedMessage | None:
        messages = await receiver.receive_messages(max_message_count=1, max_wait_time=wait)
        return messages[0] if messages else None

    return take


def _message(body: str, key: str | None, delay: timedelta, **properties: str) -> ServiceBusMessage:
    message = ServiceBusMessage(body, application_properties=dict(properties.items()))
    if key is not None:
        message.message_id = key if len(key) <= _KEY_LIMIT else hashlib.sha256(key.encode()).hexdigest()
    if delay > _NOW:
        message.scheduled_enqueue_time_utc = datetime.now(UTC) + delay
    return message


def _copy(raw: ServiceBusReceivedMessage, delivery: Delivery, body: str, delay: timedelta) -> ServiceBusMessage:
    """What replaces a message. Its key is the same however often it is sent, and no other message's."""
    key = _property(raw, KEY_PROPERTY) or str(raw.message_id or "")
    properties = {ATTEMPTS_PROPERTY: str(delivery.attempts), KEY_PROPERTY: key}
    return _message(body, f"{key}/{raw.sequence_number}", delay, **properties)


def _attempts(raw: ServiceBusReceivedMessage) -> int:
    """Deliveries, this one included, also those of the messages that this one replaced."""
    before = _property(raw, ATTEMPTS_PROPERTY)
    return (raw.delivery_count or 0) + 1 + (int(before) if before.isdecimal() else 0)


def _property(raw: ServiceBusReceivedMessage, name: str) -> str:
    properties: dict[Any, Any] = raw.application_properties or {}
    value = properties.get(name.encode(), properties.get(name, b""))
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _body(raw: ServiceBusReceivedMessage) -> str:
    """The text, whatever kind of AMQP body it came in."""
    body = raw.body
    if isinstance(body, str | bytes):
        return body if isinstance(body, str) else body.decode(errors="replace")
    try:
        return b"".join(body).decode(errors="replace")
    except TypeError:
        return str(raw)
