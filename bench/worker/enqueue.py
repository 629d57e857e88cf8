"""How fast 5,000 tasks are enqueued: ours, a bare loop over the SDK, and ai4s-jobq where it is installed.

    python bench/worker/enqueue.py [--rounds 3]

Each round runs them one after the other, each in a process of its own on a fresh queue of one local storage service,
so that a slower moment of the machine meets all of them. ai4s-jobq is taken from `.cache/interop`, if it is there.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile

from common import ANCESTOR as ANCESTOR_BIN
from common import BARE, OURS, THEIRS, Row, median, opened, program

ANCESTOR = ANCESTOR_BIN / "python"
CONCURRENCY = 100
TASKS = 5000
TIMES = 1.4
SECONDS = 60.0

_TIMED = """
import asyncio, sys, time
name, text, count, width = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
commands = [f"echo {number}" for number in range(count)]
{body}
asyncio.run(main())
"""

_OURS = """
from jobq import JobQ, batch_enqueue

async def main():
    async with JobQ.from_connection_string(name, connection_string=text) as queue:
        begun, used = time.perf_counter(), time.process_time()
        await batch_enqueue(queue, commands, num_enqueue_workers=width, show_progress=False)
        print(time.perf_counter() - begun, time.process_time() - used)
"""

_ANCESTOR = """
from ai4s.jobq import JobQ, batch_enqueue

async def main():
    async with JobQ.from_connection_string(name, connection_string=text) as queue:
        begun, used = time.perf_counter(), time.process_time()
        await batch_enqueue(queue, commands, num_enqueue_workers=width, show_progress=False)
        print(time.perf_counter() - begun, time.process_time() - used)
"""

_BARE = """
import json
from azure.storage.queue.aio import QueueClient

async def main():
    async with QueueClient.from_connection_string(text, name) as client:
        await client.create_queue()
        left = iter(commands)

        async def push():
            for command in left:
                kwargs = json.dumps({"cmd": command})
                body = {"version": 1, "reply_requested": False, "kwargs": kwargs, "num_retries": 1, "id": command}
                await client.send_message(json.dumps(body), time_to_live=-1)

        begun, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(push() for _ in range(width)))
        print(time.perf_counter() - begun, time.process_time() - used)
"""


def once(python: str, body: str, queue: str, text: str, tasks: int) -> tuple[float, float]:
    """Tasks per second, and milliseconds of processor time per task, of one run in a process of its own."""
    done = subprocess.run(
        [python, "-c", _TIMED.replace("{body}", body), queue, text, str(tasks), str(CONCURRENCY)],
        check=True, stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir(),
    )  # fmt: skip
    seconds, used = (float(word) for word in done.stdout.split()[-2:])
    return tasks / seconds, used / tasks * 1000


async def measure(rounds: int) -> list[Row]:
    """Measure in alternating rounds."""
    contestants = {OURS: (sys.executable, _OURS), BARE: (sys.executable, _BARE)}
    if ANCESTOR.exists():
        contestants[THEIRS] = (str(ANCESTOR), _ANCESTOR)
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    async with opened() as bench:
        for _ in bench.rounds(rounds, SECONDS):
            for name, (python, body) in contestants.items():
                runs[name].append(await asyncio.to_thread(once, python, body, bench.queue(), bench.text, TASKS))
    rates = {name: median(rate for rate, _ in found) for name, found in runs.items()}
    costs = {name: median(cost for _, cost in found) for name, found in runs.items()}
    ours, theirs = rates[OURS], rates.get(THEIRS, float("nan"))
    met = ours / theirs >= TIMES if THEIRS in rates else None
    return [
        Row(f"enqueue {TASKS} tasks, tasks/s", ours, theirs, rates[BARE], ours / theirs, f">= {TIMES} x ai4s", met),
        Row("the same, ms of CPU per task", costs[OURS], costs.get(THEIRS, "-"), costs[BARE]),
    ]


if __name__ == "__main__":
    program(measure, __doc__, 3)
