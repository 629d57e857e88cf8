"""What a worker is doing, for whoever looks at it from outside: a value to be read at any time, from any thread."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """A worker at a moment.

    Attributes:
        mode: What it is up to.
        accepting: Whether it takes new tasks.
        slots: Room for tasks.
        busy: Slots in use.
        completed: Tasks that succeeded, since the start; so are the following.
        failed: Tasks that failed, each attempt counted.
        returned: Tasks that went back to the queue without a failure.
        lost: Tasks whose lock was lost, or that could not be settled.
        malformed: Messages that were no task.
        queue_size: Messages of the queue at the last look, those that workers have included; None if unknown.
        next_renewal: Seconds until the next lock is renewed; None if no task runs.
    """

    mode: str
    accepting: bool
    slots: int
    busy: int
    completed: int
    failed: int
    returned: int
    lost: int
    malformed: int
    next_renewal: float | None
    queue_size: int | None

    @property
    def outcomes(self) -> dict[str, int]:
        """How many messages ended how."""
        return {
            "completed": self.completed,
            "failed": self.failed,
            "returned": self.returned,
            "lost": self.lost,
            "malformed": self.malformed,
        }
