"""Azure Storage Queue as a task queue: plain text messages, dead letters in `<queue>-failed`.

A call whose answer was lost is repeated only where that is safe, and reported as unknown elsewhere: a push that is
repeated would store the task twice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NoReturn, TypeVar

from jobq.backends.port import Delivery, Peeked, QueueBackend, QueueSize
from jobq.backends.storage_rest import (
    IdentityError,
    QueueService,
    error_code,
    message_xml,
    read_http_date,
    read_messages,
)
from jobq.errors import (
    LockLost,
    MaybeStored,
    NotStored,
    QueueMissing,
    QueueRefused,
    QueueUnavailable,
)
from jobq.http import Answer, AnswerLost, NotSent
from jobq.task import MESSAGE_LIMIT, check_size

FAILED_SUFFIX = "-failed"
DELETES_AT_ONCE = 8
"""More at a time do not go faster, and keep the service from handing out the next messages."""
TURN_SECONDS = 1.0
_ATTEMPTS = 4
_BACKOFF_SECONDS = 0.5
_BUSY = frozenset({429, 503})
_BEING_DELETED = "QueueBeingDeleted"
_LOST = frozenset({"MessageNotFound", "PopReceiptMismatch"})
_FAULTS = (NotSent, AnswerLost, IdentityError)

T = TypeVar("T")


class _Refusal(Exception):
    """The service's answer is an error."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.code = error_code(answer)
        super().__init__(f"{self.code or 'no reason given'} ({answer.status})")


