"""All programs of this folder, one table: `make bench-worker`.

Each number is the median of alternating runs; each program has a share of the time, and does fewer rounds on a slow
machine. The whole takes less than eight minutes on a machine that is otherwise quiet. What cannot be measured, or not
in time, is said in the table, and the rest is measured all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import drain
import enqueue
import footprint
import recovery
import startup
import throughput
from common import Row, machine, markdown, table

LIMIT_SECONDS = 240.0
MARKS = ("<!-- bench/worker/table.py: begin -->", "<!-- bench/worker/table.py: end -->")

PROGRAMS: dict[str, tuple[Callable[[int], Awaitable[list[Row]]], int]] = {
    "startup": (startup.measure, 5),
    "footprint": (footprint.measure, 1),
    "drain": (drain.measure, 5),
    "shell": (throughput.measure_shell, 3),
    "calls": (throughput.measure_calls, 3),
    "enqueue": (enqueue.measure, 3),
    "recovery": (recovery.measure, 1),
}


async def measured(name: str) -> list[Row]:
    """The rows of a program; one that says so, if it failed."""
    measure, rounds = PROGRAMS[name]
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await measure(rounds)
    except Exception as error:  # whatever it is, the others are measured
        print(f"... {name} failed: {type(error).__name__}: {error}", flush=True)
        return [Row(f"{name}: could not be measured", "-", goal="all of it", met=False)]


def written(page: str, rows: Sequence[Row], header: Sequence[str]) -> str:
    """A page of the documents with this table in place of the one between its marks.

    Raises:
        ValueError: The page has no marks.
    """
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not end:
        raise ValueError(f"the page has no {MARKS[0]} … {MARKS[1]}")
    text = "\n".join([*header, "", markdown(rows)])
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


async def main(names: list[str]) -> tuple[list[Row], list[str]]:
    """Measure everything, then print. Returns the rows, and what the machine was like."""
    begun = time.monotonic()
    before = machine()
    rows: list[Row] = []
    for name in names:
        rows += await measured(name)
        print(f"... {name}: {time.monotonic() - begun:.0f} s so far", flush=True)
    header = [f"before: {before}", f"after:  {machine()}"]
    print("\n".join(header))
    print(table(rows))
    met, goals = sum(row.met is True for row in rows), sum(bool(row.goal) for row in rows)
    print(f"{met} of {goals} goals met; {time.monotonic() - begun:.0f} s")
    return rows, header


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="*", choices=[*PROGRAMS, []], help="only these")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page of the documents, too")
    chosen = parser.parse_args()
    found, state = asyncio.run(main(chosen.programs or list(PROGRAMS)))
    if chosen.write is not None:
        said = [f"Measured on {datetime.now(UTC):%Y-%m-%d}; the machine, before and after:", "", "```", *state, "```"]
        chosen.write.write_text(written(chosen.write.read_text(), found, said))
