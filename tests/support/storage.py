"""Azurite for tests: one process per test session, one queue of its own per test."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from workforce_local.storage import Azurite, TlsFiles

ACCOUNT = "testaccount"


def _run(work: Coroutine[Any, Any, None]) -> None:
    # In a thread of its own, because an asynchronous test may ask for the fixture while its loop runs.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


@contextmanager
def run_azurite(accounts: Sequence[str], tls: TlsFiles | None = None) -> Iterator[Azurite]:
    """A running Azurite; its data is in memory-backed storage where there is some."""
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="azurite-test-", dir=base))
    server = Azurite(folder, accounts, tls=tls)
    try:
        _run(server.start())
        yield server
    finally:
        _run(server.stop())
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """A running Azurite over plain HTTP with one account."""
    with run_azurite([ACCOUNT]) as server:
        yield server


@pytest.fixture
def queue_name() -> str:
    """A queue name that no other test uses."""
    return f"q-{uuid.uuid4().hex[:16]}"
