"""Task queue library and the wire contracts that operator, agent and people share."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from jobq.version import __version__

if TYPE_CHECKING:
    from jobq.batch import BatchError, Enqueued, WorkSpecification, batch_enqueue
    from jobq.errors import MaybeStored, NotStored, TaskTooLarge
    from jobq.queue import JobQ
    from jobq.task import Task

_HOMES = {
    "BatchError": "batch",
    "Enqueued": "batch",
    "JobQ": "queue",
    "MaybeStored": "errors",
    "NotStored": "errors",
    "Task": "task",
    "TaskTooLarge": "errors",
    "WorkSpecification": "batch",
    "batch_enqueue": "batch",
}
__all__ = [
    "BatchError", "Enqueued", "JobQ", "MaybeStored", "NotStored", "Task", "TaskTooLarge", "WorkSpecification",
    "__version__", "batch_enqueue",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """`from jobq import JobQ` works, and a program that needs only the version or a contract does not pay for it."""
    if home := _HOMES.get(name):
        return getattr(importlib.import_module(f"jobq.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
