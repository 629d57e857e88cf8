"""The daemon's event loop: uvloop's where it is installed, asyncio's own elsewhere; and both do the same."""

import asyncio
import builtins
import os
import signal
import sys

import pytest

from workforce_operator.edge import event_loop


@pytest.fixture
def left_out(monkeypatch):
    """As on a platform that uvloop is not installed on."""
    import_ = builtins.__import__

    def without(name, *args, **more):
        if name == "uvloop":
            raise ImportError(name)
        return import_(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)


async def kind_of_loop():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


async def until_sigterm():
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    os.kill(os.getpid(), signal.SIGTERM)
    await asked.wait()
    return "ended"


@pytest.mark.skipif(sys.platform != "linux", reason="it is not installed there")
def test_the_daemon_runs_on_uvloop():
    assert event_loop.run(kind_of_loop()) == "uvloop"


def test_without_uvloop_it_runs_on_asyncios_own_loop(left_out):
    assert event_loop.run(kind_of_loop()) == "asyncio"


def test_sigterm_is_heard():
    assert event_loop.run(until_sigterm()) == "ended"


def test_sigterm_is_heard_without_uvloop(left_out):
    assert event_loop.run(until_sigterm()) == "ended"
