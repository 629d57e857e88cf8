"""Starts the parts of the local cloud in order, watches them, and ends all of them whatever happens.

It knows nothing of Kubernetes or Azure: a part is a `Component`. It restarts nothing: a part that dies unexpectedly
ends the local cloud with a line that names its log, because a cloud that heals itself would hide faults from tests.

| what happens | then |
|---|---|
| SIGINT, SIGTERM or SIGHUP | parts are stopped in the reverse order of their start |
| the same once more | whatever is left is killed at once |
| a part does not start, or dies | as above, with exit code 1 |
| the supervisor is killed | guarded parts get SIGTERM from the kernel; the next start ends the rest by its tag |

Invariant: when `run` has returned, no process with the tag of this state folder is left.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from workforce_local.processes import STATE_VARIABLE, Identity, end, tagged
from workforce_local.state import Phase, Process, Record, StateFolder

LEFTOVER_GRACE_SECONDS = 10.0
"""How long processes of an earlier supervisor may take to end by themselves."""
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class PartError(RuntimeError):
    """A part did not start or did not stay. The message names it and its log file."""


@dataclass(frozen=True)
class Started:
    """What a part has brought up."""

    processes: tuple[Process, ...]
    exports: Mapping[str, str] = field(default_factory=dict)
    path_folders: tuple[Path, ...] = ()


class Component(Protocol):
    """One part of the local cloud."""

    @property
    def name(self) -> str:
        """One word, for people."""

    async def start(self) -> Started:
        """Start it and return when it can be used. Called from the main thread, once; may be cancelled."""

    async def stop(self) -> None:
        """End it, its children included. Also after a start that failed or was cancelled."""


class Reporter(Protocol):
    """Tells people how it goes."""

    def starting(self, name: str) -> None:
        """A part is being started."""

    def started(self, name: str, started: Started, seconds: float) -> None:
        """A part can be used."""

    def ready(self, record: Record, seconds: float) -> None:
        """All parts can be used."""

    def stopping(self, reason: str) -> None:
        """All parts are being ended."""

    def note(self, text: str) -> None:
        """Anything else worth a line."""


@dataclass(frozen=True)
class Ending:
    """Why the local cloud ended."""

    reason: str
    failed: bool

    @property
    def exit_code(self) -> int:
        """For the process that supervised."""
        return 1 if self.failed else 0


def clean_up(folder: StateFolder, *, grace: float = LEFTOVER_GRACE_SECONDS) -> tuple[int, list[Identity]]:
    """End what an earlier supervisor left: recorded processes that are still the same, and all that carry the tag.

    The caller holds the lock, or knows otherwise that no supervisor lives.

    Returns:
        How many were found, and those that could not be ended.
    """
    record = folder.read()
    recorded = [process.identity for process in record.processes] if record else []
    leftovers = {identity for identity in (*recorded, *tagged(folder.root)) if identity.alive}
    survivors = end(leftovers, grace=grace)
    # A process may have started another one while it was being ended.
    survivors += end(set(tagged(folder.root)) - set(survivors), grace=0)
    return len(leftovers), survivors


class Supervisor:
    """One run of the local cloud.

    Args:
        folder: State folder, its lock held by this process.
        stages: Parts in the order of their start; those of one stage start side by side.
        reporter: Who tells people.
    """

    def __init__(self, folder: StateFolder, stages: Sequence[Sequence[Component]], reporter: Reporter) -> None:
        self._folder = folder
        self._stages = stages
        self._reporter = reporter
        self._begun: list[Component] = []
        self._record = Record(supervisor=Identity.myself())
        self._signals = 0
        self._asked = asyncio.Event()
        self._hurried = asyncio.Event()
        self._died: asyncio.Future[Process] | None = None
        self._watches = ExitStack()

    async def run(self) -> Ending:
        """Start, watch, stop. Returns when nothing of it is left."""
        os.environ[STATE_VARIABLE] = str(self._folder.root)
        loop = asyncio.get_running_loop()
        self._died = loop.create_future()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        try:
            ending = await self._until_ending()
            self._reporter.stopping(ending.reason)
            self._update(phase=Phase.STOPPING, reason=ending.reason)
            await self._stop_all()
            self._update(phase=Phase.STOPPED)
            return ending
        finally:
            self._watches.close()
            for number in _STOP_SIGNALS:
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        self._signals += 1
        (self._asked if self._signals == 1 else self._hurried).set()

    def _update(self, **changes: Any) -> None:
        self._record = replace(self._record, **changes)
        self._folder.write(self._record)

    async def _until_ending(self) -> Ending:
        assert self._died is not None
        began = time.monotonic()
        self._update()
        starting = asyncio.create_task(self._start_all(), name="start")
        asked = asyncio.create_task(self._asked.wait(), name="asked to stop")
        try:
            events: set[asyncio.Future[Any]] = {starting, asked, self._died}
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and (error := starting.exception()) is not None:
                return Ending(str(error), failed=True)
            if starting.done():
                # In this order: who waits for the record, as `up --detach` does, finds all of it said.
                self._reporter.ready(self._record, time.monotonic() - began)
                self._update(phase=Phase.READY)
                await asyncio.wait(events - {starting}, return_when=asyncio.FIRST_COMPLETED)
            if self._died.done():
                process = self._died.result()
                return Ending(f"{process.name} ended unexpectedly; its log: {process.log}", failed=True)
            return Ending("asked to stop", failed=not starting.done())
        finally:
            for task in (starting, asked):
                task.cancel()
            await asyncio.gather(starting, asked, return_exceptions=True)

    async def _start_all(self) -> None:
        for stage in self._stages:
            tasks = [asyncio.create_task(self._start(part), name=f"start {part.name}") for part in stage]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self, part: Component) -> None:
        began = time.monotonic()
        self._reporter.starting(part.name)
        self._begun.append(part)
        try:
            started = await part.start()
        except Exception as error:
            # Whatever a part's start may raise, the others must be ended and people must read which part it was.
            raise PartError(f"{part.name} did not start: {error}") from error
        self._update(
            processes=(*self._record.processes, *started.processes),
            exports={**self._record.exports, **started.exports},
            path_folders=(*self._record.path_folders, *started.path_folders),
        )
        for process in started.processes:
            self._watch(process)
        self._reporter.started(part.name, started, time.monotonic() - began)

    def _watch(self, process: Process) -> None:
        """Notice the end of a process, whoever its parent is."""
        descriptor = process.identity.open()
        if descriptor is None:
            self._on_death(process)
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, self._on_death, process)
        self._watches.callback(os.close, descriptor)
        self._watches.callback(loop.remove_reader, descriptor)

    def _on_death(self, process: Process) -> None:
        assert self._died is not None
        if not self._died.done():
            self._died.set_result(process)

    async def _stop_all(self) -> None:
        self._watches.close()
        stopping = asyncio.create_task(self._stop_parts(), name="stop")
        hurried = asyncio.create_task(self._hurried.wait(), name="asked again")
        await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, hurried):
            task.cancel()
        await asyncio.gather(stopping, hurried, return_exceptions=True)
        grace = 0.0 if self._hurried.is_set() else LEFTOVER_GRACE_SECONDS
        found, survivors = await asyncio.to_thread(clean_up, self._folder, grace=grace)
        if found and not self._hurried.is_set():
            self._reporter.note(f"ended processes that their parts had left: {found}")
        if survivors:
            self._reporter.note(f"could not end: {_pids(survivors)}")

    async def _stop_parts(self) -> None:
        for part in reversed(self._begun):
            try:
                await part.stop()
            except Exception as error:
                # The remaining parts must be ended whatever one of them does.
                self._reporter.note(f"{part.name} did not stop well: {error}")


def _pids(identities: Iterable[Identity]) -> str:
    return ", ".join(str(identity.pid) for identity in identities)


def supervise(
    folder: StateFolder, compose: Callable[[], Sequence[Sequence[Component]]], reporter: Reporter
) -> Ending | None:
    """Clean up, then run the local cloud until it ends.

    Returns:
        Why it ended; None if another supervisor runs in this state folder already.
    """
    folder.create()
    if not folder.acquire(patience=1.0):
        return None
    try:
        found, survivors = clean_up(folder)
        if found:
            reporter.note(f"ended processes that an earlier run had left: {found}")
        if survivors:
            return Ending(f"processes of an earlier run cannot be ended: {_pids(survivors)}", failed=True)

        async def run() -> Ending:
            return await Supervisor(folder, compose(), reporter).run()

        return asyncio.run(run())
    finally:
        folder.release()
