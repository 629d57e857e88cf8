"""Fixtures that every test may use, and the order in which tests are handed to the worker processes of pytest-xdist.

The fixtures live in ``tests/support``, one module per thing that they provide.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support import examples  # noqa: F401 - sets how many examples hypothesis tries, and that load is no failure

_TESTS = Path(__file__).parent
_FIXTURES = ("azure", "kubernetes", "operator", "service_bus", "storage")
_ORDER = ("unit", "property", "exploration", "contract", "conformance", "integration", "e2e")
"""Quick tests first: whoever broke something wants to know within seconds."""

pytest_plugins = [f"tests.support.{name}" for name in _FIXTURES if (_TESTS / "support" / f"{name}.py").exists()]


def pytest_configure() -> None:
    """Say that there is no event loop yet: otherwise asking for one makes one that nobody closes, an error at exit."""
    asyncio.set_event_loop(None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by kind, and keep together what shares expensive fixtures.

    Tests of one file run in one worker process, so that a fixture of module scope is made once. All tests that need a
    cluster share one worker process, so that at most one cluster runs. A test's own ``xdist_group`` wins.
    """
    items.sort(key=_rank)
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            group = "cluster" if item.get_closest_marker("cluster") else str(item.path.relative_to(_TESTS))
            item.add_marker(pytest.mark.xdist_group(group))


def _rank(item: pytest.Item) -> int:
    kind = item.path.relative_to(_TESTS).parts[0]
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
