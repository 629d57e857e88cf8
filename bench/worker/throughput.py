"""How many tasks a worker runs in a second: shell tasks that do nothing, and Python calls that do nothing.

    python bench/worker/throughput.py [--rounds 3]

A run is the whole process, from its start on a queue of 200 tasks (400 calls) to its end on the empty queue. The
ancestor's numbers at few slots take long and vary little: it is measured in at most two rounds there.
"""

from __future__ import annotations

from common import BARE, OURS, THEIRS, Bench, Row, median, opened, program

SHELL_TASKS = 200
CALLS = 400
SLOW_ROUNDS = 2
SHELL_SECONDS, CALL_SECONDS = 150.0, 50.0
TIMES_SHELL, OF_BARE = 12.0, 0.85
TIMES_CALLS = {1: 1.7, 8: 2.8, 32: 3.0}

Rates = dict[tuple[str, int], list[float]]


async def shell(bench: Bench, rounds: int) -> list[Row]:
    """Shell tasks."""
    rates: Rates = {}
    for number in bench.rounds(rounds, SHELL_SECONDS):
        for slots in (1, 2, 8, 32):
            contestants = [OURS, BARE]
            if bench.ancestor and slots in (1, 32) and number < SLOW_ROUNDS:
                contestants.append(THEIRS)
            for who in contestants:
                queue = bench.queue()
                await bench.fill(queue, [{"cmd": "true"}] * SHELL_TASKS)
                seconds = await bench.run(_command(bench, who, queue, slots), bench.environ(queue))
                rates.setdefault((who, slots), []).append(SHELL_TASKS / seconds)
    rows = []
    for slots in (1, 2, 8, 32):
        ours, bare = median(rates[OURS, slots]), median(rates[BARE, slots])
        what = f"shell tasks/s, {SHELL_TASKS}, whole process, {slots} slots"
        if slots in (1, 32):
            theirs = median(rates.get((THEIRS, slots), []))
            met = ours / theirs >= TIMES_SHELL if bench.ancestor else None
            rows.append(Row(what, ours, theirs, bare, ours / theirs, f">= {TIMES_SHELL:.0f} x ai4s", met))
        rows.append(Row(what, ours, "-", bare, ours / bare, f">= {OF_BARE} x bare", ours / bare >= OF_BARE))
    return rows


async def calls(bench: Bench, rounds: int) -> list[Row]:
    """Python calls."""
    rates: Rates = {}
    for _ in bench.rounds(rounds, CALL_SECONDS):
        for slots in TIMES_CALLS:
            for who in (OURS, THEIRS) if bench.ancestor else (OURS,):
                queue = bench.queue()
                await bench.fill(queue, [{"n": number} for number in range(CALLS)])
                proc = "noop:nothing" if who == OURS else "noop.Nothing"
                command = [*_command(bench, who, queue, slots), "--proc", proc]
                seconds = await bench.run(command, bench.environ(queue))
                rates.setdefault((who, slots), []).append(CALLS / seconds)
    rows = []
    for slots, times in TIMES_CALLS.items():
        ours, theirs = median(rates[OURS, slots]), median(rates.get((THEIRS, slots), []))
        met = ours / theirs >= times if bench.ancestor else None
        rows.append(
            Row(f"Python calls/s, {CALLS}, whole process, {slots} slots", ours, theirs, "-", ours / theirs,
                f">= {times} x ai4s", met)
        )  # fmt: skip
    return rows


def _command(bench: Bench, who: str, queue: str, slots: int) -> list[str]:
    if who == OURS:
        return bench.ours(slots, "--when-empty", "exit")
    if who == THEIRS:
        return bench.theirs(queue, slots)
    return bench.bare(queue, slots)


async def measure_shell(rounds: int) -> list[Row]:
    """Shell tasks, on a service of their own."""
    async with opened() as bench:
        return await shell(bench, rounds)


async def measure_calls(rounds: int) -> list[Row]:
    """Python calls, on a service of their own."""
    async with opened() as bench:
        return await calls(bench, rounds)


async def measure(rounds: int) -> list[Row]:
    """All of it."""
    return [*await measure_shell(rounds), *await measure_calls(rounds)]


if __name__ == "__main__":
    program(measure, __doc__, 3)
