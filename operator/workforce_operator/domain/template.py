"""The template of one region: what the Workforce says, with what the region has otherwise. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from workforce_operator.api.spec import WorkforceSpec
from workforce_operator.api.template import EnvironmentVariable, Overrides, Resources, Template
from workforce_operator.domain.template_hash import template_hash


def region_template(spec: WorkforceSpec, region: str) -> Template:
    """The template of a region's jobs; a region that the spec does not have hires nobody, and has the common one."""
    for each in spec.regions:
        if each.name == region and each.overrides is not None:
            return merged(spec.template, each.overrides)
    return spec.template


def region_hash(spec: WorkforceSpec, region: str) -> str:
    """Hash that a region's jobs carry."""
    return template_hash(region_template(spec, region), spec.queue)


def region_hashes(spec: WorkforceSpec, regions: Iterable[str]) -> dict[str, str]:
    """Hashes of many regions; most of them have the common template, whose hash is made once."""
    common = template_hash(spec.template, spec.queue)
    own = {each.name: region_hash(spec, each.name) for each in spec.regions if each.overrides is not None}
    return {region: own.get(region, common) for region in regions}


def merged(template: Template, overrides: Overrides) -> Template:
    """The template with the overrides: variables and outputs by name, resources by field, the rest as a whole."""
    return template.model_copy(
        update={
            "environment": overrides.environment or template.environment,
            "identity": overrides.identity or template.identity,
            "environment_variables": _variables(template.environment_variables, overrides.environment_variables),
            "outputs": template.outputs | overrides.outputs,
            "resources": _resources(template.resources, overrides.resources),
        }
    )


def _variables(base: Iterable[EnvironmentVariable], own: Iterable[EnvironmentVariable]) -> list[EnvironmentVariable]:
    return list(({each.name: each for each in base} | {each.name: each for each in own}).values())


def _resources(base: Resources | None, own: Resources | None) -> Resources | None:
    if base is None or own is None:
        return own or base
    return Resources(instance_type=own.instance_type or base.instance_type, properties=base.properties | own.properties)
