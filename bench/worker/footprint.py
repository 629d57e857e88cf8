"""What a worker costs while its tasks run: memory and processor time of its own processes, without its tasks.

    python bench/worker/footprint.py

Memory is the proportional set size (PSS) of the worker and of the processes that it keeps beside itself. Processor time
is measured while 32 tasks sleep, with locks that are renewed every 10 s, and on an empty queue.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
from common import Bench, MeasureError, Row, control, opened, program

MANY = 32
START_SECONDS = 120.0
SETTLE_SECONDS = 5.0
WINDOW_SECONDS = 20.0
LIMITS = {(1, False): 55.0, (MANY, False): 65.0, (1, True): 75.0, (MANY, True): 85.0}
CPU_LIMIT = 1.0


def own(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A worker's own processes: all of its tree but the tasks, which are shells and what these have become."""
    root = psutil.Process(process.pid)
    return [root, *(each for each in root.children(recursive=True) if each.name() not in {"bash", "sleep"})]


def memory(process: subprocess.Popen[bytes]) -> float:
    """PSS in MB."""
    total = 0
    for each in own(process):
        for line in Path(f"/proc/{each.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def seconds_used(process: subprocess.Popen[bytes]) -> float:
    """Processor time so far."""
    return sum(times.user + times.system for times in (each.cpu_times() for each in own(process)))


class Sleepers:
    """Workers whose tasks sleep, and one without a task."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.workers: dict[object, subprocess.Popen[bytes]] = {}

    async def start(self, name: object, slots: int, tasks: int, *, ours: bool, environ: Mapping[str, str]) -> None:
        """Start a worker and wait until its tasks run."""
        bench, queue = self._bench, self._bench.queue()
        folder = bench.folder / queue
        folder.mkdir()
        await bench.fill(queue, [{"cmd": f": > {folder}/{number}; exec sleep 600"} for number in range(tasks)])
        command = (
            bench.ours(slots, "--visibility-timeout", "20s")
            if ours
            else bench.theirs(queue, slots, "--visibility-timeout", "20s")
        )
        self.workers[name] = bench.spawn(command, {**bench.environ(queue), **environ})
        if not await bench.until(lambda: len(list(folder.iterdir())) >= tasks, START_SECONDS, 0.05) and ours:
            raise MeasureError(f"{name}: the tasks did not start in {START_SECONDS:.0f} s")

    async def cpu(self, seconds: float) -> dict[object, float]:
        """Per cent of a core of each, over some seconds."""
        begun = time.perf_counter()
        before = {name: seconds_used(process) for name, process in self.workers.items()}
        await asyncio.sleep(seconds)
        passed = time.perf_counter() - begun
        return {name: 100 * (seconds_used(self.workers[name]) - used) / passed for name, used in before.items()}

    def end(self) -> None:
        """End all of them."""
        for process in self.workers.values():
            self._bench.end(process)
        self.workers.clear()


async def measure(rounds: int) -> list[Row]:
    """All of it; memory does not vary and needs no rounds."""
    del rounds
    async with opened() as bench, AsyncExitStack() as stack:
        crowd = Sleepers(bench)
        stack.callback(crowd.end)
        for slots in (1, MANY):
            await crowd.start((slots, False), slots, slots, ours=True, environ={})
        await crowd.start("idle", 1, 0, ours=True, environ={})
        await asyncio.sleep(SETTLE_SECONDS)
        used = await crowd.cpu(WINDOW_SECONDS)
        held = {name: memory(process) for name, process in crowd.workers.items()}
        crowd.end()
        bus = await stack.enter_async_context(control(bench))
        for slots in (1, MANY):
            await crowd.start((slots, True), slots, slots, ours=True, environ=bus.environ(f"job-{slots}"))
        await asyncio.sleep(SETTLE_SECONDS)
        held.update({name: memory(process) for name, process in crowd.workers.items()})
        crowd.end()
        theirs: dict[object, float] = {}
        their_cpu = float("nan")
        if bench.ancestor:
            for slots in (1, MANY):
                await crowd.start(slots, slots, slots, ours=False, environ={})
                theirs[slots] = memory(crowd.workers[slots])
            their_cpu = (await crowd.cpu(SETTLE_SECONDS))[MANY]
    rows = []
    for (slots, channel), limit in LIMITS.items():
        what = f"memory, MB, {slots} shell slots{', control channel' if channel else ''}"
        compared = "-" if channel else theirs.get(slots, "-")
        ratio = compared / held[slots, channel] if isinstance(compared, float) else None
        mine = held[slots, channel]
        rows.append(Row(what, mine, compared, ratio=ratio, goal=f"<= {limit:.0f} MB", met=mine <= limit))
    asleep, idle = used[MANY, False], used["idle"]
    goal = f"< {CPU_LIMIT:.0f} %"
    rows.append(Row(f"CPU, % of a core, {MANY} tasks asleep", asleep, their_cpu, goal=goal, met=asleep < CPU_LIMIT))
    rows.append(Row("CPU, % of a core, empty queue", idle, "ends", goal=goal, met=idle < CPU_LIMIT))
    return rows


if __name__ == "__main__":
    program(measure, __doc__, 1)
