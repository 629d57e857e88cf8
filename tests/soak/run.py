"""`make soak`: the whole storm, its verdict, and an exit code.

python -m tests.soak.run [--tasks 10000] [--kills 200] [--patience 1200] [--seed 1] [--keep]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.storm import Plan, Storm
from tests.soak.verdict import Verdict, judge
from tests.support.storage import ACCOUNT
from workforce_local.storage import Azurite


async def soak(plan: Plan, folder: Path) -> Verdict:
    """Run it and print what happened."""
    said, begun = time.monotonic(), time.monotonic()

    def say(words: str) -> None:
        nonlocal said
        if time.monotonic() - said > 15:
            said = time.monotonic()
            print(words, flush=True)

    server = Azurite(folder / "azurite", [ACCOUNT])
    await server.start()
    try:
        storm = Storm(plan, folder / "storm", server)
        verdict = judge(await storm.run(say))
    finally:
        await server.stop()
    print(f"{plan.tasks} tasks, {plan.workers} workers of {plan.slots} slots, {time.monotonic() - begun:.0f} s")
    print("what happened: " + ", ".join(f"{times} x {name}" for name, times in sorted(storm.happened.items())))
    strikes: dict[str, int] = {}
    for injected in storm.engine.injected():
        strikes[injected.kind] = strikes.get(injected.kind, 0) + 1
    words = ", ".join(f"{times} x {kind}" for kind, times in sorted(strikes.items()))
    print(f"faults of the queue (among the last 20,000): {words}")
    print("\n".join(verdict.lines()))
    return verdict


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=Plan.tasks)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--kills", type=int, default=Plan.kills, help="and as many preemptions and drains")
    parser.add_argument("--patience", type=float, default=Plan.patience, help="seconds after which it has failed")
    parser.add_argument("--keep", action="store_true", help="keep the logs, and say where")
    chosen = parser.parse_args()
    plan = Plan(
        tasks=chosen.tasks, seed=chosen.seed, freezes=max(1, chosen.kills // 20),
        kills=chosen.kills, preemptions=chosen.kills, drains=chosen.kills, patience=chosen.patience,
    )  # fmt: skip
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=base))
    try:
        verdict = asyncio.run(soak(plan, folder))
    finally:
        if chosen.keep:
            print(f"kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if verdict.good else 1)


if __name__ == "__main__":
    main()
