"""How long after a drain order was sent an idle worker is gone.

    python bench/worker/drain.py [--rounds 5]

Targeted orders over a local Service Bus, to four workers a round, one after the other; the clock starts before an order
is sent, and ends when its worker's process is gone. ai4s-jobq has no such orders.
"""

from __future__ import annotations

import asyncio
import json
import time

from azure.servicebus import ServiceBusMessage
from common import MeasureError, Row, control, opened, p95, program
from tests.integration.agent.bus import NODES

WORKERS = 4
ORDER = {"operation": "graceful-downscale", "revision": 1}
GOAL_SECONDS = 1.0
START_SECONDS = 120.0
SECONDS = 60.0


async def measure(rounds: int) -> list[Row]:
    """All of it."""
    found: list[float] = []
    # The sender is open before: an operator's is, too.
    async with opened() as bench, control(bench) as bus, bus.client.get_queue_sender(NODES) as sender:
        log = bench.folder / "words.log"
        for number in bench.rounds(rounds, SECONDS):
            jobs = [f"job-{number}-{place}" for place in range(WORKERS)]
            workers = []
            looked = log.read_text().count("control_first_look") if log.exists() else 0
            for job in jobs:
                queue = bench.queue()
                await bench.fill(queue, [])
                workers.append(bench.spawn(bench.ours(1), {**bench.environ(queue), **bus.environ(job)}))
            ready = await bench.until(
                lambda seen=looked: log.read_text().count("control_first_look") >= seen + WORKERS, START_SECONDS, 0.1
            )
            if not ready:
                raise MeasureError("the workers did not start")
            await asyncio.sleep(1.0)
            for job, worker in zip(jobs, workers, strict=True):
                order = ServiceBusMessage(json.dumps({**ORDER, "id": job}), session_id=job)
                begun = time.perf_counter()
                await sender.send_messages(order)
                await asyncio.to_thread(worker.wait, START_SECONDS)
                found.append(time.perf_counter() - begun)
    value = p95(found)
    what = f"drain order -> idle worker gone, s, p95 of {len(found)}"
    return [Row(what, value, goal=f"< {GOAL_SECONDS:.0f} s", met=value < GOAL_SECONDS)]


if __name__ == "__main__":
    program(measure, __doc__, 5)
