"""Making and counting queues of a Service Bus namespace, by the SDK's administration client, where we may.

Workers need no right to it: every answer that says so is an answer of "not known", and the caller does without.
"""

from __future__ import annotations

from datetime import timedelta

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.servicebus.aio.management import ServiceBusAdministrationClient

from jobq.errors import QueueMissing

LOCK = timedelta(minutes=5)
DUPLICATE_WINDOW = timedelta(days=7)
MAX_DELIVERIES = 1000
"""Returns of preempted tasks count as deliveries, so that a small number would give up healthy tasks."""


class Administration:
    """What can be asked of a namespace beside its messages.

    Args:
        client: An open client; closed by whoever opened it.
        host: Host name of the namespace, for errors.
    """

    def __init__(self, client: ServiceBusAdministrationClient, host: str) -> None:
        self._client = client
        self._host = host

    async def create(self, name: str) -> str | None:
        """Make a queue if it is missing. Returns why not, if we may not or cannot; None if it is there."""
        try:
            await self._client.create_queue(
                name,
                lock_duration=LOCK,
                requires_duplicate_detection=True,
                duplicate_detection_history_time_window=DUPLICATE_WINDOW,
                max_delivery_count=MAX_DELIVERIES,
            )
        except ResourceExistsError:
            return None
        except AzureError as error:
            return error.message.partition("\n")[0]
        return None

    async def size(self, name: str, *, dead_letters: bool) -> tuple[int, int | None] | None:
        """All messages, and the visible ones as far as they are known; None if we may not ask.

        Raises:
            QueueMissing: No such queue.
        """
        try:
            found = await self._client.get_queue_runtime_properties(name)
        except ResourceNotFoundError as error:
            raise QueueMissing(f"queue {self._host}/{name} does not exist") from error
        except AzureError:
            return None
        if dead_letters:
            return found.dead_letter_message_count or 0, None
        active = found.active_message_count or 0
        return active + (found.scheduled_message_count or 0), None if active else 0
