"""What the API server could not check about a template and the regions' overrides, or has stored under older rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from workforce_operator.api.spec import WorkforceSpec
from workforce_operator.api.template import (
    AZURE_CLIENT_ID_VARIABLE,
    RESERVED_VARIABLES,
    Environment,
    EnvironmentVariable,
    Identity,
    Input,
    Overrides,
    Template,
)
from workforce_operator.domain.errors import SpecError
from workforce_operator.domain.template import merged


def check_template(spec: WorkforceSpec) -> None:
    """Refuse a template that cannot be worked with, in any region.

    Raises:
        SpecError: The message names the field.
    """
    _check_parts("spec.template", spec.template)
    _check_inputs(spec.template.inputs)
    _check_client_id("spec.template", spec.template)
    for region in spec.regions:
        if region.overrides is not None:
            where = f"spec.regions: {region.name}: overrides"
            _check_parts(where, region.overrides)
            _check_client_id(where, merged(spec.template, region.overrides))


def _check_parts(where: str, part: Template | Overrides) -> None:
    if part.environment is not None:
        _check_environment(f"{where}.environment", part.environment)
    if part.identity is not None:
        _check_identity(f"{where}.identity", part.identity)
    _check_variables(f"{where}.environmentVariables", part.environment_variables)


def _check_environment(where: str, environment: Environment) -> None:
    given = {name for name in ("image", "name", "version", "label") if getattr(environment, name) is not None}
    right = {"Image": [{"image"}], "Registered": [{"name", "version"}, {"name", "label"}]}
    if given not in right[environment.type]:
        needed = "image" if environment.type == "Image" else "name and either version or label"
        raise SpecError(f"{where} must have exactly {needed} for type {environment.type}")


def _check_identity(where: str, identity: Identity) -> None:
    if identity.type == "User" and (identity.resource_id or identity.client_id):
        raise SpecError(f"{where}: resourceId and clientId must be set for type Managed only")


def _check_variables(where: str, variables: Iterable[EnvironmentVariable]) -> None:
    seen = set()
    for variable in variables:
        if (variable.value is None) == (variable.value_from is None):
            raise SpecError(f"{where}: {variable.name} must have exactly one of value and valueFrom")
        if variable.name in RESERVED_VARIABLES:
            _refuse_variable(where, variable.name)
        if variable.name in seen:
            raise SpecError(f"{where} names {variable.name} twice")
        seen.add(variable.name)


def _check_client_id(where: str, template: Template) -> None:
    if template.identity is None or template.identity.client_id is None:
        return
    if any(variable.name == AZURE_CLIENT_ID_VARIABLE for variable in template.environment_variables):
        _refuse_variable(f"{where}.environmentVariables", AZURE_CLIENT_ID_VARIABLE)


def _refuse_variable(where: str, name: str) -> None:
    raise SpecError(f"{where} must not set {name}: the operator sets it", reason="ReservedVariable")


def _check_inputs(inputs: Mapping[str, Input]) -> None:
    for name, each in inputs.items():
        literal = each.type == "literal"
        if (each.value is not None, each.path is not None) != (literal, not literal):
            needed = "value" if literal else "path"
            raise SpecError(f"spec.template.inputs.{name} must have exactly {needed} for type {each.type}")
        if literal and each.mode is not None:
            raise SpecError(f"spec.template.inputs.{name}: mode must not be set for type literal")
