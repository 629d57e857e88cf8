"""The control channels of one pass: one per Service Bus namespace, who listens there, and what is wrong with it. Pure.

Each is judged by itself: one that cannot be reached says nothing about the workers that listen elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workforce_operator.api.spec import Control
from workforce_operator.domain.desired import control_of
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import Observed, Unknown
from workforce_operator.domain.outcomes import Failure, why_unknown

_NAMED_REGIONS = 4


@dataclass(frozen=True, slots=True)
class Channel:
    """One namespace.

    Attributes:
        namespace: Its name; no two in the world have the same one.
        regions: The regions whose workers listen there.
        failure: Why orders cannot be sent, or None if they can.
    """

    namespace: str
    regions: tuple[str, ...]
    failure: Failure | None

    @property
    def text(self) -> str:
        """The namespace with its regions, for people."""
        more = len(self.regions) - _NAMED_REGIONS
        names = ", ".join(self.regions[:_NAMED_REGIONS]) + (f" and {more} more" if more > 0 else "")
        return f"{self.namespace} ({names})"


def channels(
    control: Control | None, ledger: Ledger, observed: Observed, unsent: Mapping[str, Failure]
) -> tuple[Channel, ...]:
    """All channels that somebody listens on, in the order of the regions.

    Args:
        control: ``spec.control``.
        ledger: Where the regions are.
        observed: What was read.
        unsent: Orders that could not be sent, by region.
    """
    listeners: dict[str, list[str]] = {}
    for name, region in ledger.regions.items():
        own = control_of(control, region.coordinates)
        if own is not None:
            listeners.setdefault(own.service_bus.namespace, []).append(name)
    return tuple(
        Channel(namespace, tuple(regions), _failure(regions, observed, unsent))
        for namespace, regions in listeners.items()
    )


def _failure(regions: list[str], observed: Observed, unsent: Mapping[str, Failure]) -> Failure | None:
    for name in regions:
        reading = observed.channel(name)
        if isinstance(reading, Unknown):
            return why_unknown(reading)
    return next((unsent[name] for name in regions if name in unsent), None)
