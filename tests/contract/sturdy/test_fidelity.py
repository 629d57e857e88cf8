"""The page about fidelity names tests that exist, and says something in every cell; that on use names every order."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import cast

import pytest

from workforce_local.admin import PREFIX
from workforce_local.azureml.control import Control
from workforce_local.azureml.control_routes import control_routes

CHECKOUT = Path(__file__).resolve().parents[3]
PAGE = CHECKOUT / "docs" / "fidelity.md"
COLUMNS = ["behaviour", "source", "test", "known difference from Azure"]


def rows() -> list[list[str]]:
    """The cells of every row of every table, without the heads."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row != COLUMNS and not set("".join(row)) <= {"-"}]


@functools.cache
def names_in(path: Path) -> set[str]:
    """Names of a file's tests, with their classes."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        functions = [one for one in inner if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        found |= {prefix + one.name for one in functions if one.name.startswith("test_")}
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_every_behaviour_has_a_source_a_test_that_exists_and_a_known_difference(row: list[str]) -> None:
    assert len(row) == len(COLUMNS), "a row has a cell for each column"
    assert all(row), f"no cell may be empty: {row}"
    path, _, name = row[2].strip("`").partition("::")
    assert (CHECKOUT / path).is_file(), path
    assert name in names_in(CHECKOUT / path), row[2]


def test_no_behaviour_is_told_twice() -> None:
    told = [row[0] for row in rows()]
    assert len(told) > 40
    assert len(set(told)) == len(told)


def test_every_order_that_the_local_azure_takes_is_on_its_page() -> None:
    page = (CHECKOUT / "docs" / "local-cloud.md").read_text(encoding="utf-8")
    orders = {route.path.removeprefix(PREFIX) for route in control_routes("token", cast("Control", None))}
    assert {order for order in orders if f"`{order}" not in page} == set()
