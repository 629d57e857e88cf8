"""The life of the operator process: start, lead or stand by, work, end.

====================  ==================================================================================
what happens          what follows
====================  ==================================================================================
start                 probes are served at once; nothing else is needed for ``/livez``
API server away       waits, says so once per change, goes on by itself
not elected           stands by: ready, but makes no pass
elected               reads its installation id, then works the queue
SIGTERM, SIGINT       no new pass; those under way may finish for a time; the lease is given back; exit 0
lease lost            exit 3 at once: requests on their way cannot be called back, only the process can end
a task of ours dies   exit 1: a process of which a part is missing must not pretend to be well
====================  ==================================================================================

It knows no vendor: everything is given to it by the composition root.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Protocol, TypeVar

import structlog

from workforce_operator.domain.errors import Fenced, OperatorError
from workforce_operator.edge.probes import Health
from workforce_operator.ports.kubernetes import Key, WorkforceStore
from workforce_operator.reconcile.loop import Loop, relist
from workforce_operator.reconcile.telemetry import Pulse
from workforce_operator.reconcile.work_queue import WorkQueue

log = structlog.stdlib.get_logger(__name__)
T = TypeVar("T")

RELIST_SECONDS = 300.0
RETRY_SECONDS = (1.0, 2.0, 5.0)
"""Pauses between attempts to reach the API server at the start; the last one repeats."""

STUCK_SECONDS = 60.0
"""A pass that is older than its own limit by this much is not alive: its timeout should have ended it."""


CANCEL_SECONDS = 5.0
"""Time that a task gets to clean up when it is cancelled."""


class ExitCode(IntEnum):
    """How the process ends."""

    STOPPED = 0
    BROKEN = 1
    SETTINGS = 2
    LEASE_LOST = 3


class State(StrEnum):
    """Where in its life the process is."""

    STARTING = "starting"
    STANDBY = "standing by"
    LEADING = "leading"
    STOPPING = "stopping"


class Leadership(Protocol):
    """The election among replicas."""

    async def acquire(self, standing_by: Callable[[], None]) -> None:
        """Wait until this process leads, whatever fails meanwhile; calls back once it has seen that another leads."""
        ...

    async def hold(self) -> None:
        """Keep leading; returns when the lease is lost, which includes that it could not be renewed in time."""
        ...

    async def release(self) -> None:
        """Give the lease back, if it is held, so that another replica need not wait. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the daemon runs.

    Attributes:
        installation: Reads or makes the installation id; raises ``OperatorError`` while it cannot.
        loop: Builds the loop once the installation id is known.
        informer: Wakes keys until it is cancelled.
        pass_seconds: The limit of one pass, for liveness.
        drain_seconds: Time that passes have to finish at the end.
        settled: Whether no hire can be on its way any more.
    """

    leadership: Leadership
    store: WorkforceStore
    queue: WorkQueue[Key]
    pulse: Pulse
    installation: Callable[[], Awaitable[str]]
    loop: Callable[[str], Loop]
    informer: Callable[[], Coroutine[Any, Any, None]]
    pass_seconds: float
    drain_seconds: float
    settled: Callable[[], bool]


class Daemon:
    """Runs the parts until the process is to end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stop = asyncio.Event()
        self.state = State.STARTING

    def stop(self) -> None:
        """Ask for the end. Idempotent."""
        self._stop.set()

    def handle_signals(self) -> None:
        """End in order at SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)

    async def run(self) -> ExitCode:
        """Live. Returns how the process is to end; the caller ends it."""
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        work = asyncio.create_task(self._lead(), name="lead")
        await asyncio.wait([stop, work], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            stop.cancel()
            return self._broken(work)
        log.info("asked to end")
        self.state = State.STOPPING
        await self._end(work)
        return ExitCode.STOPPED

    def alive(self) -> Health:
        """Whether the loop turns."""
        oldest, idle = self._parts.pulse.oldest_seconds(), self._parts.pulse.idle_seconds()
        if oldest > self._parts.pass_seconds + STUCK_SECONDS:
            return Health(ok=False, text=f"a pass has been under way for {oldest:.0f} s")
        last = "no pass has been made yet" if idle is None else f"a pass ended {idle:.0f} s ago"
        return Health(ok=True, text=f"{self.state.value}; {last}")

    def ready(self) -> Health:
        """Whether this replica leads or stands by."""
        return Health(ok=self.state in {State.LEADING, State.STANDBY}, text=self.state.value)

    async def _lead(self) -> ExitCode:
        await self._parts.leadership.acquire(self._stand_by)
        hold = asyncio.create_task(self._parts.leadership.hold(), name="hold the lease")
        work = asyncio.create_task(self._work(), name="work")
        try:
            await asyncio.wait([hold, work], return_when=asyncio.FIRST_COMPLETED)
            if hold.done():
                hold.result()
                return ExitCode.LEASE_LOST
            work.result()
            return ExitCode.STOPPED
        finally:
            # The passes first: they write, and whoever writes must hold the lease.
            await _cancel(work)
            await _cancel(hold)

    def _stand_by(self) -> None:
        if self.state is State.STARTING:
            self.state = State.STANDBY
            log.info("standing by: another replica leads")

    async def _work(self) -> None:
        """Everything that only the leader does."""
        parts = self._parts
        installation_id = await _patiently("installation id", parts.installation)
        # The first list tells whether the resource definition exists; the informer cannot start without it.
        for key in await _patiently("workforces", parts.store.list_keys):
            parts.queue.add(key)
        if self.state is not State.STOPPING:
            self.state = State.LEADING
        log.info("leading", installation_id=installation_id)
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(parts.informer(), name="informer"),
                group.create_task(relist(parts.store, parts.queue, seconds=RELIST_SECONDS), name="relist"),
            ]
            group.create_task(_then_cancel(parts.loop(installation_id).run(), helpers), name="passes")

    async def _end(self, work: asyncio.Task[ExitCode]) -> None:
        """The ladder: no new pass, wait for those under way, break them off, give the lease back if it may be."""
        self._parts.queue.close()
        if self._parts.pulse.oldest_seconds() > 0:
            await asyncio.wait([work], timeout=self._parts.drain_seconds)
        await _cancel(work)
        if self._parts.settled():
            await self._parts.leadership.release()
        else:
            # Who finds it given back waits for nothing.
            log.warning("the lease is left to run out, because hires may still be on their way")

    def _broken(self, work: asyncio.Task[ExitCode]) -> ExitCode:
        error = work.exception()
        if error is not None:
            if _fenced(error):
                return ExitCode.LEASE_LOST
            log.error("a part of the operator failed", exc_info=error)
            return ExitCode.BROKEN
        return work.result()


async def _patiently(what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Try until it works; says why it waits, once per change."""
    told: str | None = None
    number = 0
    while True:
        try:
            result = await attempt()
        except Fenced:
            raise
        except OperatorError as error:
            if str(error) != told:
                told = str(error)
                log.warning("waiting for Kubernetes", wanted=what, reason=told)
            await asyncio.sleep(RETRY_SECONDS[min(number, len(RETRY_SECONDS) - 1)])
            number += 1
        else:
            if told is not None:
                log.info("Kubernetes answers again", wanted=what)
            return result


async def _then_cancel(work: Coroutine[Any, Any, None], others: list[asyncio.Task[None]]) -> None:
    """When the work has ended, nobody needs the others any more."""
    await work
    for task in others:
        task.cancel()


async def _cancel(task: asyncio.Task[Any]) -> None:
    """Cancel and wait for the end, whatever it is; what does not let itself be cancelled dies with the process."""
    task.cancel()
    await asyncio.wait([task], timeout=CANCEL_SECONDS)
    with suppress(asyncio.CancelledError, asyncio.InvalidStateError):
        # Looked at, so that asyncio does not complain about an exception that nobody has seen.
        task.exception()


def _fenced(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_fenced(each) for each in error.exceptions)
    return isinstance(error, Fenced)
