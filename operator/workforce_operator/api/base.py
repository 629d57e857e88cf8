"""What all models of the resource share: camelCase on the wire, snake_case in Python, immutability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP = "workforce.dev"
VERSION = "v1alpha1"
KIND = "Workforce"
PLURAL = "workforces"
SINGULAR = "workforce"
SHORT_NAME = "wf"
FINALIZER = f"{GROUP}/workers"
DRAIN_ANNOTATION = f"{GROUP}/drain"
"""Annotation of a Workforce: names of worker jobs, separated by commas, that are to be drained and replaced."""


def requested_drains(annotations: Mapping[str, Any]) -> frozenset[str]:
    """The names in that annotation."""
    text = str(annotations.get(DRAIN_ANNOTATION) or "")
    return frozenset(name.strip() for name in text.split(",") if name.strip())


class Model(BaseModel):
    """Base of every model of the resource. Unknown fields are ignored: the API server has refused or pruned them."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, use_attribute_docstrings=True
    )


def rule(expression: str, message: str, *, field: str | None = None) -> dict[str, str]:
    """A CEL rule of the generated definition. ``field`` is the path below the ruled value that the message is about."""
    said = {"rule": expression, "message": message}
    return said if field is None else said | {"fieldPath": field}


def rules(*each: dict[str, str]) -> dict[str, Any]:
    """CEL rules, as extra keys of a schema."""
    return {"x-kubernetes-validations": list(each)}


def map_list(*keys: str) -> dict[str, Any]:
    """Extra keys of the schema of a list whose items are told apart by these fields."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
