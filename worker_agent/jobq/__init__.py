"""Task queue library and the wire contracts that operator, agent and people share."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from jobq.version import __version__

if TYPE_CHECKING:
    from jobq.batch import BatchError, Enqueued, WorkSpecification, batch_enqueue
    from jobq.queue import JobQ

__all__ = ["BatchError", "Enqueued", "JobQ", "WorkSpecification", "__version__", "batch_enqueue"]


def __getattr__(name: str) -> Any:
    """`from jobq import JobQ` works, and a program that needs only the version or a contract does not pay for it."""
    if name in __all__:
        return getattr(importlib.import_module("jobq.queue" if name == "JobQ" else "jobq.batch"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
