"""How much proof stands beside the planner: counted, so that nobody has to believe it."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PLANNER = "workforce_operator.domain.plan"
PROOF = ("unit/domain", "property", "passes", "exploration")
"""Where the planner's tests are; what else lies there and imports nothing of the planner is not counted."""


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module, and every name of a module, that this file imports from the operator's domain."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom) and node.module]
    names = {name for node in found for name in (node.module, *(f"{node.module}.{each.name}" for each in node.names))}
    return frozenset(name for name in names if name.startswith("workforce_operator.domain."))


def planner() -> dict[str, Path]:
    """`plan()` and all of the domain that it needs, by module."""
    found: dict[str, Path] = {}
    waiting = {PLANNER}
    while waiting:
        name = waiting.pop()
        path = ROOT / "operator" / f"{name.replace('.', '/')}.py"
        if name not in found and path.is_file():
            found[name] = path
            waiting |= imported(path)
    return found


def lines(paths: list[Path]) -> int:
    return sum(path.read_text().count("\n") for path in paths)


def test_the_planners_tests_are_at_least_twice_its_size() -> None:
    modules = planner()
    tests = [path for folder in PROOF for path in (ROOT / "tests" / folder).rglob("*.py")]
    proof = [path for path in tests if imported(path) & modules.keys()]
    ours, theirs = lines(list(modules.values())), lines(proof)
    # `pytest -rP` shows it.
    sys.stdout.write(f"planner: {len(modules)} modules, {ours} lines; its tests: {len(proof)}, {theirs} lines\n")
    assert len(modules) > 30
    assert theirs >= 2 * ours
