"""The one entry of all decisions: what to do about one Workforce, from what is wanted, observed and intended.

Pure: the same input gives the same plan, and planning again on the result of a plan does nothing.
"""

from __future__ import annotations

from workforce_operator.domain.actions import Plan
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import Observed


def plan(desired: Desired, observed: Observed, ledger: Ledger) -> Plan:
    """Decide one pass.

    Args:
        desired: What people want.
        observed: What was read, for every region of ``region_places(desired, ledger)``.
        ledger: What was intended before.

    Returns:
        The new ledger, to be written before anything else, and the actions that it announces.
    """
    return Plan(ledger=ledger, desired=desired.spec.replicas)
