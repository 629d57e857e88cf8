"""When a container that ended is started again.

Pure. Invariant: the first restart is immediate, each further one waits twice as long, and a long run is forgiven.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 300.0
FORGIVEN_AFTER = 600.0


@dataclass
class Backoff:
    """The restarts of one container."""

    first: float = 10.0
    """Seconds before the second restart in a row."""
    _next: float = 0.0

    def after(self, ran_for: float) -> float:
        """Seconds to wait, after a run of so many seconds."""
        pause = 0.0 if ran_for >= FORGIVEN_AFTER else self._next
        self._next = min(max(2 * pause, self.first), LONGEST)
        return pause


def restarts(policy: str, exit_code: int) -> bool:
    """Whether the restart policy starts a container again that ended with this exit code."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)
