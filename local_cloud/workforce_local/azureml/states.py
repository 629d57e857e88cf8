"""The life cycle of a command job: which status may follow which, and how a job ends.

Pure. It knows neither time nor processes. Invariant: a terminal status is never left.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """Statuses of `Microsoft.MachineLearningServices` jobs that this service uses."""

    STARTING = "Starting"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    RUNNING = "Running"
    FINALIZING = "Finalizing"
    CANCEL_REQUESTED = "CancelRequested"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED})
CANCELLABLE = frozenset({Status.STARTING, Status.PREPARING, Status.QUEUED, Status.RUNNING})

FOLLOWS: Mapping[Status, frozenset[Status]] = {
    Status.STARTING: frozenset({Status.PREPARING, Status.CANCEL_REQUESTED, Status.FAILED}),
    Status.PREPARING: frozenset({Status.QUEUED, Status.CANCEL_REQUESTED, Status.FAILED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCEL_REQUESTED, Status.FAILED}),
    Status.RUNNING: frozenset({Status.FINALIZING, Status.QUEUED, Status.CANCEL_REQUESTED, Status.FAILED}),
    Status.FINALIZING: frozenset({Status.COMPLETED, Status.FAILED}),
    Status.CANCEL_REQUESTED: frozenset({Status.CANCELED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
}
"""What may come next. Running goes back to Queued when its node is taken away."""


class IllegalTransitionError(RuntimeError):
    """A step that no job makes: a mistake in this service."""


def advance(current: Status, target: Status) -> Status:
    """The target, if it may follow the current status.

    Raises:
        IllegalTransitionError: It may not.
    """
    if target not in FOLLOWS[current]:
        raise IllegalTransitionError(f"a job does not go from {current} to {target}")
    return target


def outcome(exit_code: int) -> Status:
    """How a job ends whose process ended by itself."""
    return Status.COMPLETED if exit_code == 0 else Status.FAILED
