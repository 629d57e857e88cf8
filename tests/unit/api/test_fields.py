"""Every field has an effect, a description and bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.unit.api.effects import EFFECTS
from workforce_operator.api.crd import schema

ROOT = Path(__file__).parents[3]


def nodes(path: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All nodes of a schema below a path."""
    for name, each in node.get("properties", {}).items():
        below = f"{path}.{name}"
        yield below, each
        yield from below_of(below, each)


def below_of(path: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All nodes below one: of a list's items, of a map's values, of an object."""
    if "items" in node:
        return nodes(f"{path}[]", node["items"])
    values = node.get("additionalProperties", {})
    return nodes(f"{path}.*", values) if "properties" in values else nodes(path, node)


PROPERTIES = schema()["properties"]


def all_nodes(*sections: str) -> dict[str, dict[str, Any]]:
    return {path: node for section in sections for path, node in nodes(section, PROPERTIES[section])}


def leaves() -> list[str]:
    return [
        path
        for path, node in all_nodes("spec", "status").items()
        if not any("properties" in each for each in (node, node.get("items", {}), node.get("additionalProperties", {})))
    ]


@cache
def functions(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r"^ *(?:async )?def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_field_has_a_test_of_its_effect():
    assert set(leaves()) == set(EFFECTS)


def test_the_tests_of_effects_exist():
    named = {test: test.split("::") for test in EFFECTS.values()}
    assert [test for test, (path, name) in named.items() if name not in functions(ROOT / path)] == []


def test_every_field_has_a_description():
    assert not [path for path, node in all_nodes("spec", "status").items() if not node.get("description")]


def test_every_field_of_the_spec_is_bounded():
    unbounded = []
    for path, node in all_nodes("spec").items():
        bounds = {
            "string": ("maxLength", "enum", "pattern"),
            "integer": ("maximum",),
            "array": ("maxItems",),
            "object": ("properties", "maxProperties"),
        }[node["type"]]
        if not any(bound in node for bound in bounds):
            unbounded.append(path)
    assert not unbounded


def test_every_list_says_how_its_items_are_told_apart():
    lists = {path: node for path, node in all_nodes("spec", "status").items() if node["type"] == "array"}
    assert lists
    for path, node in lists.items():
        assert node["maxItems"], path
        assert node["x-kubernetes-list-type"] in ("map", "atomic"), path
        if node["x-kubernetes-list-type"] == "map":
            for key in node["x-kubernetes-list-map-keys"]:
                assert key in node["items"]["required"], path


def test_the_schema_is_structural():
    for path, node in all_nodes("spec", "status").items():
        assert node["type"] in ("string", "integer", "array", "object"), path
        assert not {"anyOf", "allOf", "oneOf", "$ref", "title", "nullable", "const"} & set(node), path
        assert node.get("format") in ({"integer": ("int32", "int64")}.get(node["type"], (None, "date-time"))), path


def test_defaults_are_in_the_spec_only():
    assert not [path for path, node in all_nodes("status").items() if "default" in node]
    defaults = {path: node["default"] for path, node in all_nodes("spec").items() if "default" in node}
    assert defaults == {
        "spec.autoscaling.minReplicas": 0,
        "spec.autoscaling.pollIntervalSeconds": 30,
        "spec.autoscaling.activationTasks": 0,
        "spec.autoscaling.behavior": {},
        "spec.autoscaling.behavior.scaleUp": {},
        "spec.autoscaling.behavior.scaleUp.selectPolicy": "Max",
        "spec.autoscaling.behavior.scaleDown": {},
        "spec.autoscaling.behavior.scaleDown.selectPolicy": "Max",
        "spec.autoscaling.schedules[].timeZone": "Etc/UTC",
        "spec.regions[].minReplicas": 0,
        "spec.regions[].priority": 0,
        "spec.regions[].weight": 1,
        "spec.placement": {},
        "spec.placement.strategy": "CapacityAware",
        "spec.placement.queuedTimeoutSeconds": 3600,
        "spec.template.command": "workforce-agent run",
        "spec.template.slots": 1,
        "spec.template.outputs.*.type": "uri_folder",
        "spec.template.resources.instanceCount": 1,
        "spec.regions[].overrides.outputs.*.type": "uri_folder",
        "spec.regions[].overrides.resources.instanceCount": 1,
        "spec.template.timeoutSeconds": 1_209_600,
        "spec.failurePolicy": {},
        "spec.failurePolicy.backoffBaseSeconds": 10,
        "spec.failurePolicy.backoffMaxSeconds": 600,
        "spec.failurePolicy.maxConsecutiveFailures": 5,
        "spec.control.dialect": "Workforce",
        "spec.drain": {},
        "spec.drain.mode": "Finish",
        "spec.drain.deadlineSeconds": 86_400,
        "spec.drain.onDeadline": "Wait",
        "spec.suspend": "None",
        "spec.deletionDeadlineSeconds": 86_400,
    }
