"""How long after the SIGKILL of a worker its task runs again elsewhere, by default.

    python bench/worker/recovery.py

The task is three seconds old when its worker dies. ai4s-jobq hides a task for ten minutes; of it is measured only
whether its message is visible again when ours has run for the second time.
"""

from __future__ import annotations

import asyncio
import time

from common import Bench, MeasureError, Row, opened, program

from jobq import JobQ

AGE_SECONDS = 3.0
GOAL_SECONDS = 60.0
PATIENCE = 90.0


async def killed(bench: Bench, *, ours: bool) -> tuple[str, float]:
    """Kill a worker with a young task. Returns the queue and when that was."""
    queue = bench.queue()
    starts = bench.folder / queue
    starts.mkdir()
    await bench.fill(queue, [{"cmd": f": > {starts}/$$; exec sleep 600"}])
    process = bench.spawn(bench.ours(1) if ours else bench.theirs(queue, 1), bench.environ(queue))
    if not await bench.until(lambda: any(starts.iterdir()), PATIENCE, 0.05):
        raise MeasureError("the task did not start")
    await asyncio.sleep(AGE_SECONDS)
    bench.end(process)
    return queue, time.perf_counter()


async def measure(rounds: int) -> list[Row]:
    """One trial: it takes a minute."""
    del rounds
    async with opened() as bench:
        theirs = await killed(bench, ours=False) if bench.ancestor else None
        queue, died = await killed(bench, ours=True)
        starts = bench.folder / queue
        successor = bench.spawn(bench.ours(1), bench.environ(queue))
        again = await bench.until(lambda: len(list(starts.iterdir())) > 1, PATIENCE, 0.05)
        seconds = time.perf_counter() - died if again else float("inf")
        bench.end(successor)
        compared = "-"
        if theirs is not None:
            async with JobQ.from_connection_string(theirs[0], connection_string=bench.text) as looked:
                visible = (await looked.size()).visible
            compared = "yes" if visible else f"> {time.perf_counter() - theirs[1]:.0f}"
    goal = f"<= {GOAL_SECONDS:.0f} s"
    return [Row("SIGKILL -> task runs elsewhere, s", seconds, compared, goal=goal, met=seconds <= GOAL_SECONDS)]


if __name__ == "__main__":
    program(measure, __doc__, 1)
