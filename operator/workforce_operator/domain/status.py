"""The status that people and programs read, from what was wanted, observed, decided and done. Pure.

It holds no time that changes at every pass, so that an unchanged world gives an equal status and no write.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.actions import Plan
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import write_ledger
from workforce_operator.domain.observed import Observed
from workforce_operator.domain.outcomes import Failure, Outcomes

COUNTS_EVERY = timedelta(seconds=30)
"""A status in which only numbers differ is not written more often than this."""


def announce(desired: Desired, plan: Plan, previous: WorkforceStatus, now: datetime) -> WorkforceStatus:
    """The status to write before the plan's actions: the previous one with the plan's ledger."""
    return write_ledger(previous, plan.ledger).model_copy(update={"installation_id": desired.installation_id})


def build_status(
    desired: Desired, observed: Observed, plan: Plan, outcomes: Outcomes, previous: WorkforceStatus
) -> WorkforceStatus:
    """The status at the end of a pass."""
    return announce(desired, plan, previous, observed.now)


def refused_status(generation: int, failure: Failure, previous: WorkforceStatus, now: datetime) -> WorkforceStatus:
    """The status of an object whose spec cannot be worked with: nothing is done, and the conditions say why."""
    return previous.model_copy(update={"observed_generation": generation})


def worth_writing(old: WorkforceStatus, new: WorkforceStatus, now: datetime, last_written: datetime | None) -> bool:
    """Whether a status is to be written: at once if it says something new, numbers alone at most every 30 s."""
    return old != new and (last_written is None or now - last_written >= COUNTS_EVERY)
