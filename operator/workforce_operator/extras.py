"""Says which extra to install when a program is started on an installation that lacks it.

The base install is what a worker node needs; the operator and the local cloud bring their own packages. This module
imports nothing of either: it only looks whether they are there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec

MARKERS: Mapping[str, tuple[str, ...]] = {
    "operator": ("kopf", "kubernetes", "pydantic_settings", "yaml"),
    "local": ("kopf", "lark", "trustme", "yaml"),
}
"""Extra → modules that only this extra brings; with all of them there, it counts as installed."""

EXIT_MISSING = 2
"""Exit code of a program that lacks its extra: nothing was tried."""


def installed(extra: str) -> bool:
    """Whether the packages of an extra are there."""
    return all(find_spec(module) is not None for module in MARKERS[extra])


def remedy(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'workforce-operator[{extra}]'"


def require(extra: str, program: str) -> None:
    """Go on if the extra is installed; otherwise print one line that says how to install it, and exit."""
    if not installed(extra):
        sys.stderr.write(f"{program}: not installed with the extra `{extra}`; run: {remedy(extra)}\n")
        raise SystemExit(EXIT_MISSING)
