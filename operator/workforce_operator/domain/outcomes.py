"""What came of a plan's actions, in the words that the status needs. Only output: no decision is made from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workforce_operator.domain.errors import Denied, Missing, OperatorError, SpecError, reason_of
from workforce_operator.domain.observed import Known, Unknown

_REASON = re.compile(r"^[A-Z][A-Za-z0-9]*$")


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
        control: The first failure to send an order, per region.
        refused: The first failure of a hire per region; the circuits are made of it.
        hired: Regions where a hire worked.
    """

    regions: Mapping[str, Failure] = field(default_factory=dict)
    spec: Failure | None = None
    control: Mapping[str, Failure] = field(default_factory=dict)
    refused: Mapping[str, Failure] = field(default_factory=dict)
    hired: frozenset[str] = frozenset()


def why_unknown(reading: Known[Any] | Unknown | None) -> Failure:
    """Reason and message of a reading that is not known."""
    if not isinstance(reading, Unknown):
        return Failure("NotRead", "it was not read")
    if _REASON.match(reading.reason):
        return Failure(reading.reason, reading.message or reading.reason)
    return Failure("Unavailable", reading.message or reading.reason)
