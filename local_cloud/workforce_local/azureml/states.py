"""The life cycle of a command job: which status may follow which, and how a job ends.

Pure. It knows neither time nor processes. Invariant: a terminal status is never left.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """The statuses of `Microsoft.MachineLearningServices` jobs; no job here is ever really `Unknown`."""

    NOT_STARTED = "NotStarted"
    STARTING = "Starting"
    PROVISIONING = "Provisioning"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    RUNNING = "Running"
    FINALIZING = "Finalizing"
    CANCEL_REQUESTED = "CancelRequested"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"
    NOT_RESPONDING = "NotResponding"
    PAUSED = "Paused"
    UNKNOWN = "Unknown"


class Interruption(StrEnum):
    """Why a running job stops running without having ended."""

    PREEMPTED = "preempted"
    LOST = "lost"
    PAUSED = "paused"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED})
CANCELLABLE = frozenset(
    {
        Status.NOT_STARTED, Status.STARTING, Status.PROVISIONING, Status.PREPARING, Status.QUEUED, Status.RUNNING,
        Status.NOT_RESPONDING, Status.PAUSED,
    }
)  # fmt: skip
_ALWAYS = frozenset({Status.CANCEL_REQUESTED, Status.FAILED})

FOLLOWS: Mapping[Status, frozenset[Status]] = {
    Status.NOT_STARTED: _ALWAYS | {Status.STARTING},
    Status.STARTING: _ALWAYS | {Status.PROVISIONING, Status.PREPARING},
    Status.PROVISIONING: _ALWAYS | {Status.PREPARING},
    Status.PREPARING: _ALWAYS | {Status.QUEUED},
    Status.QUEUED: _ALWAYS | {Status.RUNNING},
    Status.RUNNING: _ALWAYS | {Status.FINALIZING, Status.QUEUED, Status.NOT_RESPONDING, Status.PAUSED},
    Status.NOT_RESPONDING: _ALWAYS | {Status.QUEUED},
    Status.PAUSED: _ALWAYS | {Status.QUEUED},
    Status.FINALIZING: frozenset({Status.COMPLETED, Status.FAILED}),
    Status.CANCEL_REQUESTED: frozenset({Status.CANCELED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
    Status.UNKNOWN: frozenset(),
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
