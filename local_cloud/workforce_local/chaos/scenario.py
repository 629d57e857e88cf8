"""Reads scenarios and single faults, from JSON or YAML, and says clearly what is wrong with them.

No input or output but `load`. Invariant: what is returned has a name for every fault, each only once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from workforce_local.chaos import faults


class ScenarioError(ValueError):
    """A scenario cannot be used. The message names the field, one line per mistake."""


class Scenario(BaseModel):
    """Faults that belong together, and the seed of their randomness."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    seed: int = 0
    faults: tuple[faults.Fault, ...]

    @model_validator(mode="after")
    def _faults_are_there_and_told_apart(self) -> Self:
        if not self.faults:
            raise ValueError("faults: give at least one")
        names = [fault.name for fault in self.faults if fault.name is not None]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two faults have the name {', '.join(twice)}")
        return self

    def named(self, taken: set[str] | None = None) -> Self:
        """The same with a name for each fault that has none, other than those that are taken."""
        known = {fault.name for fault in self.faults if fault.name} | (taken or set())
        named = []
        for fault in self.faults:
            name = fault.name or _free_name(fault.kind, known)
            known.add(name)
            named.append(fault.model_copy(update={"name": name}))
        return self.model_copy(update={"faults": tuple(named)})


def _free_name(kind: str, taken: set[str]) -> str:
    number = 1
    while (name := f"{kind}-{number}") in taken:
        number += 1
    return name


def read(document: Any, source: str = "the scenario") -> Scenario:
    """Read a scenario, or a single fault, from its parsed form.

    Raises:
        ScenarioError: It is not one.
    """
    if isinstance(document, Mapping) and "kind" in document:
        document = {"seed": document.get("seed", 0), "faults": [{k: v for k, v in document.items() if k != "seed"}]}
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        raise ScenarioError("\n".join(f"{source}: {_said(each)}" for each in error.errors())) from error


def load(path: Path) -> Scenario:
    """Read a scenario file; JSON is YAML, too.

    Raises:
        ScenarioError: The file is missing, cannot be parsed, or is no scenario.
    """
    import yaml  # noqa: PLC0415 - the local cloud itself reads no files of scenarios, and starts without it

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ScenarioError(f"{path}: cannot be read as JSON or YAML: {error}") from error
    return read(document, str(path))


def dump(scenario: Scenario) -> dict[str, Any]:
    """The scenario as it would be written in a file."""
    return {
        "seed": scenario.seed,
        "faults": [json.loads(fault.model_dump_json(by_alias=True, exclude_none=True)) for fault in scenario.faults],
    }


def _said(error: Any) -> str:
    # The kind of a fault is in the location of what is wrong with it, and reads as if it were a field.
    kinds = {model.model_fields["kind"].annotation.__args__[0] for model in _models()}
    where = ""
    for part in error["loc"]:
        if isinstance(part, int):
            where += f"[{part}]"
        elif part not in kinds:
            where += f".{part}" if where else str(part)
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _models() -> list[Any]:
    union = faults.Fault.__args__[0]
    return list(union.__args__)


def kinds() -> dict[str, Any]:
    """Each kind of fault and its model, for help texts."""
    return {model.model_fields["kind"].annotation.__args__[0]: model for model in _models()}
