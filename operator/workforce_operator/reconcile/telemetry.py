"""What the loop tells about itself. The edge turns it into metrics; the loop knows no metrics library.

Kinds and results come from the enumerations here, never from names of regions or jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from enum import StrEnum
from typing import Protocol

from workforce_operator.api.status import WorkforceStatus
from workforce_operator.ports.kubernetes import Key


class PassResult(StrEnum):
    """How a pass over one Workforce ended."""

    OK = "ok"
    GONE = "gone"
    CONFLICT = "conflict"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    DENIED = "denied"
    FENCED = "fenced"
    BUG = "bug"


class Source(StrEnum):
    """What a pass reads."""

    REGION = "region"
    CAPACITY = "capacity"
    QUEUE = "queue"
    CONTROL = "control"


class ActionKind(StrEnum):
    """What was done."""

    HIRE = "hire"
    ORDER = "order"
    RECALL = "recall"
    CANCEL_PENDING = "cancel_pending"
    CANCEL = "cancel"
    RESUME = "resume"


class ActionResult(StrEnum):
    """How it went: done; not needed any more; failed; left for the next pass because others failed before it."""

    DONE = "done"
    NOT_NEEDED = "not_needed"
    FAILED = "failed"
    PUT_OFF = "put_off"


class LossCause(StrEnum):
    """Why a task that had run did not complete: its drained worker returned it, or the operator cancelled the job."""

    RETURNED = "returned"
    CANCELLED = "cancelled"


class Telemetry(Protocol):
    """Told about passes, readings and actions. Never raises, never waits."""

    def pass_ended(self, result: PassResult, seconds: float) -> None:
        """A pass over one Workforce has ended."""
        ...

    def read_failed(self, source: Source) -> None:
        """A reading was not possible in this pass."""
        ...

    def acted(self, kind: ActionKind, result: ActionResult) -> None:
        """An action of a plan was executed, or not."""
        ...

    def told(self, key: Key, status: WorkforceStatus | None) -> None:
        """The status of a Workforce after a pass; None = it is gone."""
        ...

    def lost(self, cause: LossCause, seconds: float) -> None:
        """Tasks that had run for so long in all did not complete, because workers were laid off."""
        ...


class Pulse:
    """Which passes are under way and since when: the liveness probe's question.

    A pass has a timeout, so that one which is older than that by far means that the loop is stuck.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._under_way: dict[Hashable, float] = {}
        self._last_end: float | None = None

    def begin(self, key: Hashable) -> float:
        """A pass over this key begins; returns the clock's time."""
        now = self._under_way[key] = self._clock()
        return now

    def end(self, key: Hashable) -> float:
        """The pass has ended, in whatever way; returns how long it took."""
        self._last_end = self._clock()
        return self._last_end - self._under_way.pop(key, self._last_end)

    def oldest_seconds(self) -> float:
        """Age of the oldest pass under way; 0 if there is none."""
        return self._clock() - min(self._under_way.values()) if self._under_way else 0.0

    def idle_seconds(self) -> float | None:
        """Time since a pass last ended, or None if none has."""
        return None if self._last_end is None else self._clock() - self._last_end
