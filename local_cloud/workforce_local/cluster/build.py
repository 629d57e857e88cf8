"""Builds the Kubernetes programs with Go from the tool modules in `tools/kubernetes`.

The last way of getting them, for machines that reach a Go proxy but not the official downloads. It decides nothing
about versions: the modules' own files do.

Invariant: a program appears at its destination complete or not at all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from workforce_local.cluster.versions import Tool

MODULES = Path(__file__).resolve().parents[3] / "tools" / "kubernetes"
"""The Go modules in the repository; an installed wheel does not have them."""
MINIMUM_GO = "1.26"
_SHOWN_LINES = 5


class BuildError(RuntimeError):
    """A program could not be built. The message says what to install or to look at."""


def find_go(environ: Mapping[str, str]) -> str:
    """The path of the Go command.

    Raises:
        BuildError: there is none.
    """
    go = shutil.which("go", path=environ.get("PATH", os.defpath))
    if go is None:
        raise BuildError(f"Go is missing: install Go {MINIMUM_GO} or newer and put it on PATH")
    return go


def build(
    tool: Tool,
    destination: Path,
    *,
    environ: Mapping[str, str],
    report: Callable[[str], None],
    modules: Path = MODULES,
) -> None:
    """Build the program to this path.

    Raises:
        BuildError: no modules, no Go, or Go failed.
    """
    module = modules / tool.module
    if not (module / "go.mod").is_file():
        raise BuildError(f"nothing to build from: {module} is missing (it is part of the repository, not of the wheel)")
    go = find_go(environ)
    scratch = destination.with_name(f".{destination.name}.build")
    report(f"building {tool.name} {tool.version} with Go; the first time this takes minutes")
    started = time.monotonic()
    command = [go, "build", "-trimpath", "-ldflags", tool.link_flags, "-o", str(scratch), tool.package]
    try:
        done = subprocess.run(
            command,
            cwd=module,
            env={**environ, "CGO_ENABLED": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = "\n  ".join(done.stdout.strip().splitlines()[-_SHOWN_LINES:])
            raise BuildError(f"go build of {tool.name} failed in {module} (Go {MINIMUM_GO} is needed):\n  {last}")
        scratch.replace(destination)
    finally:
        scratch.unlink(missing_ok=True)
    report(f"built {tool.name} in {time.monotonic() - started:.0f} s")
