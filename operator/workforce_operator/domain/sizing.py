"""How many replicas one Workforce wants in this pass: ``scaling.decide`` with what the pass knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workforce_operator.api.status import ScaleDecision
from workforce_operator.domain.counting import Count
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import Observed, ScalingHistory, Unknown
from workforce_operator.domain.scaling.backlog import fleet
from workforce_operator.domain.scaling.decide import Input, decide


@dataclass(frozen=True, slots=True)
class Size:
    """Replicas wanted, how that came about, and what the next pass is to be told of it."""

    wanted: int
    decision: ScaleDecision | None
    history: ScalingHistory | None


def size(desired: Desired, observed: Observed, ledger: Ledger, counts: Mapping[str, Count]) -> Size:
    """Decide. A Workforce that is being deleted wants nobody, whatever was decided last.

    Args:
        desired: What people want.
        observed: What was read.
        ledger: What was intended, for every region of the spec and of before.
        counts: The jobs of every region that could be read.
    """
    if desired.deleting:
        return Size(0, ledger.decision, observed.history)
    most = {region.name: region.max_replicas for region in desired.spec.regions}
    given = Input(
        queue=observed.queue,
        fleet=fleet(counts, ledger, most),
        previous=ledger.decision,
        history=observed.history,
        now=observed.now,
    )
    scaled = decide(desired.spec, given)
    if desired.spec.autoscaling and ledger.decision is None and isinstance(observed.queue, Unknown):
        # Nothing was ever decided, as far as is known: who is seen alive is held. That is more when more can be seen,
        # so that it is not remembered as if somebody had asked for it.
        return Size(scaled.decision.desired, None, observed.history)
    return Size(scaled.decision.desired, scaled.decision, scaled.history)


def arithmetic(decision: ScaleDecision) -> str:
    """How autoscaling came to its number, for people: the policy's arithmetic, then all that changed it, in order."""
    return decision.message + "".join(f", {clamp.name}: {clamp.before} → {clamp.to}" for clamp in decision.clamps)
