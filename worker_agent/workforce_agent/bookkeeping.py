"""What a worker keeps in mind: its slots, its drain, its counters and its timers. No decisions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from workforce_agent.execution import Execution
from workforce_agent.lifecycle import State, Stop
from workforce_agent.pid_file import Intent
from workforce_agent.sample import Sample

HURRY_SECONDS = 10.0
"""From SIGTERM to SIGKILL when a task is told to stop once more."""
NEXT_FIRST_SECONDS = 0.02
"""How long the settlement of a task that is over waits for the answer to the request for the next one: it then happens
while that one runs. A service that answers later has much to do beside this worker, or nothing to give."""


@dataclass(slots=True)
class Slot:
    """Room for one task."""

    number: int
    execution: Execution | None = None
    failures_in_a_row: int = 0

    def stop(self, how: Stop, kill_timeout: timedelta | None) -> None:
        """Do to the task that runs here, if there is one, what the lifecycle says."""
        if self.execution is None:
            return
        match how:
            case Stop.NOTHING:
                pass
            case Stop.TERMINATE:
                self.execution.terminate(kill_timeout.total_seconds() if kill_timeout else None)
            case Stop.HURRY:
                self.execution.terminate(HURRY_SECONDS)
            case Stop.KILL:
                self.execution.kill()


@dataclass(slots=True)
class Drain:
    """The drain that this worker follows, with what it had done before that came."""

    intent: Intent
    before: Counters
    begun: float = field(default_factory=time.monotonic)

    def done(self, now: Counters) -> Counters:
        """What happened since it came."""
        old = asdict(self.before)
        return Counters(**{name: value - old[name] for name, value in asdict(now).items()})


@dataclass(slots=True)
class Counters:
    """What this worker has done."""

    completed: int = 0
    failed: int = 0
    returned: int = 0
    returned_seconds: float = 0.0
    lost: int = 0
    malformed: int = 0


def take_sample(state: State, slots: Sequence[Slot], counters: Counters, queue_size: int | None) -> Sample:
    """What a worker is doing now. May be called from any thread."""
    executions = [execution for slot in slots if (execution := slot.execution) is not None]
    return Sample(
        mode=state.mode.value,
        accepting=state.accepting,
        slots=len(slots),
        busy=len(executions),
        completed=counters.completed,
        failed=counters.failed,
        returned=counters.returned,
        lost=counters.lost,
        malformed=counters.malformed,
        next_renewal=min((execution.renewal_in for execution in executions), default=None),
        queue_size=queue_size,
    )


class Asking:
    """A request for the next tasks: a context manager for its time, and what lets it go before a settlement."""

    def __init__(self) -> None:
        self._answered = asyncio.Event()
        self._answered.set()

    def __enter__(self) -> None:
        self._answered.clear()

    def __exit__(self, *_: object) -> None:
        self._answered.set()

    async def let_the_next_go_first(self) -> None:
        """Wait a moment for the puller, which has just heard of a free slot."""
        await asyncio.sleep(0)  # it asks now
        with suppress(TimeoutError):
            async with asyncio.timeout(NEXT_FIRST_SECONDS):
                await self._answered.wait()
        await asyncio.sleep(0)  # and starts what has come


@dataclass(slots=True)
class Timers:
    """Timers that are running; a new one of the same name replaces the old."""

    running: dict[str, asyncio.TimerHandle] = field(default_factory=dict)

    def start(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        """Call after some seconds."""
        self.stop(name)
        self.running[name] = asyncio.get_running_loop().call_later(max(0.0, seconds), call)

    def stop(self, name: str) -> None:
        """Forget a timer, if there is one."""
        if handle := self.running.pop(name, None):
            handle.cancel()

    def stop_all(self) -> None:
        """Forget all of them."""
        for name in list(self.running):
            self.stop(name)
