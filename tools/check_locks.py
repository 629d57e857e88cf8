"""Checks that the lock files answer for everything that pyproject.toml asks for. Run by ``make check``.

Works without a network: what a locked package itself requires is read from the installed environment, which set-up
made from the same lock. It does not resolve anything, so it never says that a newer version exists.

Invariant: a lock names versions and hashes only. An address in it would tie every user to one package index.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {"base": (), "operator": ("operator",), "dev": ("dev",)}
"""Lock file → the extras that it covers. The base lock is the worker's closure."""

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)


def pins(text: str) -> dict[str, str]:
    """Package name → version, as a lock file states them."""
    return {canonicalize_name(match["name"]): match["version"] for match in _PIN.finditer(text)}


def unhashed(text: str) -> list[str]:
    """Names of packages that the lock pins without a hash."""
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    return [match["name"] for entry in entries if (match := _PIN.match(entry)) and "--hash=sha256:" not in entry]


def applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    """Whether a requirement counts on this machine with these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def direct(project: dict[str, object], extras: Iterable[str]) -> Iterator[Requirement]:
    """What pyproject.toml asks for, with extras that name the project itself expanded."""
    name = canonicalize_name(str(project["name"]))
    optional = project["optional-dependencies"]
    dependencies = project["dependencies"]
    assert isinstance(optional, dict)
    assert isinstance(dependencies, list)
    queue, seen = list(extras), set[str]()
    lines: list[str] = list(dependencies)
    while queue:
        extra = queue.pop()
        if extra not in seen:
            seen.add(extra)
            lines += optional[extra]
            queue += [more for line in optional[extra] if line.startswith(name) for more in Requirement(line).extras]
    return (parsed for line in lines if canonicalize_name((parsed := Requirement(line)).name) != name)


def complaints(asked: Iterable[Requirement], locked: dict[str, str]) -> Iterator[str]:
    """What the lock lacks or pins to a version that was not asked for, followed through all dependencies."""
    queue, seen = list(asked), set[tuple[str, frozenset[str]]]()
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if not applies(requirement, ()):
            continue
        version = locked.get(name)
        if version is None:
            yield f"{requirement} is not in it"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement} is asked for, {version} is locked"
        key = (name, frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            needed = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue
        for more in needed:
            if applies(more, requirement.extras):
                more.marker = None
                queue.append(more)


def main() -> int:
    """Print what is wrong, one line each; the exit code is 1 then."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    faults: list[str] = []
    for lock, extras in LOCKS.items():
        path = ROOT / "requirements" / f"{lock}.txt"
        text = path.read_text(encoding="utf-8")
        wrong = [*complaints(direct(project, extras), pins(text))]
        wrong += [f"{name} has no hash" for name in unhashed(text)]
        wrong += [f"line {n} holds an address" for n, line in enumerate(text.splitlines(), 1) if "://" in line]
        faults += [f"requirements/{lock}.txt: {fault}" for fault in dict.fromkeys(wrong)]
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
