"""The control channel: listens for orders and records them, and never stands in the way of task work.

Order on the node: receive → check → write the intent beside the PID files → complete → only if that succeeded, signal.
Both listeners run in the worker's own event loop: everything there is asynchronous, so a busy task cannot block them,
and they end with it. A fault of the channel is logged once per change and tried again with back-off; it reaches nobody
else. Which bus this is, is the adapter's affair.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from jobq.control import Order
from workforce_agent.holder_file import HolderFile
from workforce_agent.orders import LOOK_EVERY, Act, Answer, judge_targeted, judge_untargeted
from workforce_agent.pid_file import Worker, Written, workers, write_intents

RECEIVE_SECONDS = 30.0
LOOK_SECONDS = 2.0
BACKOFF_SECONDS = (1.0, 60.0)
BUSY_SECONDS = 5.0
"""How often to ask for a session that somebody else holds."""
FIRST_LOOK_SECONDS = 10.0
FIRST_LOOK_BUSY_SECONDS = 330.0
"""A dead predecessor's hold on the session ends within the session lock's 5 minutes."""
RENEW_SECONDS = 120.0
CONSUME_SECONDS = 5.0
HOLDER_POLL_SECONDS = 0.5

T = TypeVar("T")

_log = structlog.get_logger()


class BusError(Exception):
    """The bus failed or refused; the text says how."""


class SessionBusy(BusError):
    """Somebody else holds the session."""


class Message(Protocol):
    """An order as it came."""

    @property
    def body(self) -> bytes:
        """Its text."""


class Receiver(Protocol):
    """An open link that orders come from. Every call raises `BusError` and nothing else."""

    async def receive(self, wait: float) -> Message | None:
        """The next message, or None after `wait` seconds without one."""

    async def complete(self, message: Message) -> None:
        """Remove a message; returns only if the service confirmed that it was ours to remove."""

    async def dead_letter(self, message: Message, reason: str, description: str) -> None:
        """Put a message aside for people."""

    async def abandon(self, message: Message) -> None:
        """Leave a message to others."""


class SessionReceiver(Receiver, Protocol):
    """The link to this job's session."""

    async def has_message(self) -> bool:
        """Whether a message waits, without waiting for one."""

    async def renew(self) -> None:
        """Keep the session."""

    async def revision(self) -> int:
        """The revision kept in the session's state, 0 at first."""

    async def set_revision(self, revision: int) -> None:
        """Keep a revision in the session's state."""


class Bus(Protocol):
    """Where orders come from."""

    def topic(self) -> AbstractAsyncContextManager[Receiver]:
        """Open a link to the topic's subscription; closing it takes back the credit."""

    def session(self, job: str) -> AbstractAsyncContextManager[SessionReceiver]:
        """Open the job's session. Raises `SessionBusy` while somebody else holds it."""


class Node(Protocol):
    """What the listeners must know of the worker."""

    @property
    def pulling(self) -> bool:
        """Whether it takes new tasks."""

    @property
    def leaving(self) -> bool:
        """Whether it is on its way out, or being evicted."""

    @property
    def braced(self) -> bool:
        """Whether it waits to be killed by the platform, which starts the job again elsewhere."""

    def holds_receiver(self) -> bool:
        """Whether slots come free, so that it listens all the time."""

    async def until_changed(self) -> None:
        """Wait until any of this may have changed."""


class Trouble:
    """Says a listener's faults once per change, and how long to wait after one."""

    def __init__(self, listener: str) -> None:
        self._log = _log.bind(listener=listener)
        self._words = ""
        self._pause = BACKOFF_SECONDS[0]
        self.busy = False

    def fault(self, error: BusError) -> float:
        """Take note of a fault. Returns how long to wait."""
        self.busy = isinstance(error, SessionBusy)
        if str(error) != self._words:
            self._words = str(error)
            self._log.warning("control_unavailable", error=self._words)
        pause, self._pause = self._pause, min(self._pause * 2, BACKOFF_SECONDS[1])
        return BUSY_SECONDS if self.busy else pause

    def works(self) -> None:
        """Take note that it works."""
        self.busy = False
        self._pause = BACKOFF_SECONDS[0]
        if self._words:
            self._words = ""
            self._log.info("control_available")


