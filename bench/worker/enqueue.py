"""How fast 5,000 tasks are enqueued: ours, a bare loop over the same SDK, and ai4s-jobq where it is installed.

    python bench/worker/enqueue.py [--tasks 5000] [--rounds 3]

Each round runs them one after the other, each in a process of its own on a fresh queue of one local storage service,
so that a slower moment of the machine meets all of them. ai4s-jobq is taken from `.cache/interop`, if it is there.
Prints the median of tasks per second and the ratios; asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from workforce_local.storage import Azurite

CHECKOUT = Path(__file__).resolve().parents[2]
ANCESTOR = CHECKOUT / ".cache" / "interop" / "bin" / "python"
ACCOUNT = "benchaccount"
CONCURRENCY = 100

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


def measure(python: str, body: str, queue: str, text: str, tasks: int) -> tuple[float, float]:
    """Tasks per second, and milliseconds of processor time per task, of one run in a process of its own."""
    done = subprocess.run(
        [python, "-c", _TIMED.replace("{body}", body), queue, text, str(tasks), str(CONCURRENCY)],
        check=True, stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir(),
    )  # fmt: skip
    seconds, used = (float(word) for word in done.stdout.split()[-2:])
    return tasks / seconds, used / tasks * 1000


async def run(tasks: int, rounds: int) -> None:
    """Measure, and print the table."""
    contestants = {"ours": (sys.executable, _OURS), "bare SDK loop": (sys.executable, _BARE)}
    if ANCESTOR.exists():
        contestants["ai4s-jobq"] = (str(ANCESTOR), _ANCESTOR)
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory() as folder:
        server = Azurite(Path(folder), [ACCOUNT])
        await server.start()
        try:
            text = server.connection_string(ACCOUNT)
            for number in range(rounds):
                for place, (name, (python, body)) in enumerate(contestants.items()):
                    queue = f"q-{number}-{place}"
                    runs[name].append(await asyncio.to_thread(measure, python, body, queue, text, tasks))
        finally:
            await server.stop()
    rates = {name: statistics.median(rate for rate, _ in found) for name, found in runs.items()}
    costs = {name: statistics.median(cost for _, cost in found) for name, found in runs.items()}
    print(f"{tasks} tasks, {CONCURRENCY} at a time, {rounds} rounds, medians [lowest, highest]")
    for name, found in runs.items():
        low, high = min(rate for rate, _ in found), max(rate for rate, _ in found)
        ratio, cheaper = rates["ours"] / rates[name], costs[name] / costs["ours"]
        print(
            f"{name:>14}: {rates[name]:5.0f} tasks/s [{low:.0f}, {high:.0f}], {costs[name]:.2f} ms of CPU per task; "
            f"ours is {ratio:.2f} times as fast, and {cheaper:.2f} times as cheap"
        )
    if not ANCESTOR.exists():
        print(f"{'ai4s-jobq':>14}: not installed in {ANCESTOR.parents[1]}")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    asyncio.run(run(chosen.tasks, chosen.rounds))


if __name__ == "__main__":
    main()
