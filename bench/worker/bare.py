"""The bare loop: what a worker would be that only gets messages, runs `bash -c`, and deletes them.

`bare.py QUEUE SLOTS` drains a queue and ends. It has the SDK that ai4s-jobq uses, pages as large as the free slots, one
request for messages at a time, and deletes while the next tasks run. It renews no lock, hears no signal, keeps no
output, and knows nothing of failures.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient


async def work(client: QueueClient, message: QueueMessage, free: asyncio.Semaphore) -> None:
    """Run one message's command, give the slot back, and delete the message."""
    command = json.loads(json.loads(message.content)["kwargs"])["cmd"]
    process = await asyncio.create_subprocess_exec("bash", "-c", command, start_new_session=True)
    await process.wait()
    free.release()
    await client.delete_message(message)


async def main(queue: str, slots: int) -> None:
    """Drain a queue."""
    asyncio.get_event_loop_policy().set_child_watcher(watcher := asyncio.PidfdChildWatcher())
    watcher.attach_loop(asyncio.get_running_loop())
    free = asyncio.Semaphore(slots)
    running: set[asyncio.Task[None]] = set()
    async with QueueClient.from_connection_string(os.environ["JOBQ_CONNECTION_STRING"], queue) as client:
        while True:
            await free.acquire()
            page = 1
            while page < min(slots, 32) and not free.locked():
                await free.acquire()
                page += 1
            got = 0
            async for message in client.receive_messages(
                messages_per_page=page, max_messages=page, visibility_timeout=60
            ):
                got += 1
                running.add(task := asyncio.create_task(work(client, message, free)))
                task.add_done_callback(running.discard)
            for _ in range(page - got):
                free.release()
            if not got:
                break
        if running:
            await asyncio.wait(running)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
