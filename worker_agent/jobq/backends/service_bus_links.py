"""Links to one Service Bus entity: one at a time uses a link, and every fault becomes an error of `jobq.errors`.

The SDK's links are not safe for concurrent use, because whoever waits reads the frames of all. Sends that wait for
their turn go out together as one batch. This knows nothing of tasks and holds no message.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from azure.core.exceptions import AzureError
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusReceiver, ServiceBusSender
from azure.servicebus.exceptions import (
    MessageAlreadySettled,
    MessageLockLostError,
    MessageNotFoundError,
    MessageSizeExceededError,
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusError,
    ServiceBusQuotaExceededError,
    ServiceBusServerBusyError,
)

from jobq.errors import (
    JobQError,
    LockLost,
    MaybeStored,
    NotStored,
    QueueMissing,
    QueueRefused,
    QueueUnavailable,
    TaskTooLarge,
    first_line,
)

T = TypeVar("T")

FAULTS = (ServiceBusError, AzureError, OSError, ValueError, RuntimeError, AttributeError)
"""What the SDK raises for trouble outside this process; of a link that is lost while it is used it also lets errors of
its own internals through."""

STANDARD_LIMIT = 256 * 1024
OVERHEAD = 2 * 1024
"""Left for what goes with a text: ids, properties, the frame of a batch."""

_ATTEMPTS = 4
_BACKOFF_SECONDS = 0.5
_IDLE_SECONDS = 60.0
"""A send link unused for longer is replaced: the service may have closed it, and a send on it would end unknown."""
_BATCH = 500
_BATCH_LIMIT = 1024 * 1024 - OVERHEAD
"""Batches stay below this on every tier, also where one message may be larger."""

_LOST = (MessageLockLostError, MessageNotFoundError, MessageAlreadySettled)
_REFUSED = (ServiceBusAuthenticationError, ServiceBusAuthorizationError, MessagingEntityDisabledError)
_NOT_STORED = (*_REFUSED, MessagingEntityNotFoundError, ServiceBusQuotaExceededError)


def translated(error: BaseException, name: str) -> JobQError:
    """The error of the library for one of the SDK."""
    words = f"{name}: {first_line(error)}"
    if isinstance(error, _LOST):
        return LockLost(f"a message of {words}")
    if isinstance(error, MessagingEntityNotFoundError):
        return QueueMissing(f"queue {name} does not exist")
    return QueueRefused(words) if isinstance(error, _REFUSED) else QueueUnavailable(words)


class ReceiveLink:
    """A link that messages come in on, made at its first use.

    Args:
        name: Of the entity, for errors.
        make: Makes the SDK's receiver.
    """

    def __init__(self, name: str, make: Callable[[], ServiceBusReceiver]) -> None:
        self._name = name
        self._make = make
        self._receiver: ServiceBusReceiver | None = None
        self._turn = asyncio.Lock()

    async def use(self, work: Callable[[ServiceBusReceiver], Awaitable[T]]) -> T:
        """Do something with the link, opened, when it is our turn."""
        async with self._turn:
            try:
                if self._receiver is None:
                    self._receiver = self._make()
                # Opens it again if it was lost; else the time of that would be part of a short wait for messages.
                await self._receiver.__aenter__()  # entered many times, closed once
                return await work(self._receiver)
            except FAULTS as error:
                raise translated(error, self._name) from error

    async def close(self) -> None:
        """Close the link; what is in its buffer goes back to the service."""
        if self._receiver is not None:
            await self._receiver.close()


class SendLink:
    """A link that messages go out on, made at its first use.

    Args:
        name: Of the entity, for errors.
        make: Makes the SDK's sender, which must not repeat anything by itself.
    """

    def __init__(self, name: str, make: Callable[[], ServiceBusSender]) -> None:
        self.limit = STANDARD_LIMIT - OVERHEAD
        self._name = name
        self._make = make
        self._sender: ServiceBusSender | None = None
        self._used = 0.0
        self._turn = asyncio.Lock()
        self._waiting: deque[tuple[ServiceBusMessage, asyncio.Future[None]]] = deque()

    async def check_size(self, text: str) -> None:
        """Refuse a text that the service would refuse; which limit that is depends on its tier, and the link knows.

        Raises:
            TaskTooLarge: The text is above the limit.
        """
        size = len(text.encode())
        if size <= self.limit:
            return
        async with self._turn:
            await self._opened()
        if size > self.limit:
            raise TaskTooLarge(size, self.limit)

    async def send(self, message: ServiceBusMessage) -> None:
        """Send a message, together with others that wait.

        Raises:
            NotStored: The service refused it, or could not be reached.
            MaybeStored: The answer was lost.
            QueueMissing: No such queue.
        """
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, sent))
        try:
            async with self._turn:
                while not sent.done():
                    await self._send_waiting()
            await sent
        except asyncio.CancelledError:
            sent.cancel()  # not to be sent by somebody else's turn
            raise

    async def use(self, work: Callable[[ServiceBusSender], Awaitable[T]]) -> T:
        """Do something else with the link, opened, when it is our turn."""
        async with self._turn:
            sender = await self._opened()
            try:
                return await work(sender)
            except FAULTS as error:
                raise translated(error, self._name) from error

    async def close(self) -> None:
        """Close the link."""
        if self._sender is not None:
            await self._sender.close()
            self._sender = None

    async def _send_waiting(self) -> None:
        """Send what waits, as far as it fits into one batch, and tell everybody who waits for it."""
        waiting = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        waiting = [(message, sent) for message, sent in waiting if not sent.done()]
        taken, error = len(waiting), None
        try:
            taken = await self._deliver([message for message, _ in waiting])
        except JobQError as refused:
            error = refused
        except asyncio.CancelledError:
            error = MaybeStored(f"the answer of {self._name} was not waited for")
            raise
        finally:
            self._waiting.extendleft(reversed(waiting[taken:]))
            for _, sent in waiting[:taken]:
                _tell(sent, error)

    async def _deliver(self, messages: list[ServiceBusMessage]) -> int:
        """Send as many as fit into one batch, and return how many. Only what was surely not stored is repeated."""
        attempt = 0
        while messages:
            attempt += 1
            sender = await self._opened()
            try:
                return await _send(sender, messages, min(self.limit, _BATCH_LIMIT))
            except ServiceBusServerBusyError as error:
                if attempt == _ATTEMPTS:
                    raise NotStored(f"{self._name} is too busy: {first_line(error)}") from error
                await _back_off(attempt)
            except MessagingEntityNotFoundError as error:
                raise translated(error, self._name) from error
            except (*_NOT_STORED, MessageSizeExceededError) as error:
                raise NotStored(f"{self._name} refused it: {first_line(error)}") from error
            except FAULTS as error:
                await self._drop()
                raise MaybeStored(f"the answer of {self._name} was lost: {first_line(error)}") from error
        return 0

    async def _opened(self) -> ServiceBusSender:
        """The open link. Opening stores nothing, so that it may be repeated."""
        now = time.monotonic()
        if self._sender is not None and now - self._used > _IDLE_SECONDS:
            await self._drop()
        self._used = now
        attempt = 0
        while self._sender is None:
            attempt += 1
            sender = self._make()
            try:
                await sender.__aenter__()  # closed by `close`
                self.limit = (await sender.create_message_batch()).max_size_in_bytes - OVERHEAD
            except FAULTS as error:
                await _quietly(sender.close())
                if attempt == _ATTEMPTS or isinstance(error, _NOT_STORED):
                    found = translated(error, self._name)
                    raise (
                        found
                        if isinstance(found, QueueMissing)
                        else NotStored(f"{self._name} could not be reached: {first_line(error)}")
                    ) from error
                await _back_off(attempt)
            else:
                self._sender = sender
        return self._sender

    async def _drop(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            await _quietly(sender.close())


async def _send(sender: ServiceBusSender, messages: list[ServiceBusMessage], limit: int) -> int:
    if len(messages) == 1:
        await sender.send_messages(messages[0])
        return 1
    batch = await sender.create_message_batch(max_size_in_bytes=limit)
    taken = 0
    for message in messages:
        try:
            batch.add_message(message)
        except MessageSizeExceededError:
            break
        taken += 1
    await sender.send_messages(batch if taken else messages[0])
    return max(taken, 1)


def _tell(sent: asyncio.Future[None], error: JobQError | None) -> None:
    if sent.done():
        return
    if error is None:
        sent.set_result(None)
    else:
        sent.set_exception(error)
        sent.exception()  # seen, even if whoever waited for it has gone


async def _quietly(closing: Awaitable[None]) -> None:
    """Close a link that has failed: what it says to that is of no interest."""
    try:
        await closing
    except FAULTS:
        return


async def _back_off(attempt: int) -> None:
    # Jitter against clients in step; it protects nothing.
    await asyncio.sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.7, 1.3))  # noqa: S311 - see above
