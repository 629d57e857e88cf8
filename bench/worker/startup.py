"""How long after its start a worker runs its first task, and how long until it runs 32.

python bench/worker/startup.py [--rounds 5]
"""

from __future__ import annotations

import time
from pathlib import Path

from common import OURS, THEIRS, Bench, Row, median, opened, program

MANY = 32
FIRST_SECONDS, MANY_SECONDS = 0.35, 0.45
SECONDS = 60.0
SLOW_ROUNDS = 1


async def start(bench: Bench, who: str, slots: int) -> float:
    """Seconds from the start of a worker until as many tasks run as it has slots."""
    queue = bench.queue()
    folder = bench.folder / queue
    folder.mkdir()
    await bench.fill(queue, [{"cmd": f": > {folder}/{number}; exec sleep 60"} for number in range(slots)])
    command = bench.ours(slots) if who == OURS else bench.theirs(queue, slots)
    begun = time.perf_counter()
    process = bench.spawn(command, bench.environ(queue))
    try:
        await bench.until(lambda: len(list(Path(folder).iterdir())) >= slots, SECONDS)
        return time.perf_counter() - begun
    finally:
        bench.end(process)


async def measure(rounds: int) -> list[Row]:
    """All of it."""
    found: dict[tuple[str, int], list[float]] = {}
    async with opened() as bench:
        for number in bench.rounds(rounds, SECONDS):
            for slots in (1, MANY):
                for who in (OURS, THEIRS) if bench.ancestor and number < SLOW_ROUNDS else (OURS,):
                    found.setdefault((who, slots), []).append(await start(bench, who, slots))
    rows = []
    for slots, goal, what in ((1, FIRST_SECONDS, "first task"), (MANY, MANY_SECONDS, f"{MANY} tasks running")):
        ours, theirs = median(found[OURS, slots]), median(found.get((THEIRS, slots), []))
        rows.append(
            Row(f"start -> {what}, s", ours, theirs, ratio=theirs / ours, goal=f"<= {goal} s", met=ours <= goal)
        )
    return rows


if __name__ == "__main__":
    program(measure, __doc__, 5)
