"""A task queue's depth, set by hand."""

from __future__ import annotations

from workforce_operator.adapters.memory.faults import Faults
from workforce_operator.api.spec import Queue
from workforce_operator.domain.errors import Missing
from workforce_operator.domain.observed import QueueDepth


class MemoryTaskQueueDepth:
    """Queues by account and name; a queue that was not set is missing."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._depths: dict[tuple[str, str], QueueDepth] = {}

    def set(
        self, account: str, name: str, length: int, *, visible: bool | None = None, told_apart: bool = True
    ) -> None:
        """Make a queue, or change it; tasks are visible if there are any, unless told otherwise.

        ``account`` is the storage account or the Service Bus namespace; with ``told_apart`` False it counts as Service
        Bus does.
        """
        has_visible = length > 0 if visible is None else visible
        self._depths[account, name] = QueueDepth(length, has_visible=has_visible, told_apart=told_apart)

    async def read(self, queue: Queue) -> QueueDepth:
        """See ``ports.azure.TaskQueueDepth``."""
        with self.faults.call("read", queue):
            if queue.service_bus is not None:
                place = (queue.service_bus.namespace, queue.service_bus.name)
            else:
                assert queue.storage is not None
                place = (queue.storage.account, queue.storage.name)
            depth = self._depths.get(place)
            if depth is None:
                raise Missing(f"queue {'/'.join(place)} does not exist")
            return depth
