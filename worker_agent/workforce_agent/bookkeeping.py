"""What a worker keeps in mind: its slots, its drain, its counters and its timers. No decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from jobq.operations import Mode
from workforce_agent.execution import Execution


@dataclass(slots=True)
class Slot:
    """Room for one task."""

    number: int
    execution: Execution | None = None
    failures_in_a_row: int = 0


@dataclass(slots=True)
class Drain:
    """The drain that this worker follows, with what happened since it came."""

    id: str | None
    revision: int
    mode: Mode
    completed_before: int
    returned_before: int


@dataclass(slots=True)
class Counters:
    """What this worker has done."""

    completed: int = 0
    failed: int = 0
    returned: int = 0
    lost: int = 0
    malformed: int = 0


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
