"""Jobs as far as the local job list looks at them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Record:
    """A job in its place."""

    sequence: int
    properties: dict[str, Any] = field(default_factory=dict)


def newest(jobs: Iterable[Record]) -> list[Record]:
    """In the order of a list: the newest first."""
    return sorted(jobs, key=lambda job: -job.sequence)
