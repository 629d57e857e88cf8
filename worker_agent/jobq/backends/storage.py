"""Azure Storage Queue as a task queue: plain text messages, dead letters in `<queue>-failed`.

The SDK's own retries are off for calls that change something, because they repeat a call whose answer was lost: a send
would then store the task twice. What may be repeated safely is repeated here, where the difference is known.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

from aiohttp import ClientConnectorError, ConnectionTimeoutError
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from jobq.backends.port import Delivery, Peeked, QueueSize
from jobq.backends.storage_post import MessagePost
from jobq.errors import (
    JobQError,
    LockLost,
    MaybeStored,
    NotStored,
    QueueMissing,
    QueueRefused,
    QueueUnavailable,
)
from jobq.task import MESSAGE_LIMIT, check_size

FAILED_SUFFIX = "-failed"
_ATTEMPTS = 4
_BACKOFF_SECONDS = 0.5
_ONCE: dict[str, Any] = {"retry_total": 0}
_BUSY = frozenset({429, 503})
_LOST = frozenset({"MessageNotFound", "PopReceiptMismatch"})

T = TypeVar("T")


class StorageQueue:
    """A queue of a storage account, with its dead-letter queue beside it.

    Args:
        service: An open client of the account's queue service; closed by whoever opened it.
        name: Name of the queue.
        post: Puts messages faster than the client does, where it can.
    """

    page = 32
    limit = MESSAGE_LIMIT
    longest: timedelta | None = None

    def __init__(self, service: QueueServiceClient, name: str, post: MessagePost | None = None) -> None:
        self._service = service
        self._post = post
        self._name = name
        self._client: QueueClient = service.get_queue_client(name)

    @property
    def full_name(self) -> str:
        """See the port."""
        return f"{self._service.account_name}/{self._name}"

    @property
    def failed(self) -> StorageQueue:
        """See the port."""
        return StorageQueue(self._service, f"{self._name}{FAILED_SUFFIX}", self._post)

    async def create(self) -> None:
        """See the port."""
        with suppress(ResourceExistsError):
            await self._call(self._client.create_queue)

    async def send(self, body: str, *, key: str | None = None, delay: timedelta = timedelta(0)) -> None:
        """See the port. Duplicates are not detected."""
        check_size(body, self.limit)
        seconds = _whole_seconds(delay)
        try:
            await _while_unsent(lambda: self._put(body, seconds))
        except HttpResponseError as error:
            if error.status_code is not None and error.status_code >= 500 and error.status_code not in _BUSY:
                raise MaybeStored(f"{self.full_name} answered {error.status_code}: {_first_line(error)}") from error
            self._raise_missing(error)
            raise NotStored(f"{self.full_name} refused it: {_first_line(error)}") from error
        except AzureError as error:
            if _never_sent(error):
                raise NotStored(f"{self.full_name} could not be reached: {_first_line(error)}") from error
            raise MaybeStored(f"the answer of {self.full_name} was lost: {_first_line(error)}") from error

    async def _put(self, body: str, seconds: int) -> None:
        if self._post is not None:
            return await self._post.put(self._name, body, visible_after=seconds)
        await self._client.send_message(body, time_to_live=-1, visibility_timeout=seconds or None, **_ONCE)
        return None

    async def receive(self, count: int, visibility: timedelta) -> Sequence[Delivery]:
        """See the port."""
        wanted = max(1, min(count, self.page))

        async def one_page() -> list[QueueMessage]:
            pages = self._client.receive_messages(
                messages_per_page=wanted, max_messages=wanted, visibility_timeout=_whole_seconds(visibility)
            ).by_page()
            async for page in pages:
                return [message async for message in page]
            return []

        return [_delivery(message) for message in await self._call(one_page)]

    async def renew(self, delivery: Delivery, visibility: timedelta) -> Delivery:
        """See the port."""
        renewed = await self._settle(
            lambda: self._client.update_message(
                delivery.message_id, delivery.receipt, visibility_timeout=_whole_seconds(visibility), **_ONCE
            )
        )
        return Delivery(
            delivery.message_id, str(renewed.pop_receipt), delivery.body, delivery.attempts, delivery.inserted
        )

    async def complete(self, delivery: Delivery) -> None:
        """See the port. A delete may be repeated, also by the HTTP client: a message that is gone was deleted."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._settle(
                    lambda: self._client.delete_message(delivery.message_id, delivery.receipt, **_ONCE)
                )
            except QueueUnavailable:
                if attempt == _ATTEMPTS:
                    raise
                await _back_off(attempt)
            except LockLost as error:
                if error.gone:
                    return None
                raise
        return None

    async def release(self, delivery: Delivery, *, body: str | None = None, delay: timedelta = timedelta(0)) -> None:
        """See the port."""
        content = {} if body is None else {"content": body}
        await self._settle(
            lambda: self._client.update_message(
                delivery.message_id,
                delivery.receipt,
                visibility_timeout=_whole_seconds(delay),
                **content,  # type: ignore[arg-type] # the SDK's overloads do not know a mapping
                **_ONCE,
            )
        )

    async def dead_letter(self, delivery: Delivery, body: str) -> None:
        """See the port."""
        await self._send_dead_letter(body)
        await self.complete(delivery)

    async def _send_dead_letter(self, body: str) -> None:
        """Repeated when its answer was lost, unlike a push: a second copy is better than running the task again."""
        failed = self.failed
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await failed.send(body)
            except QueueMissing:
                await failed.create()
            except MaybeStored:
                await _back_off(attempt)
        raise QueueUnavailable(f"{failed.full_name} gave no clear answer in {_ATTEMPTS} attempts")

    async def peek(self, count: int) -> Sequence[Peeked]:
        """See the port."""
        messages = await self._call(lambda: self._client.peek_messages(max_messages=max(1, min(count, self.page))))
        return [Peeked(str(message.content), message.dequeue_count or 0, message.inserted_on) for message in messages]

    async def size(self) -> QueueSize:
        """See the port. Visible messages are counted up to a page, which is as far as a peek can see."""
        properties = await self._call(self._client.get_queue_properties)
        total = properties.approximate_message_count or 0
        visible = len(await self.peek(self.page)) if total else 0
        if visible < self.page:
            return QueueSize(total, min(visible, total))
        return QueueSize(total, None)

    async def clear(self) -> None:
        """See the port."""
        await self._call(self._client.clear_messages)

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call that may be repeated, which the SDK does."""
        try:
            return await call()
        except AzureError as error:
            self._raise_for(error)

    async def _settle(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call that needs a receipt."""
        try:
            return await _while_unsent(call)
        except HttpResponseError as error:
            if _code(error) in _LOST:
                raise LockLost(
                    f"a message of {self.full_name} is no longer ours: {_code(error)}",
                    gone=_code(error) == "MessageNotFound",
                ) from error
            self._raise_for(error)
        except AzureError as error:
            self._raise_for(error)

    def _raise_for(self, error: AzureError) -> NoReturn:
        if isinstance(error, ResourceExistsError):
            raise error
        self._raise_missing(error)
        raise self._translated(error) from error

    def _raise_missing(self, error: AzureError) -> None:
        if isinstance(error, ResourceNotFoundError) and _code(error) in {"QueueNotFound", "ResourceNotFound", ""}:
            raise QueueMissing(f"queue {self.full_name} does not exist") from error

    def _translated(self, error: AzureError) -> JobQError:
        words = f"{self.full_name}: {_first_line(error)}"
        if isinstance(error, ClientAuthenticationError):
            return QueueRefused(words)
        if isinstance(error, HttpResponseError):
            status = error.status_code or 500
            return (
                QueueRefused(words) if 400 <= status < 500 and status not in {408, *_BUSY} else QueueUnavailable(words)
            )
        return QueueUnavailable(words)


async def _while_unsent(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call as long as it is certain that the service did not act on it."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return await call()
        except AzureError as error:
            if not _never_sent(error) and getattr(error, "status_code", None) not in _BUSY:
                raise
            await _back_off(attempt)
    return await call()


def _never_sent(error: AzureError) -> bool:
    """Whether no connection was made. The SDK's request error also covers one that was cut after the request."""
    return isinstance(error, ServiceRequestError) and isinstance(
        error.inner_exception, ClientConnectorError | ConnectionTimeoutError
    )


async def _back_off(attempt: int) -> None:
    # Jitter against workers in step; it protects nothing.
    await asyncio.sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.7, 1.3))  # noqa: S311 - see above


def _delivery(message: QueueMessage) -> Delivery:
    return Delivery(
        str(message.id),
        str(message.pop_receipt),
        str(message.content),
        message.dequeue_count or 1,
        message.inserted_on,
    )


def _code(error: AzureError) -> str:
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))


def _first_line(error: AzureError) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _whole_seconds(duration: timedelta) -> int:
    return max(0, round(duration.total_seconds()))
