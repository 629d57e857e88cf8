"""Fakes of every port, for tests and the simulator. They pass the same contract suites as the real adapters.

Every fake keeps the calls that it got, takes errors to raise, and can apply a write and lose its answer.
"""

from workforce_operator.adapters.memory.capacity import MemoryCapacity
from workforce_operator.adapters.memory.clock import ManualClock
from workforce_operator.adapters.memory.control import MemoryControlChannel, SentOrder
from workforce_operator.adapters.memory.faults import Call, Faults
from workforce_operator.adapters.memory.guard import MemoryGuard
from workforce_operator.adapters.memory.store import MemoryEventSink, MemoryWorkforceStore
from workforce_operator.adapters.memory.task_queue import MemoryTaskQueueDepth
from workforce_operator.adapters.memory.templates import MemoryTemplates
from workforce_operator.adapters.memory.worker_jobs import MemoryWorkerJobs

__all__ = [
    "Call",
    "Faults",
    "ManualClock",
    "MemoryCapacity",
    "MemoryControlChannel",
    "MemoryEventSink",
    "MemoryGuard",
    "MemoryTaskQueueDepth",
    "MemoryTemplates",
    "MemoryWorkerJobs",
    "MemoryWorkforceStore",
    "SentOrder",
]
