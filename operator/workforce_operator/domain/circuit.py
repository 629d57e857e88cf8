"""A region's circuit: hires that fail open it, and one hire that works closes it again. Pure.

Open: nobody is hired here, and what is not hired yet moves to other regions. After a back-off it is half open: one
hire is tried, if one is wanted. It lives in the status, so that a restart forgets no outage and repeats no failures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from workforce_operator.domain.outcomes import Failure
from workforce_operator.domain.words import clock

OPENS_AFTER = 5
"""Passes in a row whose hires failed, if the failure may pass by itself; one that does not opens at once."""

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(minutes=30)
_MOST_DOUBLINGS = 10
_NOT_ITS_FAULT = frozenset({"Throttled", "NotLeading"})
"""Reasons that say nothing about the region: Azure asks the whole principal to wait, or we may not write."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """Failures of hires in one region, since the last one that worked.

    Attributes:
        failures: Passes in a row.
        changed: When it failed first, and once it is open, when it opened.
        retry_at: When one hire may be tried; None while it is closed.
        reason: CamelCase, of the last failure.
        message: The last failure, for people.
    """

    failures: int
    changed: datetime
    retry_at: datetime | None
    reason: str
    message: str

    def allowed(self, now: datetime) -> int | None:
        """How many hires may be tried now; None = any number."""
        if self.retry_at is None:
            return None
        return 1 if now >= self.retry_at else 0

    @property
    def is_open(self) -> bool:
        """Whether hiring has stopped here, but for one trial after the back-off."""
        return self.retry_at is not None

    def text(self, now: datetime) -> str:
        """For people."""
        if self.retry_at is None:
            return self.message
        when = "one hire is tried" if now >= self.retry_at else f"one hire is tried at {clock(self.retry_at)}"
        return f"{self.message} ({when})"


def after_pass(circuit: Circuit | None, refused: Failure | None, *, hired: bool, now: datetime) -> Circuit | None:
    """The circuit after a pass.

    Args:
        circuit: As it was; None = closed, and nothing has failed.
        refused: The first failure of a hire here, if any.
        hired: A hire has worked here.
        now: The time of the pass.
    """
    if refused is None or refused.reason in _NOT_ITS_FAULT:
        return None if hired else circuit
    # A hire that worked in the same pass shows that the region does take some: counting begins anew.
    failures = 1 if circuit is None or hired else circuit.failures + 1
    threshold = 1 if refused.lasting else OPENS_AFTER
    was_open = circuit is not None and circuit.retry_at is not None
    if failures < threshold and not was_open:
        return Circuit(failures, now if circuit is None else circuit.changed, None, refused.reason, refused.message)
    failures = max(failures, threshold)
    wait = min(LONGEST_WAIT, FIRST_WAIT * (1 << min(failures - threshold, _MOST_DOUBLINGS)))
    changed = circuit.changed if circuit is not None and was_open else now
    return Circuit(failures, changed, now + wait, refused.reason, refused.message)
