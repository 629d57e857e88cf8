"""The bench is of `tests/support/operator.py`; chaos is set through the local Azure's own interface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.operator import AzureProgram, azure_program_running, bench, definition
from workforce_local.admin import AdminClient

__all__ = ["azure_program_running", "bench", "chaos", "definition"]


@pytest.fixture
def chaos(azure_program_running: AzureProgram) -> Iterator[AdminClient]:
    """The interface; no fault outlives its test."""
    client = AdminClient.of(azure_program_running.folder / "azure")
    yield client
    client.delete("chaos")
