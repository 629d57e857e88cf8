"""Fixtures that every test may use, and the order in which tests are handed to the worker processes of pytest-xdist.

The fixtures live in ``tests/support``, one module per thing that they provide.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from functools import cache
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_FIXTURES = ("azure", "kubernetes", "operator", "service_bus", "storage", "virtual_time", "whole_operator")
"""Those of the unit tests are among them: a conftest in one of their folders makes pytest work out, at every step of
all tests elsewhere, whom to leave out."""
_ORDER = ("unit", "passes", "property", "exploration", "contract", "conformance", "integration", "e2e")
"""Quick tests first: whoever broke something wants to know within seconds."""

pytest_plugins = [f"tests.support.{name}" for name in _FIXTURES if (_TESTS / "support" / f"{name}.py").exists()]


# Modules and tests stay until the end: the collector need not look through them, neither now nor during each test.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """From here on, what tests leave behind is collected; what was loaded is not looked at."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


def pytest_configure() -> None:
    """Say that there is no event loop yet: otherwise asking for one makes one that nobody closes, an error at exit."""
    asyncio.set_event_loop(None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort by kind, and keep together what shares expensive fixtures.

    Tests of one file run in one worker process, so that a fixture of module scope is made once. All tests that need a
    cluster share one worker process, so that at most one cluster runs. A test's own ``xdist_group`` wins.
    """
    items.sort(key=lambda item: _rank(item.path))
    for item in items if hasattr(config, "workerinput") else ():
        if item.get_closest_marker("xdist_group") is None:
            group = "cluster" if item.get_closest_marker("cluster") else _name(item.path)
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where nobody used hypothesis, its plugin would import all of it to find that there is nothing to tell."""
    if "hypothesis" not in sys.modules:
        session.config.pluginmanager.unregister(name="hypothesispytest")


@cache
def _name(path: Path) -> str:
    return str(path.relative_to(_TESTS))


@cache
def _rank(path: Path) -> int:
    kind = path.relative_to(_TESTS).parts[0]
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
