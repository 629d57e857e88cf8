"""`${{inputs.x}}` and `${{outputs.x}}` in a command: which are used, and what stands in their place on a node.

Pure. Data with an address is a folder per address, as a mount would be; it makes no folders itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

Binding = tuple[str, str]
"""`inputs` or `outputs`, and the name."""

_BINDING = re.compile(r"\$\{\{\s*(?P<kind>inputs|outputs)\.(?P<name>\w+)\s*\}\}")


def names_used(command: str) -> list[Binding]:
    """The bindings in a command, in order."""
    return [(match["kind"], match["name"]) for match in _BINDING.finditer(command)]


def expand(command: str, values: Mapping[Binding, str]) -> str:
    """The command with each binding replaced by its value, as text: quoting is the command's business."""
    return _BINDING.sub(lambda match: values[match["kind"], match["name"]], command)


def resolve(properties: Mapping[str, Any], *, shared: Path, own: Path) -> dict[Binding, str]:
    """What each input and output of a job is on a node: a literal's value, or a folder.

    Args:
        properties: The job's properties.
        shared: Where data with an address lives, one folder per address, seen by every job that names it.
        own: The job's own folder, for outputs without an address.
    """
    values: dict[Binding, str] = {("outputs", "default"): str(own / "default")}
    for name, given in (properties.get("inputs") or {}).items():
        literal = given.get("value")
        values["inputs", name] = str(literal) if literal is not None else _place(given.get("uri"), shared, own / name)
    for name, given in (properties.get("outputs") or {}).items():
        if name != "default":
            values["outputs", name] = _place((given or {}).get("uri"), shared, own / name)
    return values


def folders(values: Mapping[Binding, str], *, shared: Path, own: Path) -> list[Path]:
    """Those of the values that are folders of ours and must exist before the command starts."""
    paths = [Path(value) for value in values.values() if value.startswith("/")]
    return [path for path in paths if path.is_relative_to(shared) or path.is_relative_to(own)]


def _place(uri: str | None, shared: Path, otherwise: Path) -> str:
    if not uri:
        return str(otherwise)
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return unquote(parts.path)
    digest = hashlib.sha256(uri.rstrip("/").encode()).hexdigest()[:16]
    return str(shared / digest)
