"""Virtual time for tests with the mark ``looptime``: nobody waits, and the event loop's clock jumps to what comes next.

looptime's own plugin looks through the whole of pytest-asyncio at every fixture of every test, which took a fifth of
what pytest itself needs for a test; it is switched off. This one patches the loops of marked tests only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import looptime as virtual
import pytest


@pytest.fixture
def looptime() -> virtual.LoopTimeProxy:
    """The virtual seconds that have passed in the test."""
    return virtual.LoopTimeProxy()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "looptime: the event loop's time is virtual")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Run a marked test with its loop's time switched over; fixtures live in true time."""
    runners = [each for each in pyfuncitem.funcargs.values() if isinstance(each, asyncio.Runner)]
    if not runners or pyfuncitem.get_closest_marker("looptime") is None:
        return (yield)
    # A loop that has nothing to do and waits for no thread will not find more to do in the 42 rounds that are usual.
    loop = virtual.patch_event_loop(runners[-1].get_loop(), noop_cycles=3, _enabled=False)
    with loop.looptime_enabled():
        return (yield)
