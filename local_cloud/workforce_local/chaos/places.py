"""Refuses faults for regions and namespaces that a local Azure does not have: they would never strike. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from workforce_local.chaos.faults import Fault
from workforce_local.chaos.scenario import Scenario, ScenarioError
from workforce_local.config import LocalConfig


class Places:
    """The regions and the Service Bus namespaces of one local Azure."""

    def __init__(self, config: LocalConfig) -> None:
        regions = {space.location for space in config.workspaces}
        regions |= {cluster.location for cluster in config.virtual_clusters}
        regions |= {space.location for space in config.service_bus}
        self._known = {
            "region": sorted(regions),
            "namespace": sorted(each.name for each in config.service_bus),
        }

    def check(self, scenario: Scenario) -> None:
        """Refuse a scenario that names a place that there is not.

        Raises:
            ScenarioError: With the places that there are.
        """
        wrong = [
            f"the scenario: faults[{number}].{field}: there is no {kind} {given}, only {', '.join(known) or 'none'}"
            for number, fault in enumerate(scenario.faults)
            for field, kind, given in _named(fault)
            if given.lower() not in map(str.lower, known := self._known[kind])
        ]
        if wrong:
            raise ScenarioError("\n".join(wrong))


def _named(fault: Fault) -> Iterator[tuple[str, str, str]]:
    """The field, the kind and the name of each place in a fault."""
    where = getattr(fault, "where", None)
    if where is not None and where.region is not None:
        yield "where.region", "region", where.region
    for kind in ("region", "namespace"):
        given = getattr(fault, kind, None)
        if given is not None:
            yield kind, kind, given
