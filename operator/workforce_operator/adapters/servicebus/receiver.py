"""Reads the reports queue of one namespace for as long as the process leads.

Faults never end it: it opens everything anew after a pause that grows, and says so once per change. A report that
cannot be read is dead-lettered with the reason, so that it comes neither again nor to nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import structlog

from jobq.control import ControlError, decode_report
from workforce_operator.adapters.servicebus.errors import EXPECTED, error_of
from workforce_operator.adapters.servicebus.reports import Reports

BATCH = 100
WAIT_SECONDS = 30
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
CLOSE_SECONDS = 0.5
CLOSE_ATTEMPTS = 20
_REASON_LENGTH = 1024

_log = structlog.get_logger(__name__)


class Receiver(Protocol):
    """The part of an azure-servicebus receiver that is used here."""

    async def receive_messages(self, max_message_count: int, max_wait_time: float) -> list[Any]:
        """Messages under a lock."""
        ...

    async def complete_message(self, message: Any) -> None:
        """Done with it."""
        ...

    async def dead_letter_message(
        self, message: Any, reason: str | None = None, error_description: str | None = None
    ) -> None:
        """Never to be delivered again."""
        ...


class ReportReceiver:
    """One task that feeds ``Reports``."""

    def __init__(
        self, queue: str, reports: Reports, open_receiver: Callable[[], AbstractAsyncContextManager[Receiver]]
    ) -> None:
        self._queue = queue
        self._reports = reports
        self._open = open_receiver
        self._failing = False
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; a task that has ended is started anew."""
        self._closing = False
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"reports {self._queue}")

    async def close(self) -> None:
        """End, and wait for the end; but not for ever, whatever the SDK makes of being cancelled."""
        self._closing = True
        for _ in range(CLOSE_ATTEMPTS):
            if self._task is None or self._task.done():
                break
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        # Closing a link that is half open turns a cancellation into an error of the link: the flag is not lost.
        while not self._closing:
            try:
                async with self._open() as receiver:
                    while True:
                        await self._receive(receiver)
                        pause = FIRST_PAUSE
            except EXPECTED as error:
                self._tell_failure(error)
            # Half of it by chance, so that a restarted broker does not meet all operators at once.
            await asyncio.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - not for secrets
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _receive(self, receiver: Receiver) -> None:
        messages = await receiver.receive_messages(max_message_count=BATCH, max_wait_time=WAIT_SECONDS)
        if self._failing:
            self._failing = False
            _log.info("reports are read again", queue=self._queue)
        for message in messages:
            await self._take(receiver, message)

    async def _take(self, receiver: Receiver, message: Any) -> None:
        try:
            self._reports.add(decode_report(_text(message)))
        except ControlError as error:
            _log.warning("a report cannot be read", queue=self._queue, why=str(error))
            await receiver.dead_letter_message(
                message, reason="malformed-report", error_description=str(error)[:_REASON_LENGTH]
            )
        else:
            await receiver.complete_message(message)

    def _tell_failure(self, error: BaseException) -> None:
        if not self._failing:
            self._failing = True
            found = error_of(error, what=f"read reports from {self._queue}", scope=self._queue)
            _log.warning("reports are not read", queue=self._queue, kind=type(found).__name__, why=str(found))


def _text(message: Any) -> bytes:
    """The body of a message; whatever holds neither bytes nor text is not a report."""
    body = message.body
    if isinstance(body, str | bytes):
        return body.encode() if isinstance(body, str) else body
    try:
        return b"".join(body)
    except TypeError as error:
        raise ControlError("the report is not text") from error
