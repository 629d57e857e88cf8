"""A local Azure for tests: fast steps, everything in the test's own folder, gone when the test ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_asyncio

from workforce_local.config import LocalConfig, TimingConfig

if TYPE_CHECKING:
    from workforce_local.azure import LocalAzure

FAST = TimingConfig(
    starting_seconds=0.01,
    preparing_seconds=0.01,
    node_start_seconds=0.01,
    finalizing_seconds=0.01,
    canceling_seconds=0.01,
    cancel_grace_seconds=0.5,
)
"""Steps that take no noticeable time."""


@pytest_asyncio.fixture
async def local_azure(tmp_path: Path) -> AsyncIterator[LocalAzure]:
    """The default local Azure with fast steps."""
    from workforce_local.azure import LocalAzure  # large, and every run of pytest imports this module

    async with LocalAzure(tmp_path / "azure", LocalConfig(timing=FAST)) as azure:
        yield azure
