"""Fills a queue: `fill.py QUEUE JSON`, where the JSON is a list of the tasks' arguments."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from jobq import JobQ, batch_enqueue


async def main() -> None:
    """Push what the command line says."""
    text = os.environ["JOBQ_CONNECTION_STRING"]
    async with JobQ.from_connection_string(sys.argv[1], connection_string=text) as queue:
        await batch_enqueue(queue, json.loads(sys.argv[2]), num_enqueue_workers=16, num_retries=0, show_progress=False)


if __name__ == "__main__":
    asyncio.run(main())