class UntargetedListener:
    """Takes orders from the topic, for this node as a whole.

    Args:
        bus: Where they come from.
        node: This worker.
        root: The folder of all workers' files on this node.
        topic: Which workers an order is for.
        job: This node's job, if any.
    """

    def __init__(self, bus: Bus, node: Node, root: Path, *, topic: str, job: str | None) -> None:
        self._bus = bus
        self._node = node
        self._root = root
        self._topic = topic
        self._job = job
        self._trouble = Trouble("topic")

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            if self._node.leaving:
                await self._node.until_changed()
                continue
            try:
                async with self._bus.topic() as receiver:
                    if self._node.holds_receiver():
                        await self._hold(receiver)
                    else:
                        await self._look(receiver, LOOK_SECONDS)
                self._trouble.works()
            except BusError as error:
                await asyncio.sleep(self._trouble.fault(error))
                continue
            await self._until_next_look()

    async def _hold(self, receiver: Receiver) -> None:
        while self._node.holds_receiver() and not self._node.leaving:
            if not await self._look(receiver, RECEIVE_SECONDS):
                return
            self._trouble.works()

    async def _look(self, receiver: Receiver, wait: float) -> bool:
        """One receive. False if the link should be closed."""
        message = await self._receive_unless_leaving(receiver, wait)
        if message is None:
            return not self._node.leaving
        if self._node.leaving:
            await receiver.abandon(message)  # one message drains one node, and this one leaves anyway
            return False
        answer = judge_untargeted(message.body, job=self._job, accepting=self._node.pulling)
        targets = workers(self._root, topic=self._topic)
        await handle(receiver, message, answer, targets)
        return answer.act is not Act.LEAVE

    async def _receive_unless_leaving(self, receiver: Receiver, wait: float) -> Message | None:
        """Receive, but give up at once when the node turns to leave: another one is to get the next order."""
        return await _unless(self._until_leaving(), receiver.receive(wait))

    async def _until_leaving(self) -> None:
        while not self._node.leaving:
            await self._node.until_changed()

    async def _until_next_look(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY.total_seconds()):
                while self._node.leaving or not self._node.holds_receiver():
                    await self._node.until_changed()


async def _unless(turned: Coroutine[Any, Any, None], work: Coroutine[Any, Any, T]) -> T | None:
    """Do the work, but give it up at once when the node has turned; then None. What it raises is raised."""
    working, turning = asyncio.create_task(work), asyncio.create_task(turned)
    try:
        await asyncio.wait({working, turning}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, turning):
            task.cancel()
        await asyncio.gather(working, turning, return_exceptions=True)


