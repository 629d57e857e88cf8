"""All programs of this folder, one table: `make bench-worker`.

Each number is the median of alternating runs; each program has a share of the time, and does fewer rounds on a slow
machine. The whole takes less than eight minutes on a machine that is otherwise quiet.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable

import drain
import enqueue
import footprint
import recovery
import startup
import throughput
from common import Row, machine, table

PROGRAMS: dict[str, tuple[Callable[[int], Awaitable[list[Row]]], int]] = {
    "startup": (startup.measure, 5),
    "footprint": (footprint.measure, 1),
    "drain": (drain.measure, 5),
    "throughput": (throughput.measure, 3),
    "enqueue": (enqueue.measure, 3),
    "recovery": (recovery.measure, 1),
}


async def main(names: list[str]) -> None:
    """Measure everything, then print."""
    begun = time.monotonic()
    before = machine()
    rows: list[Row] = []
    for name in names:
        measure, rounds = PROGRAMS[name]
        rows += await measure(rounds)
        print(f"... {name}: {time.monotonic() - begun:.0f} s so far", flush=True)
    print(f"before: {before}\nafter:  {machine()}")
    print(table(rows))
    met, goals = sum(row.met is True for row in rows), sum(bool(row.goal) for row in rows)
    print(f"{met} of {goals} goals met; {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="*", choices=[*PROGRAMS, []], help="only these")
    asyncio.run(main(parser.parse_args().programs or list(PROGRAMS)))
