"""Look at a Service Bus queue and give up its first task, with ai4s-jobq's own code for both: it does them over AMQP.

    give_up.py NAMESPACE QUEUE

The message is locked with the SDK, because the ancestor's own receive is REST, which the local cloud has not.
"""

from __future__ import annotations

import asyncio
import json
import sys

from ai4s.jobq.backend.servicebus_rest import ServiceBusRestClient
from ai4s.jobq.entities import Task
from azure.identity.aio import AzureCliCredential
from azure.servicebus.aio import ServiceBusClient


async def main(namespace: str, queue: str) -> None:
    async with AzureCliCredential() as credential:
        ancestor = ServiceBusRestClient(namespace, queue, credential)
        (seen,) = await ancestor.peek_messages(1)
        async with ServiceBusClient(namespace, credential) as bus, bus.get_queue_receiver(queue) as receiver:
            (message,) = await receiver.receive_messages(1, max_wait_time=30)
            task = Task.deserialize(str(message))
            reason = f"Command {task.kwargs['cmd']!r} failed with return code 3"
            token = str(message.lock_token)
            await ancestor.deadletter_message("", message.sequence_number, token, reason)
        sys.stdout.write(json.dumps({"seen": seen, "id": task.id, "reason": reason}))


asyncio.run(main(*sys.argv[1:]))
