"""What an environment's label stands for: looked up once per template and region, and remembered in the ledger.

So a version that is registered later reaches no worker before the template changes, whatever restarts. Pure; the
looking up is the reconciler's, and is written before the hires that it is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from workforce_operator.api.template import Template
from workforce_operator.domain.actions import Hire, Note, Plan
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Ledger, Pin
from workforce_operator.domain.template import region_hash, region_template


def to_look_up(desired: Desired, plan: Plan) -> dict[str, str]:
    """Names of the environments whose label must be looked up before this plan's hires, by region."""
    hiring = sorted({action.region for action in plan.actions if isinstance(action, Hire)})
    found = {}
    for region in hiring:
        environment = region_template(desired.spec, region).environment
        if environment.label is not None and environment.name and _version(desired, plan.ledger, region) is None:
            found[region] = environment.name
    return found


def with_versions(desired: Desired, plan: Plan, versions: Mapping[str, str]) -> Plan:
    """The plan whose ledger remembers what was looked up, by region; people hear of it."""
    regions = dict(plan.ledger.regions)
    notes = []
    for region, version in versions.items():
        template = region_template(desired.spec, region)
        pin = Pin(region_hash(desired.spec, region), version)
        regions[region] = replace(regions[region], environment=pin)
        name = template.environment.name
        notes.append(Note("EnvironmentResolved", f"{region}: {name}@{template.environment.label} is version {version}"))
    if not versions:
        return plan
    return replace(plan, ledger=replace(plan.ledger, regions=regions), notes=(*plan.notes, *notes))


def pinned(desired: Desired, ledger: Ledger, region: str) -> Template:
    """The region's template, with the version that is remembered instead of a label."""
    template, version = region_template(desired.spec, region), _version(desired, ledger, region)
    if template.environment.label is None or version is None:
        return template
    environment = template.environment.model_copy(update={"label": None, "version": version})
    return template.model_copy(update={"environment": environment})


def _version(desired: Desired, ledger: Ledger, region: str) -> str | None:
    known = ledger.regions.get(region)
    pin = known.environment if known is not None else None
    return pin.version if pin is not None and pin.template_hash == region_hash(desired.spec, region) else None
