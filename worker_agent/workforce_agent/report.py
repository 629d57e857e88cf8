"""Reports to the operator: what this worker is, does and did.

A report is a courtesy: it is queued without waiting, sent in the background, and dropped if it cannot be sent. Nothing
in the worker depends on one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from jobq.operations import Mode
from jobq.version import __version__

if TYPE_CHECKING:
    from jobq.control import Report, State

STATE_EVERY = timedelta(minutes=5)
STATE_AT_MOST_EVERY = timedelta(seconds=30)
STATE_FIRST_AFTER = timedelta(seconds=2)
"""Time to take the first tasks. Said before, "idle" would stand for half a minute of a worker that is busy."""
QUEUE_LENGTH = 100
BACKOFF_SECONDS = (1.0, 60.0)
ERROR_LINES = 50

_log = structlog.get_logger()


class ReportError(Exception):
    """A report could not be sent; the text says why."""


class Sender(Protocol):
    """A link to the reports queue."""

    async def send(self, body: str) -> None:
        """Send one report.

        Raises:
            ReportError: It was not sent, or nobody knows.
        """


OpenSender = Callable[[], AbstractAsyncContextManager[Sender]]


@dataclass(frozen=True, slots=True)
class Activity:
    """What a worker is doing now."""

    busy_slots: int
    oldest_task_start: datetime | None
    completed: int
    failed: int
    accepting: bool
    drain_id: str | None
    revision: int
    running_seconds: float | None = None
    last_checkpoint: datetime | None = None


def idle() -> Activity:
    """What a worker is doing that has not begun."""
    return Activity(0, None, completed=0, failed=0, accepting=False, drain_id=None, revision=0)


def state_due(now: datetime, began: datetime, sent: datetime | None, *, changed: bool) -> datetime:
    """When the next state report is to be sent, at the earliest now.

    Args:
        now: The time.
        began: When the worker started.
        sent: When it was last said; None = never.
        changed: Whether the worker became idle or busy, or took another order, since then.
    """
    if sent is None:
        return max(now, began + STATE_FIRST_AFTER)
    return max(now, sent + (STATE_AT_MOST_EVERY if changed else STATE_EVERY))


class Reporter:
    """Sends reports in the background; without a sender it does nothing.

    Args:
        job: This node's job; without one nobody could tell whose reports these are.
        open_sender: Opens the link.
        activity: What the worker is doing now.
        now: The clock.
    """

    def __init__(
        self,
        job: str | None,
        open_sender: OpenSender | None,
        activity: Callable[[], Activity],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._job = job or ""
        self._open_sender = open_sender if job else None
        self._activity = activity
        self._now = now
        self._queue: deque[Report] = deque(maxlen=QUEUE_LENGTH)
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._began = now()
        self._state_sent: datetime | None = None
        self._changed = False

    def hello(self, slots: int) -> None:
        """Say that the worker has started."""
        self._put("Hello", agent_version=__version__, slots=slots)

    def changed(self) -> None:
        """Say soon what the worker is doing now."""
        self._changed = True
        self._wake.set()

    def drain_accepted(self, drain_id: str, revision: int, mode: Mode) -> None:
        """Confirm a drain."""
        self._put("DrainAccepted", drain_id=drain_id, revision=revision, mode=mode)

    def drain_finished(self, drain_id: str, completed: int, returned: int, lost_seconds: float) -> None:
        """Say that a drained worker is about to exit, and how long the tasks had run that it returned."""
        self._put("DrainFinished", drain_id=drain_id, completed=completed, returned=returned, lost_seconds=lost_seconds)

    def exit(self, why: str, exit_code: int, error: list[str]) -> None:
        """Say that the worker ends."""
        lines = error if len(error) <= ERROR_LINES else [error[0], *error[1 - ERROR_LINES :]]
        self._put("Exit", why=why, exit_code=exit_code, error=lines)

    async def flush(self, timeout: float) -> None:
        """Wait until everything has been sent, but not for long."""
        if self._open_sender is None:
            return
        try:
            async with asyncio.timeout(timeout):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("reports_not_sent", count=len(self._queue))

    async def run(self) -> None:
        """Send what comes until cancelled; a fault is logged once, and tried again with back-off."""
        if self._open_sender is None:
            return
        backoff, trouble = BACKOFF_SECONDS[0], ""
        while True:
            try:
                async with self._open_sender() as sender:
                    while True:
                        await self._send_next(sender)
                        backoff, trouble = BACKOFF_SECONDS[0], ""
            except ReportError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    _log.warning("reports_unavailable", error=trouble)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, BACKOFF_SECONDS[1])

    async def _send_next(self, sender: Sender) -> None:
        report = await self._next()
        try:
            await sender.send(_control().encode_report(report))
        except ReportError:
            if not isinstance(report, _control().State):
                self._queue.appendleft(report)
            raise
        if not self._queue:
            self._empty.set()

    async def _next(self) -> Report:
        while not self._queue:
            now = self._now()
            due = state_due(now, self._began, self._state_sent, changed=self._changed)
            if due <= now:
                return self._state(now)
            self._wake.clear()
            try:
                async with asyncio.timeout((due - now).total_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                continue
        return self._queue.popleft()

    def _state(self, now: datetime) -> State:
        self._state_sent, self._changed = now, False
        activity = self._activity()
        state: State = _control().State(
            job=self._job,
            time=now,
            busy_slots=activity.busy_slots,
            oldest_task_start=activity.oldest_task_start,
            last_checkpoint=activity.last_checkpoint,
            completed=activity.completed,
            failed=activity.failed,
            accepting=activity.accepting,
            drain_id=activity.drain_id,
            revision=activity.revision,
            running_seconds=activity.running_seconds,
        )
        return state

    def _put(self, kind: str, **fields: Any) -> None:
        if self._open_sender is None:
            return
        self._queue.append(getattr(_control(), kind)(job=self._job, time=self._now(), **fields))
        self._empty.clear()
        self._wake.set()


def _control() -> ModuleType:
    """The models of reports: only who sends some pays for them."""
    from jobq import control  # noqa: PLC0415 - see above

    return control
