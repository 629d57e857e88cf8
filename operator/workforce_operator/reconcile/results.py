"""What came of a plan's actions, in the words of the ledger and of the status. Decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from workforce_operator.domain.actions import CancelPending, Hire, Note, Plan
from workforce_operator.domain.errors import OF_REGION, SpecError
from workforce_operator.domain.outcomes import Failure, Outcomes
from workforce_operator.domain.waves import withdrawn
from workforce_operator.domain.words import counted
from workforce_operator.reconcile.execute import TIME_USED_UP, Done, surely_unsent
from workforce_operator.reconcile.telemetry import ActionResult


def without_unsent(plan: Plan, done: Sequence[Done]) -> Plan:
    """The plan with a ledger that does not count on messages which were surely not sent."""
    regions = dict(plan.ledger.regions)
    for (name, wave), number in surely_unsent(done).items():
        regions[name] = replace(regions[name], waves=withdrawn(regions[name].waves, wave, number))
    return replace(plan, ledger=replace(plan.ledger, regions=regions))


def outcomes_of(done: Sequence[Done]) -> Outcomes:
    """The failures of a pass, sorted by what they say something about: the template, the control channel, a region."""
    regions: dict[str, Failure] = {}
    refused: dict[str, Failure] = {}
    spec: Failure | None = None
    control: dict[str, Failure] = {}
    for each in done:
        if each.error is None:
            continue
        failure = Failure.of(each.error)
        if each.of_control:
            control.setdefault(each.action.region, failure)
        elif isinstance(each.error, SpecError) and each.error.reason not in OF_REGION:
            spec = spec or failure
        else:
            regions.setdefault(each.action.region, failure)
            if isinstance(each.action, Hire):
                refused.setdefault(each.action.region, failure)
    hired = frozenset(
        each.action.region for each in done if isinstance(each.action, Hire) and each.result is ActionResult.DONE
    )
    return Outcomes(regions=regions, spec=spec, control=control, refused=refused, hired=hired)


def notes_of(done: Sequence[Done]) -> tuple[Note, ...]:
    """What people should hear of that only doing has shown: who cannot be resumed any more."""
    used_up = Counter(
        each.action.region
        for each in done
        if isinstance(each.action, CancelPending) and each.action.reason == TIME_USED_UP
    )
    return tuple(
        Note(TIME_USED_UP, f"{region}: cancelling {counted(number, 'paused job')}: no execution time is left")
        for region, number in used_up.items()
    )