class StorageQueue:
    """A queue of a storage account, with its dead-letter queue beside it.

    Args:
        service: The account's queue service; closed by whoever opened it.
        account: Name of the storage account.
        name: Name of the queue.
    """

    page = 32
    limit = MESSAGE_LIMIT
    longest: timedelta | None = None

    def __init__(self, service: QueueService, account: str, name: str) -> None:
        self._service = service
        self._account = account
        self._name = name
        self._deletes = asyncio.Semaphore(DELETES_AT_ONCE)

    @property
    def full_name(self) -> str:
        """See the port."""
        return f"{self._account}/{self._name}"

    @property
    def failed(self) -> StorageQueue:
        """See the port."""
        return StorageQueue(self._service, self._account, f"{self._name}{FAILED_SUFFIX}")

    async def create(self) -> None:
        """See the port."""

        async def make() -> None:
            try:
                await self._repeatable(lambda: self._ask("PUT", ""))
            except _Refusal as refusal:
                if refusal.status != 409 or refusal.code == _BEING_DELETED:
                    raise

        await self._translating(make)

    async def send(self, body: str, *, key: str | None = None, delay: timedelta = timedelta(0)) -> None:
        """See the port. Duplicates are not detected."""
        check_size(body, self.limit)
        query = {"messagettl": "-1"}
        if seconds := _whole_seconds(delay):
            query["visibilitytimeout"] = str(seconds)
        try:
            await _while_unsent(lambda: self._ask("POST", "/messages", query, message_xml(body)))
        except _Refusal as refusal:
            if refusal.status >= 500 and refusal.status not in _BUSY:
                raise MaybeStored(f"{self.full_name} answered {refusal.status}: {refusal}") from refusal
            self._raise_missing(refusal)
            raise NotStored(f"{self.full_name} refused it: {refusal}") from refusal
        except (NotSent, IdentityError) as error:
            raise NotStored(f"{self.full_name} could not be reached: {error}") from error
        except AnswerLost as error:
            raise MaybeStored(f"the answer of {self.full_name} was lost: {error}") from error

    async def receive(self, count: int, visibility: timedelta) -> Sequence[Delivery]:
        """See the port. A lost answer hides its messages until their timeout, so it is not asked for again at once."""
        wanted = str(max(1, min(count, self.page)))
        query = {"numofmessages": wanted, "visibilitytimeout": str(_whole_seconds(visibility))}
        answer = await self._translating(lambda: _while_unsent(lambda: self._ask("GET", "/messages", query)))
        return [_delivery(fields) for fields in self._messages(answer)]

    async def renew(self, delivery: Delivery, visibility: timedelta) -> Delivery:
        """See the port."""
        answer = await self._settle("PUT", delivery, {"visibilitytimeout": str(_whole_seconds(visibility))})
        receipt = answer.headers.get("x-ms-popreceipt", "")
        if not receipt:
            raise QueueUnavailable(f"{self.full_name} renewed a message and gave no new receipt")
        return Delivery(delivery.message_id, receipt, delivery.body, delivery.attempts, delivery.inserted)

    async def renew_for(self, owner: QueueBackend, delivery: Delivery, visibility: timedelta) -> Delivery:
        """See the port. The service asks for the receipt only."""
        del owner
        return await self.renew(delivery, visibility)

    async def complete(self, delivery: Delivery) -> None:
        """See the port. A delete may be repeated: a message that is gone was deleted."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._turn_to_delete():
                    await self._settle("DELETE", delivery, {})
            except QueueUnavailable:
                if attempt == _ATTEMPTS:
                    raise
                await _back_off(attempt)
            except LockLost as error:
                if error.gone:
                    return
                raise
            else:
                return

    @asynccontextmanager
    async def _turn_to_delete(self) -> AsyncIterator[None]:
        """Wait for a turn, but not for long: locks run out while the service does not answer."""
        try:
            async with asyncio.timeout(TURN_SECONDS if self._deletes.locked() else None):
                await self._deletes.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._deletes.release()

    async def release(self, delivery: Delivery, *, body: str | None = None, delay: timedelta = timedelta(0)) -> None:
        """See the port."""
        content = "" if body is None else message_xml(body)
        await self._settle("PUT", delivery, {"visibilitytimeout": str(_whole_seconds(delay))}, content)

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
        query = {"peekonly": "true", "numofmessages": str(max(1, min(count, self.page)))}
        answer = await self._translating(lambda: self._repeatable(lambda: self._ask("GET", "/messages", query)))
        return [
            Peeked(seen.body, seen.attempts, seen.inserted)
            for seen in (_delivery(fields, attempts=0) for fields in self._messages(answer))
        ]

    async def size(self) -> QueueSize:
        """See the port. Visible messages are counted up to a page, which is as far as a peek can see."""
        answer = await self._translating(lambda: self._repeatable(lambda: self._ask("GET", "", {"comp": "metadata"})))
        try:
            total = int(answer.headers["x-ms-approximate-messages-count"])
        except (KeyError, ValueError):
            raise QueueUnavailable(f"{self.full_name} did not say how many messages it has") from None
        visible = len(await self.peek(self.page)) if total else 0
        if visible < self.page:
            return QueueSize(total, min(visible, total))
        return QueueSize(total, None)

    async def clear(self) -> None:
        """See the port. The service clears a large queue in several calls."""
        await self._translating(lambda: self._repeatable(lambda: self._ask("DELETE", "/messages")))

    async def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None, body: str = "") -> Answer:
        answer = await self._service.call(method, f"/{self._name}{path}", query, body)
        if answer.status >= 300:
            raise _Refusal(answer)
        return answer

    def _messages(self, answer: Answer) -> Sequence[Mapping[str, str]]:
        try:
            return read_messages(answer.body)
        except ValueError as error:
            raise QueueUnavailable(f"an answer of {self.full_name} makes no sense: {error}") from error

    async def _settle(self, method: str, delivery: Delivery, query: Mapping[str, str], body: str = "") -> Answer:
        """A call that needs a receipt. Only what certainly was not carried out is repeated."""
        path = f"/messages/{delivery.message_id}"
        query = {"popreceipt": delivery.receipt, **query}
        return await self._translating(lambda: _while_unsent(lambda: self._ask(method, path, query, body)))

    async def _repeatable(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call that may be repeated whatever happened to it."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return await call()
            except _Refusal as refusal:
                if refusal.status < 500 and refusal.status not in {408, *_BUSY}:
                    raise
            except (NotSent, AnswerLost):
                pass
            await _back_off(attempt)
        return await call()

    async def _translating(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except (_Refusal, *_FAULTS) as error:
            self._raise_for(error)

    def _raise_for(self, error: Exception) -> NoReturn:
        words = f"{self.full_name}: {error}"
        if isinstance(error, _Refusal):
            if error.code in _LOST:
                gone = error.code == "MessageNotFound"
                raise LockLost(f"a message of {self.full_name} is no longer ours: {error.code}", gone=gone) from error
            self._raise_missing(error)
            if 400 <= error.status < 500 and error.status not in {408, *_BUSY} and error.code != _BEING_DELETED:
                raise QueueRefused(words) from error
        if isinstance(error, IdentityError) and error.refused:
            raise QueueRefused(words) from error
        raise QueueUnavailable(words) from error

    def _raise_missing(self, refusal: _Refusal) -> None:
        if refusal.status == 404 and refusal.code in {"QueueNotFound", "ResourceNotFound", ""}:
            raise QueueMissing(f"queue {self.full_name} does not exist") from refusal


async def _while_unsent(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call as long as it is certain that the service did not act on it."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return await call()
        except _Refusal as refusal:
            if refusal.status not in _BUSY:
                raise
        except NotSent:
            pass
        await _back_off(attempt)
    return await call()


async def _back_off(attempt: int) -> None:
    # Jitter against workers in step; it protects nothing.
    await asyncio.sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.7, 1.3))  # noqa: S311 - see above


def _delivery(fields: Mapping[str, str], attempts: int = 1) -> Delivery:
    count = fields.get("DequeueCount", "")
    return Delivery(
        fields.get("MessageId", ""),
        fields.get("PopReceipt", ""),
        fields.get("MessageText", ""),
        int(count) if count.isdecimal() and int(count) else attempts,
        read_http_date(fields.get("InsertionTime", "")),
    )


def _whole_seconds(duration: timedelta) -> int:
    return max(0, round(duration.total_seconds()))
