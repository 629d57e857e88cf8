"""What came of a plan's actions, in the words that the status needs. Only output: no decision is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workforce_operator.domain.errors import Denied, Missing, OperatorError, SpecError, reason_of


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that did not work. ``lasting`` = trying again later will not help by itself."""

    reason: str
    message: str
    lasting: bool = False

    @classmethod
    def of(cls, error: OperatorError) -> Failure:
        """The failure that an error stands for."""
        return cls(reason_of(error), str(error), isinstance(error, Denied | Missing | SpecError))


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Failures of one pass.

    Attributes:
        regions: The first failure of a write per region (hire, cancel).
        spec: The template was refused when it was resolved or submitted; only an edit helps.
        control: Orders could not be sent.
        refused: The first failure of a hire per region; the circuits are made of it.
        hired: Regions where a hire worked.
    """

    regions: Mapping[str, Failure] = field(default_factory=dict)
    spec: Failure | None = None
    control: Failure | None = None
    refused: Mapping[str, Failure] = field(default_factory=dict)
    hired: frozenset[str] = frozenset()
