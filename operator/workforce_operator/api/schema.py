"""Turns the pydantic models into a structural OpenAPI schema, as the API server wants it.

Pydantic's own JSON schema has references, unions with null and titles; a structural schema has none of these. Optional
fields are absent rather than null, integers have a format, and spec defaults are recorded in the stored object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workforce_operator.api.base import Model

Schema = dict[str, Any]

_INT32 = 2**31 - 1
_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
)


def structural(model: type[Model], *, defaults: bool) -> Schema:
    """The structural schema of a model.

    Args:
        model: The model.
        defaults: Whether the API server fills in defaults; in a status it must not.
    """
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(raw, raw.get("$defs", {}), defaults=defaults)


def _convert(node: Mapping[str, Any], definitions: Mapping[str, Any], *, defaults: bool) -> Schema:
    node = _resolve(node, definitions)
    schema = {key: node[key] for key in _KEPT if key in node}
    if "const" in node:
        schema["enum"] = [node["const"]]
    if not defaults or schema.get("default") is None:
        schema.pop("default", None)
    if isinstance(schema.get("default"), dict):
        # The nested fields' own defaults fill in the rest.
        schema["default"] = {}
    if schema.get("type") == "integer":
        schema["format"] = "int32" if schema.get("maximum", _INT32 + 1) <= _INT32 else "int64"
    free = node.get("x-kubernetes-preserve-unknown-fields", False)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), Mapping) and not free:
            schema[key] = _convert(node[key], definitions, defaults=defaults)
    if "properties" in node:
        schema["properties"] = {
            name: _convert(each, definitions, defaults=defaults) for name, each in node["properties"].items()
        }
    if schema.get("type") == "array":
        schema["x-kubernetes-list-type"] = "atomic"
    schema |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
    return schema


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The node without references and without the alternative null; what it says itself wins."""
    own = dict(node)
    for key in ("anyOf", "allOf"):
        alternatives = [each for each in own.pop(key, []) if each.get("type") != "null"]
        if len(alternatives) > 1:
            raise ValueError(f"a field has {len(alternatives)} types; a structural schema allows one: {alternatives}")
        for each in alternatives:
            own = _resolve(each, definitions) | own
    reference = own.pop("$ref", None)
    if reference is not None:
        own = _resolve(definitions[reference.rsplit("/", 1)[-1]], definitions) | own
    return own
