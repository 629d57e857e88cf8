"""JobQ: a task queue for Python users, for the command line and for the worker agent.

It turns tasks into messages and back, and nothing else: the backend talks to the service, and the agent decides what
becomes of a task. Every push either stored the task or raises an error that names it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from jobq.address import SERVICE_BUS_SCHEME, QueueAddress
from jobq.backends.port import Delivery, QueueBackend, QueueSize
from jobq.cloud import Cloud, load_cloud
from jobq.dead_letter import DeadLetter, decode_dead_letter
from jobq.errors import LockLost, MaybeStored, NotStored, QueueMissing, TaskError, TaskTooLarge
from jobq.names import CONNECTION_STRING_VARIABLE, QUEUE_VARIABLE
from jobq.opening import open_backend
from jobq.task import Task, decode_task, task_kwargs

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.credentials_async import AsyncTokenCredential

    Credential: TypeAlias = AsyncTokenCredential | TokenCredential

SEARCH_VISIBILITY = timedelta(minutes=2)
"""How long a look through the dead letters hides them from others."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A message seen by a peek: a task, or a text and what is wrong with it."""

    task: Task | None
    text: str
    problem: str | None
    attempts: int
    enqueued: datetime | None


class JobQ:
    """A task queue.

    Use one of the `from_...` functions as an asynchronous context manager, or give it a backend.
    """

    def __init__(self, backend: QueueBackend) -> None:
        self.backend = backend

    @property
    def full_name(self) -> str:
        """`<account>/<queue>`."""
        return self.backend.full_name

    @classmethod
    def from_storage_queue(
        cls,
        name: str,
        *,
        storage_account: str,
        credential: Credential | None = None,
        cloud: Cloud | None = None,
        create: bool = True,
    ) -> AbstractAsyncContextManager[JobQ]:
        """Open a queue of a storage account.

        Args:
            name: Name of the queue.
            storage_account: Name of the storage account.
            credential: A credential, asynchronous or not, that stays the caller's; by default this process's identity.
            cloud: Which Azure; by default what `WORKFORCE_CLOUD` says.
            create: Make the queue if it is missing.
        """
        return cls.from_address(QueueAddress(storage_account, name), credential=credential, cloud=cloud, create=create)

    @classmethod
    def from_service_bus(
        cls,
        name: str,
        *,
        namespace: str = "",
        fqns: str = "",
        credential: Credential | None = None,
        cloud: Cloud | None = None,
        create: bool = True,
    ) -> AbstractAsyncContextManager[JobQ]:
        """Open a queue of a Service Bus namespace.

        Args:
            name: Name of the queue.
            namespace: Name of the namespace, or its host name.
            fqns: The same, as the ancestor's programs call it.
            credential: As for a storage queue.
            cloud: The same.
            create: Make the queue if it is missing, where we may; else an error says how to make it.
        """
        address = QueueAddress((namespace or fqns).removeprefix(SERVICE_BUS_SCHEME), name, service_bus=True)
        return cls.from_address(address, credential=credential, cloud=cloud, create=create)

    @classmethod
    def from_connection_string(
        cls, name: str, *, connection_string: str, cloud: Cloud | None = None, create: bool = True
    ) -> AbstractAsyncContextManager[JobQ]:
        """Open a queue of the storage account, or of the Service Bus namespace, that a connection string tells."""
        environ = {CONNECTION_STRING_VARIABLE: connection_string, QUEUE_VARIABLE: name}
        return cls.from_address(QueueAddress.resolve(None, environ), cloud=cloud, create=create)

    @classmethod
    def from_environment(
        cls, *, credential: Credential | None = None, cloud: Cloud | None = None, create: bool = True
    ) -> AbstractAsyncContextManager[JobQ]:
        """Open the queue that `JOBQ_STORAGE` (`sb://NAMESPACE` for Service Bus) and `JOBQ_QUEUE` name.

        With `JOBQ_CONNECTION_STRING` no account is needed, and no credential.

        Raises:
            AddressError: They name none.
        """
        address = QueueAddress.resolve(None, os.environ)
        return cls.from_address(address, credential=credential, cloud=cloud, create=create)

    @classmethod
    @asynccontextmanager
    async def from_address(
        cls,
        address: QueueAddress,
        *,
        credential: Credential | None = None,
        cloud: Cloud | None = None,
        create: bool = True,
    ) -> AsyncIterator[JobQ]:
        """Open the queue at an address; see `from_storage_queue` for the arguments."""
        async with open_backend(address, cloud or load_cloud(), credential) as backend:
            if create:
                await backend.create()
            yield cls(backend)

    async def push(
        self,
        command: str | Mapping[str, Any],
        *,
        env: Mapping[str, str] | None = None,
        num_retries: int = 5,
        reply_requested: bool = False,
        id: str | None = None,  # noqa: A002 - the wire format's name
        timeout: timedelta | None = None,
    ) -> str:
        """Enqueue one task and return its id.

        Args:
            command: A shell command, or the arguments of a task as they are.
            env: Environment of a shell command.
            num_retries: How often the task may be tried again after a failure.
            reply_requested: Part of the wire format.
            id: The task's id; made from its content by default.
            timeout: How long the task may run; a worker may allow less.

        Raises:
            TaskTooLarge: Nothing was sent.
            NotStored: The queue does not have the task.
            MaybeStored: The answer was lost; the task may be in the queue.
        """
        kwargs = task_kwargs(command, env)
        task = Task.new(kwargs, num_retries=num_retries, reply_requested=reply_requested, id=id, timeout=timeout)
        await self.push_task(task)
        return task.id

    async def push_task(self, task: Task, *, key: str | None = None) -> None:
        """Enqueue a task. Raises as `push` does; the error's text names the task.

        Args:
            task: The task.
            key: What a service that detects duplicates knows the message by; by default the task's id.
        """
        try:
            await self.backend.send(task.encode(), key=key or task.id)
        except TaskTooLarge as error:
            raise TaskTooLarge(error.size, error.limit, task.id) from error
        except NotStored as error:
            raise NotStored(f"task {task.id} was not stored: {error}") from error
        except MaybeStored as error:
            raise MaybeStored(f"task {task.id} may or may not have been stored: {error}") from error

    async def size(self) -> QueueSize:
        """How many tasks there are, the visible ones apart where the service can tell."""
        return await self.backend.size()

    async def peek(self, count: int = 1) -> list[Looked]:
        """Look at up to `count` tasks (at most a page) without taking them."""
        return [_looked(message.body, message.attempts, message.inserted) for message in await self.backend.peek(count)]

    async def clear(self) -> None:
        """Remove every task. Dead letters stay."""
        await self.backend.clear()

    async def failed(self, count: int = 32) -> list[DeadLetter]:
        """Look at up to `count` dead letters (at most a page)."""
        try:
            letters = await self.backend.failed.peek(count)
        except QueueMissing:
            await self._be_there()
            return []
        return [decode_dead_letter(seen.body, seen.inserted) for seen in letters]

    async def all_failed(self) -> AsyncGenerator[DeadLetter, None]:
        """Yield every dead letter and leave it where it is; others cannot see it meanwhile."""
        async with aclosing(self._walk_failed(None)) as letters:
            async for _, letter in letters:
                yield letter

    async def find_failed(self, task_id: str) -> DeadLetter | None:
        """The first dead letter of a task id, wherever it is in the queue."""
        async with aclosing(self._walk_failed({task_id})) as letters:
            async for _, letter in letters:
                return letter
        return None

    async def retry_failed(self, ids: Iterable[str] | None = None, *, num_retries: int = 0) -> list[str]:
        """Enqueue dead letters again and remove them; all of them, or those of the given task ids.

        The task is stored first and removed after, so that a crash leaves it in both queues and never in none. Dead
        letters that are no task stay where they are.

        Returns:
            The ids of the tasks enqueued.
        """
        done = []
        async with aclosing(self._walk_failed(None if ids is None else set(ids))) as letters:
            async for delivery, letter in letters:
                if letter.task is None:
                    continue
                task = replace(letter.task, num_retries=num_retries)
                # Not the task's id: a service that detects duplicates has seen that one.
                await self.push_task(task, key=f"{task.id}/failed-{delivery.message_id}")
                await self.backend.failed.complete(delivery)
                done.append(task.id)
        return done

    async def drop_failed(self, ids: Iterable[str] | None = None) -> list[str | None]:
        """Remove dead letters; all of them, malformed ones too, or those of the given task ids.

        Returns:
            The task id of each that was removed, None for one that is no task.
        """
        dropped = []
        async with aclosing(self._walk_failed(None if ids is None else set(ids))) as letters:
            async for delivery, letter in letters:
                await self.backend.failed.complete(delivery)
                dropped.append(letter.id)
        return dropped

    async def _walk_failed(self, ids: set[str] | None) -> AsyncGenerator[tuple[Delivery, DeadLetter], None]:
        """Yield the dead letters asked for; whatever the caller does not complete is given back at the end.

        A caller may be slow, so that the first ones are visible again before the last: each is yielded once.
        """
        failed = self.backend.failed
        held: dict[str, Delivery] = {}
        known = 0
        try:
            # A whole round of known ones has seen all there are.
            while known <= len(held) and (page := await self._take_failed()):
                fresh = [delivery for delivery in page if delivery.message_id not in held]
                held.update((delivery.message_id, delivery) for delivery in page)
                known = 0 if fresh else known + len(page)
                for delivery in fresh:
                    letter = decode_dead_letter(delivery.body, delivery.inserted)
                    if ids is None or letter.id in ids:
                        yield delivery, letter
        finally:
            await _give_back(failed, held.values())

    async def _take_failed(self) -> Sequence[Delivery]:
        failed = self.backend.failed
        try:
            return await failed.receive(failed.page, SEARCH_VISIBILITY)
        except QueueMissing:
            await self._be_there()
            return []

    async def _be_there(self) -> None:
        """A queue without dead letters need not have a place for them, but it must be there itself."""
        await self.backend.size()


async def _give_back(queue: QueueBackend, held: Iterable[Delivery]) -> None:
    for delivery in held:
        try:
            await queue.release(delivery)
        except LockLost:
            continue  # completed by the caller, or expired: either way not ours to give back


def _looked(text: str, attempts: int, enqueued: datetime | None) -> Looked:
    try:
        return Looked(decode_task(text), text, None, attempts, enqueued)
    except TaskError as error:
        return Looked(None, text, str(error), attempts, enqueued)
