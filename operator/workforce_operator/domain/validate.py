"""What the API server could not check about a spec: rules over the whole of it, and objects stored under older rules.

``read_spec`` refuses with the reason of the condition ``SpecAccepted``; ``spec_for_deletion`` never refuses, because an
object must always be deletable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from workforce_operator.api.spec import WorkforceSpec
from workforce_operator.domain.errors import SpecError
from workforce_operator.domain.validate_scaling import check_scaling
from workforce_operator.domain.validate_template import check_template

T = TypeVar("T")
LONGEST_NAME = 50
"""A Workforce's name is part of its jobs' names, which are session ids of at most 128 characters."""


def read_spec(namespace: str, name: str, raw: Mapping[str, Any]) -> WorkforceSpec:
    """The spec of an object as the API server has it.

    Raises:
        SpecError: Only an edit can help; the message names the field.
    """
    if len(name) > LONGEST_NAME or "." in name:
        raise SpecError(f"metadata.name must be a DNS label of at most {LONGEST_NAME} characters", reason="InvalidName")
    try:
        spec = WorkforceSpec.model_validate(raw)
    except ValidationError as error:
        raise SpecError(f"spec.{_where(error.errors()[0])}", reason="Invalid") from error
    check_scaling(spec)
    _check_unions(spec)
    check_template(spec)
    _check_regions(namespace, name, spec)
    return spec


def spec_for_deletion(raw: Mapping[str, Any]) -> WorkforceSpec:
    """As much of a spec as can be read, for an object that is being deleted.

    Regions, queue and template are left out: nothing is hired any more, and regions that ever had jobs are in the
    ledger with their coordinates.
    """
    readable = WorkforceSpec.model_validate(_MINIMAL)
    for field, info in WorkforceSpec.model_fields.items():
        alias = info.alias or field
        if field not in _MINIMAL and alias in raw:
            readable = readable.model_copy(update=_readable(field, alias, raw[alias]))
    return readable.model_copy(update={"regions": []})


def _readable(field: str, alias: str, value: Any) -> dict[str, Any]:
    try:
        return {field: getattr(WorkforceSpec.model_validate(_MINIMAL | {alias: value}), field)}
    except ValidationError:
        return {}


# What deletion does not need, at values that mean nothing: no queue is read and no job is hired any more.
_MINIMAL: dict[str, Any] = {
    "replicas": 0,
    "queue": {"type": "Storage"},
    "regions": [
        {
            "name": "none",
            "subscriptionId": "00000000-0000-0000-0000-000000000000",
            "resourceGroup": "none",
            "workspace": "none",
            "compute": "none",
            "maxReplicas": 0,
        }
    ],
    "template": {"environment": {"type": "Image", "image": "none"}},
}


def _where(error: ErrorDetails) -> str:
    path = ".".join(str(part) for part in error["loc"])
    return f"{path}: {error['msg']}"


def _check_unions(spec: WorkforceSpec) -> None:
    if spec.control is None and any(region.control is not None for region in spec.regions):
        raise SpecError("spec.regions: control of a region needs spec.control: it only says another namespace")
    if spec.deletion_policy == "Drain" and spec.control is None:
        raise SpecError(
            "spec.deletionPolicy Drain needs spec.control: without it no running worker can be told to leave"
        )


def _check_regions(namespace: str, name: str, spec: WorkforceSpec) -> None:
    for region in spec.regions:
        if region.min_replicas > region.max_replicas:
            raise SpecError(f"spec.regions: {region.name}: minReplicas must not be greater than maxReplicas")
    default = f"{namespace}-{name}"
    experiment = _first_repeated(region.experiment or f"{default}-{region.name}" for region in spec.regions)
    if experiment is not None:
        text = f"spec.regions: experiment {experiment} must not be used by two regions"
        raise SpecError(text, reason="DuplicateExperiment")
    topic = _first_repeated((region.topic or f"{default}-{region.name}", region.control) for region in spec.regions)
    if topic is not None:
        text = f"spec.regions: topic {topic[0]} must not be used by two regions of one Service Bus namespace"
        raise SpecError(text, reason="DuplicateTopic")
    repeated = _first_repeated(region.name for region in spec.regions)
    if repeated is not None:
        raise SpecError(f"spec.regions: name {repeated} must be unique")


def _first_repeated(values: Iterable[T]) -> T | None:
    seen: set[T] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
