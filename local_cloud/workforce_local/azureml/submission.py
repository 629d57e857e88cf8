"""A job PUT: what is valid, and what a PUT of a name that exists already means.

Pure. Only command jobs are run here. Whether compute and environment exist is for the caller to look up.
Invariant: two PUTs of one name never mean two jobs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from workforce_local.azureml.bindings import names_used
from workforce_local.azureml.durations import parse_duration
from workforce_local.azureml.errors import ArmError, job_property_immutable, user_error
from workforce_local.config import Replay

MUTABLE = ("description", "tags", "displayName", "properties", "isArchived")
"""The only properties of an existing job that a PUT may change."""

_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}$")
_EXPERIMENT = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9\-_]{0,255}$")
_BINDINGS = {"inputs": "InputBindings", "outputs": "OutputBindings"}
# What the service answers with and a client may send back, though nobody submits it.
_ANSWERED = frozenset({"status", "services"})
_OBJECTS = (*_BINDINGS, "limits", "resources", "identity", "queueSettings")
_MAX_PAIRS, _MAX_KEY, _MAX_VALUE = 50, 100, 1000


@dataclass(frozen=True)
class Create:
    """The name is free: a new job."""


@dataclass(frozen=True)
class Update:
    """The name exists and nothing immutable differs: only these change."""

    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Immutable:
    """The name exists and the PUT is refused."""

    changed: str

    def error(self) -> ArmError:
        """How the service says so."""
        return job_property_immutable(self.changed)


Decision = Create | Update | Immutable


@dataclass(frozen=True)
class Existing:
    """What is known of a job that exists: as it was submitted, and as it is answered."""

    submitted: Mapping[str, Any]
    document: Mapping[str, Any]


def decide(existing: Existing | None, properties: Mapping[str, Any], mode: Replay) -> Decision:
    """What a PUT means.

    The service compares with the job that it expanded, so that even an identical replay may be refused: `replay400`
    does that always; `replay200` refuses only what differs.
    """
    if existing is None:
        return Create()
    changed = _changed(existing, properties)
    if changed:
        return Immutable(changed)
    match mode:
        case "replay400":
            return Immutable("InputBindings")
        case "replay200":
            return Update(_changes(existing, properties))
        case _:
            assert_never(mode)


def _changed(existing: Existing, properties: Mapping[str, Any]) -> str | None:
    for name, value in properties.items():
        if name in MUTABLE or name in _ANSWERED or value is None:
            continue
        if value != existing.submitted.get(name) and value != existing.document.get(name):
            return _BINDINGS.get(name, name[:1].upper() + name[1:])
    known = existing.document.get("properties") or {}
    sent = properties.get("properties") or {}
    return "Properties" if any(key in known and known[key] != value for key, value in sent.items()) else None


def _changes(existing: Existing, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Tags and properties are merged: neither can be taken off a job by a PUT."""
    changes = {name: properties[name] for name in MUTABLE if properties.get(name) is not None}
    for name in ("tags", "properties"):
        if name in changes:
            changes[name] = {**(existing.document.get(name) or {}), **changes[name]}
    return changes


def check(name: str, properties: Mapping[str, Any]) -> None:
    """Refuse what the service would refuse by itself.

    Raises:
        ArmError: With what is wrong.
    """
    if not _NAME.match(name):
        raise user_error(f"Job name '{name}' is not valid: it must match {_NAME.pattern}", "BadArgument", "InvalidName")
    if properties.get("jobType") != "Command":
        raise user_error(f"jobType '{properties.get('jobType')}' is not supported here: only Command is run.")
    experiment = properties.get("experimentName")
    if experiment is not None and not _EXPERIMENT.match(str(experiment)):
        raise user_error(f"Experiment name '{experiment}' is not valid: it must match {_EXPERIMENT.pattern}")
    for required in ("command", "computeId", "environmentId"):
        if not isinstance(properties.get(required), str) or not properties[required].strip():
            raise user_error(f"The {required} field is required.", "BadArgument", "ArgumentBlankOrEmpty")
    for pairs in ("tags", "properties", "environmentVariables"):
        _check_pairs(pairs, properties.get(pairs) or {})
    _check_objects(_OBJECTS, properties)
    _check_text("clientId", properties.get("identity") or {}, "identity.")
    _check_resources(properties.get("resources") or {})
    _check_limits(properties.get("limits") or {})
    _check_bindings(properties)


def _check_pairs(field: str, pairs: Any) -> None:
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise user_error(f"{field} must be an object of strings.")
    if field == "environmentVariables":
        return
    if len(pairs) > _MAX_PAIRS:
        raise user_error(f"{field}: at most {_MAX_PAIRS} are allowed, got {len(pairs)}.")
    for key, value in pairs.items():
        if len(key) > _MAX_KEY or len(value) > _MAX_VALUE:
            raise user_error(
                f"{field}: '{key[:_MAX_KEY]}' is too long: keys {_MAX_KEY}, values {_MAX_VALUE} characters."
            )


def _check_objects(fields: Iterable[str], given: Mapping[str, Any], prefix: str = "") -> None:
    for field in fields:
        # What JSON calls an object is a dict here: to ask for any mapping takes many times as long.
        if (found := given.get(field)) is not None and not isinstance(found, dict):
            raise user_error(f"{prefix}{field} must be an object.")


def _check_text(field: str, given: Mapping[str, Any], prefix: str) -> None:
    if not isinstance(given.get(field), str | None):
        raise user_error(f"{prefix}{field} must be a string.")


def _check_resources(resources: Mapping[str, Any]) -> None:
    _check_objects(("properties",), resources, "resources.")
    count = resources.get("instanceCount")
    if count is not None and type(count) is not int:
        raise user_error("resources.instanceCount must be a whole number.")


def _check_limits(limits: Mapping[str, Any]) -> None:
    timeout = limits.get("timeout")
    if timeout is not None:
        try:
            parse_duration(str(timeout))
        except ValueError as error:
            raise user_error(f"limits.timeout: {error}") from error


def _check_bindings(properties: Mapping[str, Any]) -> None:
    for kind in _BINDINGS:
        for name, given in (properties.get(kind) or {}).items():
            if not isinstance(given, Mapping) and (kind == "inputs" or given is not None):
                raise user_error(f"{kind}.{name} must be an object.")
            _check_text("uri", given or {}, f"{kind}.{name}.")
    for kind, name in names_used(str(properties["command"])):
        known = properties.get(kind) or {}
        if name not in known and (kind, name) != ("outputs", "default"):
            raise user_error(f"The command uses {kind}.{name}, which the job does not have.", "BadArgument")
