"""How a delivery is settled: what a run's end means for its message. Pure.

A run that was told to stop is returned whatever its exit code says: a program that catches SIGTERM, saves its state and
exits with 0 has not finished its work. A run that ended before it was told is judged by its exit code in every mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

RETRY_BASE = timedelta(seconds=2)
RETRY_LIMIT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Attributes:
        exit_code: Of the main process; negative for the signal that killed it; None if it could not be started.
        error: Why it could not be started.
        told_to_stop: Whether it was sent SIGTERM before it ended.
        lock_lost: Whether the message was lost while it ran.
        retriable: False if another attempt cannot end otherwise, such as for wrong arguments.
        node_fault: Whether it could not be started because this node is out of breath, which is no fault of the task's.
    """

    exit_code: int | None = None
    error: str | None = None
    told_to_stop: bool = False
    lock_lost: bool = False
    retriable: bool = True
    node_fault: bool = False


class Settlement(StrEnum):
    """What happens to the message."""

    COMPLETE = "complete"
    RETRY = "retry"
    DEAD_LETTER = "dead-letter"
    RETURN = "return"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How to settle, and after which delay a retry is visible."""

    settlement: Settlement
    delay: timedelta = timedelta(0)

    @property
    def failed(self) -> bool:
        """Whether it counts as a failure; what was returned or lost counts as neither success nor failure."""
        return self.settlement in {Settlement.RETRY, Settlement.DEAD_LETTER}

    @property
    def succeeded(self) -> bool:
        """Whether it counts as a success."""
        return self.settlement is Settlement.COMPLETE


def judge(ended: Ended, *, num_retries: int, attempts: int) -> Verdict:
    """Decide how to settle a delivery whose run has ended."""
    if ended.lock_lost:
        return Verdict(Settlement.FORGET)
    if ended.told_to_stop:
        return Verdict(Settlement.RETURN)
    if ended.node_fault:
        return Verdict(Settlement.RETURN, RETRY_BASE)
    if ended.exit_code == 0 and ended.error is None:
        return Verdict(Settlement.COMPLETE)
    if num_retries > 0 and ended.retriable:
        return Verdict(Settlement.RETRY, retry_delay(attempts))
    return Verdict(Settlement.DEAD_LETTER)


def retry_delay(attempts: int) -> timedelta:
    """How long a failed task waits: 2 s, doubled with each delivery that it has had, at most 5 minutes."""
    doublings = min(max(attempts - 1, 0), 16)
    return min(RETRY_BASE * (1 << doublings), RETRY_LIMIT)


def describe(ended: Ended) -> str:
    """Why a run failed, in words for a dead letter."""
    if ended.error is not None:
        return ended.error
    if ended.exit_code is not None and ended.exit_code < 0:
        return f"killed by signal {-ended.exit_code}"
    return f"exit code {ended.exit_code}"
