"""How fast 5,000 tasks are enqueued: ours, a bare loop over the SDK, ai4s-jobq where it is installed, and the limit.

    python bench/worker/enqueue.py [--rounds 3]

Each round runs them one after the other, each in a process of its own on a fresh queue of one local storage service,
so that a slower moment of the machine meets all of them, and the queue is removed after it. ai4s-jobq is taken from
`.cache/interop`, if it is there. The limit is what the storage service itself takes: requests that were signed before
the clock starts, written to open connections by a program that does nothing else.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from common import ANCESTOR as ANCESTOR_BIN
from common import BARE, HERE, OURS, RUN_SECONDS, THEIRS, Row, median, opened, program

ANCESTOR = ANCESTOR_BIN / "python"
CONCURRENCY = 100
TASKS = 5000
TIMES = 1.4
SECONDS = 60.0
LIMIT = "limit"

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


def once(program: Sequence[str], queue: str, text: str) -> tuple[float, float]:
    """Tasks per second, and milliseconds of processor time per task, of one run in a process of its own."""
    done = subprocess.run(
        [*program, queue, text, str(TASKS), str(CONCURRENCY)],
        check=True, stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir(), timeout=RUN_SECONDS,
    )  # fmt: skip
    seconds, used = (float(word) for word in done.stdout.split()[-2:])
    return TASKS / seconds, used / TASKS * 1000


def timed(python: str, body: str) -> list[str]:
    """A program that prints how long its `main` took."""
    return [python, "-c", _TIMED.replace("{body}", body)]


async def measure(rounds: int) -> list[Row]:
    """Measure in alternating rounds."""
    contestants = {
        OURS: timed(sys.executable, _OURS),
        BARE: timed(sys.executable, _BARE),
        LIMIT: [sys.executable, str(HERE / "limit.py")],
    }
    if ANCESTOR.exists():
        contestants[THEIRS] = timed(str(ANCESTOR), _ANCESTOR)
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    async with opened() as bench:
        for _ in bench.rounds(rounds, SECONDS):
            for name, each in contestants.items():
                queue = bench.queue()
                runs[name].append(await asyncio.to_thread(once, each, queue, bench.text))
                await bench.remove(queue)
    rates = {name: median(rate for rate, _ in found) for name, found in runs.items()}
    costs = {name: median(cost for _, cost in found) for name, found in runs.items()}
    ours, theirs = rates[OURS], rates.get(THEIRS, float("nan"))
    met = ours / theirs >= TIMES if THEIRS in rates else None
    return [
        Row(f"enqueue {TASKS} tasks, tasks/s", ours, theirs, rates[BARE], ours / theirs, f">= {TIMES} x ai4s", met),
        Row("the same, ms of CPU per task", costs[OURS], costs.get(THEIRS, "-"), costs[BARE]),
        Row(
            f"the same, of the service's limit, {rates[LIMIT]:.0f}/s",
            ours / rates[LIMIT],
            theirs / rates[LIMIT],
            rates[BARE] / rates[LIMIT],
        ),
    ]


if __name__ == "__main__":
    program(measure, __doc__, 3)
