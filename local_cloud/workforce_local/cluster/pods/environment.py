"""The environment, command line and downward values of a container.

Pure: what configuration objects hold is given, nothing is fetched. A missing reference is an error with its name.

Invariant: expansion follows the API's documentation, `$(NAME)` for a known name, `$$(NAME)` for the text itself, and
an unknown name stays as it is written.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from workforce_local.cluster.kube_client import Json

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigurationError(RuntimeError):
    """A container cannot be started as it is configured. The message names what is missing or unsupported."""


@dataclass(frozen=True)
class PodFacts:
    """What a Pod learns about itself at run time."""

    address: str
    node_name: str
    node_address: str


@dataclass(frozen=True)
class Objects:
    """ConfigMaps and Secrets of one namespace by name; None means that it does not exist."""

    config_maps: Mapping[str, Json | None] = field(default_factory=dict)
    secrets: Mapping[str, Json | None] = field(default_factory=dict)

    def content(self, kind: str, name: str, *, optional: bool) -> Mapping[str, bytes]:
        """The data of a ConfigMap or Secret.

        Raises:
            ConfigurationError: it does not exist and is not optional.
        """
        found = (self.config_maps if kind == "configmap" else self.secrets).get(name)
        if found is None:
            if optional:
                return {}
            raise ConfigurationError(f'{kind} "{name}" not found')
        encoded = found.get("binaryData" if kind == "configmap" else "data") or {}
        plain = (found.get("data") or {}) if kind == "configmap" else {}
        return {
            **{key: base64.b64decode(value) for key, value in encoded.items()},
            **{key: value.encode() for key, value in plain.items()},
        }


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable's value, and `$$` by one dollar sign."""

    def replaced(match: re.Match[str]) -> str:
        if match.group(1) == "$":
            return "$"
        return variables.get(match.group(2), match.group(0))

    return _REFERENCE.sub(replaced, text)


def relocate(text: str, places: Mapping[str, str]) -> str:
    """Replace mount paths in a text by where the volumes really are, for containers without a mount namespace."""
    if not places:
        return text
    longest_first = sorted(places, key=len, reverse=True)
    pattern = rf"(?<![\w./-])({'|'.join(re.escape(path) for path in longest_first)})(?![\w.-])"
    return re.sub(pattern, lambda match: places[match.group(1)], text)


def field_value(path: str, pod: Json, facts: PodFacts) -> str:
    """The value of a `fieldRef`.

    Raises:
        ConfigurationError: there is no such field.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    keyed = _KEYED_FIELD.fullmatch(path)
    if keyed:
        return str((metadata.get(keyed.group(1)) or {}).get(keyed.group(2), ""))
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": facts.address,
        "status.podIPs": facts.address,
        "status.hostIP": facts.node_address,
        "status.hostIPs": facts.node_address,
    }
    if path in values:
        return str(values[path])
    if path in {"metadata.labels", "metadata.annotations"}:
        pairs = metadata.get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{_escaped(value)}"' for key, value in sorted(pairs.items()))
    raise ConfigurationError(f"fieldRef {path} is not supported")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def references(pod: Json) -> Iterator[tuple[str, str]]:
    """Kind and name of every ConfigMap and Secret that environments and volumes of the Pod refer to."""
    spec = pod["spec"]
    for container in all_containers(pod):
        for source in container.get("envFrom") or []:
            yield from _reference(source)
        for variable in container.get("env") or []:
            yield from _reference(variable.get("valueFrom") or {})
    for volume in spec.get("volumes") or []:
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            yield from _reference(source)


def all_containers(pod: Json) -> list[Json]:
    """Init containers and containers, in the order in which they start."""
    spec = pod["spec"]
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def _reference(source: Json) -> Iterator[tuple[str, str]]:
    for kind, keys in (("configmap", ("configMap", "configMapKeyRef", "configMapRef")),
                       ("secret", ("secret", "secretKeyRef", "secretRef"))):  # fmt: skip
        for key in keys:
            if key in source:
                yield kind, source[key].get("name") or source[key].get("secretName") or ""


def variables(container: Json, pod: Json, facts: PodFacts, objects: Objects, base: Mapping[str, str]) -> dict[str, str]:
    """All environment variables of a container, on top of the given ones, in the API's order of precedence.

    Raises:
        ConfigurationError: something that is referred to does not exist.
    """
    result = dict(base)
    for source in container.get("envFrom") or []:
        kind, reference = (
            ("configmap", source["configMapRef"]) if "configMapRef" in source else ("secret", source["secretRef"])
        )
        content = objects.content(kind, reference["name"], optional=bool(reference.get("optional")))
        prefix = source.get("prefix") or ""
        result.update({prefix + key: value.decode(errors="replace") for key, value in content.items()})
    for variable in container.get("env") or []:
        value = _value(variable, pod, facts, objects, result)
        if value is not None:
            result[variable["name"]] = value
    return result


def _value(variable: Json, pod: Json, facts: PodFacts, objects: Objects, known: Mapping[str, str]) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return expand(variable.get("value") or "", known)
    if "fieldRef" in source:
        return field_value(source["fieldRef"]["fieldPath"], pod, facts)
    for kind, key in (("configmap", "configMapKeyRef"), ("secret", "secretKeyRef")):
        if key in source:
            reference = source[key]
            optional = bool(reference.get("optional"))
            content = objects.content(kind, reference["name"], optional=optional)
            if reference["key"] in content:
                return content[reference["key"]].decode(errors="replace")
            if optional:
                return None
            raise ConfigurationError(f'key "{reference["key"]}" not found in {kind} "{reference["name"]}"')
    raise ConfigurationError(f"variable {variable['name']}: {', '.join(source)} is not supported")


def command_line(container: Json, known: Mapping[str, str]) -> list[str]:
    """Command and arguments, expanded.

    Raises:
        ConfigurationError: there is no command, and without an image nobody knows a default.
    """
    if not container.get("command"):
        raise ConfigurationError(
            f"container {container['name']} has no command: Pods run as local processes here, so the default command "
            f"of the image {container.get('image', '')!r} is unknown; state `command` in the Pod"
        )
    return [expand(part, known) for part in (*container["command"], *(container.get("args") or ()))]