class TargetedListener:
    """Takes orders from this job's session, for this job's workers. One agent per job does so, by a file lock.

    Args:
        bus: Where they come from.
        node: This worker.
        root: The folder of all workers' files on this node.
        job: This node's job, which is the session.
    """

    def __init__(self, bus: Bus, node: Node, root: Path, *, job: str) -> None:
        self._bus = bus
        self._node = node
        self._root = root
        self._job = job
        self._holder = HolderFile(root / "jobs" / f"{job}.lock")
        self._trouble = Trouble("session")
        self._looked = asyncio.Event()

    async def first_look(self) -> None:
        """Wait until the session has been looked at once, by this agent or by the one that holds it for the job.

        A session that a dead predecessor still holds is waited for as long as that can take; any other fault is given
        10 seconds, because work must not depend on the control channel.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_SECONDS):
                await self._looked.wait()
        if not self._looked.is_set() and self._trouble.busy:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_LOOK_BUSY_SECONDS - FIRST_LOOK_SECONDS):
                    await self._looked.wait()
        if not self._looked.is_set():
            _log.warning("work_without_first_look", job=self._job)

    async def run(self) -> None:
        """Listen until cancelled, but not while the node is being taken away.

        Who is killed with the session in hand keeps the job's next process, which must look at it first, from working
        until the session's lock has ended. Orders that come meanwhile are for that one.
        """
        while True:
            while self._node.braced:
                await self._node.until_changed()
            await _unless(self._until_braced(), self._listen_always())

    async def _until_braced(self) -> None:
        while not self._node.braced:
            await self._node.until_changed()

    async def _listen_always(self) -> None:
        try:
            while not self._holder.take():
                if self._holder.looked:
                    self._looked.set()
                await asyncio.sleep(HOLDER_POLL_SECONDS)
            while True:
                try:
                    async with self._bus.session(self._job) as receiver:
                        await self._listen(receiver)
                except BusError as error:
                    await asyncio.sleep(self._trouble.fault(error))
        finally:
            self._holder.release()

    async def _listen(self, receiver: SessionReceiver) -> None:
        revision = await receiver.revision()
        while await receiver.has_message():
            revision = await self._take(receiver, RECEIVE_SECONDS, revision)
        self._trouble.works()
        self._holder.mark_looked()
        if not self._looked.is_set():
            _log.info("control_first_look", job=self._job)
        self._looked.set()
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            revision = await self._take(receiver, RECEIVE_SECONDS, revision)
            if loop.time() - renewed >= RENEW_SECONDS:
                await receiver.renew()
                renewed = loop.time()

    async def _take(self, receiver: SessionReceiver, wait: float, known: int) -> int:
        """One receive. Returns the highest revision seen."""
        message = await receiver.receive(wait)
        if message is None:
            return known
        answer = judge_targeted(message.body, job=self._job, known_revision=known)
        if answer.order is not None and answer.act is Act.APPLY and answer.order.revision > known:
            await receiver.set_revision(answer.order.revision)
            known = answer.order.revision
        await handle(receiver, message, answer, workers(self._root, job=self._job))
        return known


async def handle(receiver: Receiver, message: Message, answer: Answer, targets: list[tuple[Path, Worker]]) -> None:
    """Do with a message what the answer says; an order signals only after its completion was confirmed."""
    match answer.act:
        case Act.REFUSE:
            _log.warning("order_refused", reason=answer.reason)
            await receiver.dead_letter(message, "refused", answer.reason)
        case Act.DROP:
            _log.info("order_dropped", reason=answer.reason)
            await receiver.complete(message)
        case Act.LEAVE:
            _log.info("order_left", reason=answer.reason)
            await receiver.abandon(message)
        case Act.APPLY:
            assert answer.order is not None  # an answer to apply has an order
            await _apply(receiver, message, answer.order, targets)


async def _apply(receiver: Receiver, message: Message, order: Order, targets: list[tuple[Path, Worker]]) -> None:
    written = write_intents(
        targets,
        operation=order.operation,
        mode=order.mode,
        id=order.id,
        revision=order.revision,
        deadline=order.deadline,
        on_deadline=order.on_deadline,
        traceparent=order.traceparent,
    )
    try:
        await receiver.complete(message)
    except BaseException:
        # Lost, or nobody knows: somebody else will get it, so it is not ours to follow.
        written.forget()
        raise
    sent = written.send()
    _log.info("order_followed", operation=order.operation.value, mode=order.mode.value, order=order.id, workers=sent)
    await _until_consumed(written)


async def _until_consumed(written: Written) -> None:
    """Let the workers take their intents before the next order comes, so that each signal has one."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CONSUME_SECONDS):
            while written.pending:  # noqa: ASYNC110 - files of other processes
                await asyncio.sleep(0.01)
