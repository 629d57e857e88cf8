"""The reference page of the resource, made from the same schema as the definition: true by construction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workforce_operator.api.base import GROUP, KIND, VERSION

_INTRODUCTION = f"""\
# {KIND} reference

`{GROUP}/{VERSION}`, kind `{KIND}`, namespaced, short name `wf`. This page is generated from the models
(`make crds`). **Required** fields are marked with `*`. `kubectl explain workforce.spec` shows the same descriptions.
"""


def reference_page(schema: Mapping[str, Any]) -> str:
    """The page, as Markdown."""
    parts = [_INTRODUCTION]
    for section in ("spec", "status"):
        rows = "".join(
            _row(path, each, required=required)
            for path, each, required in _fields(section, schema["properties"][section])
        )
        parts.append(f"## {section}\n\n| field | type | default | allowed | meaning |\n|---|---|---|---|---|\n{rows}")
    said = "".join(f"* `{path}`: {message}\n" for path, message in _rules("", schema))
    parts.append(f"## Rules between fields\n\nThe API server refuses an object that breaks one of these.\n\n{said}")
    return "\n".join(parts)


def _fields(path: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    required = schema.get("required", [])
    for name, each in schema.get("properties", {}).items():
        below = f"{path}.{name}"
        yield below, each, name in required
        yield from _fields(*_below(below, each))


def _below(path: str, schema: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Where to go on below a field, and how it is written: `[]` for a list's items, `.*` for a map's values."""
    if "items" in schema:
        return f"{path}[]", schema["items"]
    values = schema.get("additionalProperties", {})
    return (f"{path}.*", values) if "properties" in values else (path, schema)


def _row(path: str, schema: Mapping[str, Any], *, required: bool) -> str:
    default = f"`{schema['default']}`" if schema.get("default") not in (None, {}) else ""
    meaning = " ".join(str(schema.get("description", "")).split()).replace("|", "\\|")
    return f"| `{path}`{' *' if required else ''} | {_type(schema)} | {default} | {_allowed(schema)} | {meaning} |\n"


def _type(schema: Mapping[str, Any]) -> str:
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map of {_type(schema['additionalProperties'])}"
    return "time" if schema.get("format") == "date-time" else str(schema["type"])


def _allowed(schema: Mapping[str, Any]) -> str:
    said = []
    if "enum" in schema:
        said.append(", ".join(f"`{value}`" for value in schema["enum"]))
    for low, high, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ):
        if low in schema or high in schema:
            said.append(f"{schema.get(low, '')}…{schema.get(high, '')}{unit}")
    if "pattern" in schema:
        pattern = schema["pattern"].replace("|", "\\|")
        said.append(f"`{pattern}`")
    return "; ".join(said)


def _rules(path: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for each in schema.get("x-kubernetes-validations", []):
        yield path or "(object)", each["message"]
    for name, each in schema.get("properties", {}).items():
        yield from _rules(f"{path}.{name}".lstrip("."), each)
    below, inner = _below(path, schema)
    if inner is not schema:
        yield from _rules(below, inner)
