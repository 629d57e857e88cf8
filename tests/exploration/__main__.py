"""The command behind ``make explore``: many runs and the mutants, or one run to be looked at."""

from __future__ import annotations

import argparse
import os
import sys

from tests.exploration.explore import Findings, explore, shrink
from tests.exploration.mutants import MUTANTS, hunt
from tests.exploration.run import Result, play, silence
from tests.exploration.script import CALL_FAULTS, Script, draw


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.exploration", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, help="only this run")
    parser.add_argument("--trace", action="store_true", help="tell all that happens in it")
    parser.add_argument("--whole", action="store_true", help="do not leave out what a failing run does not need")
    parser.add_argument("--mutants", action="store_true", help="only the mutants: each must break a rule")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="with --seed: the run under this mutant")
    options = parser.parse_args()
    silence()
    if options.seed is not None:
        return _one(options)
    failed = 0
    if not options.mutants:
        failed = _many(options)
    return failed or _mutants(options.processes)


def _one(options: argparse.Namespace) -> int:
    if options.mutant:
        MUTANTS[options.mutant].install()
    script = draw(options.seed)
    result = play(script, trace=options.trace)
    if result.broken is not None and not options.whole:
        script, result = shrink(script)
    _show(script, result, trace=options.trace)
    return int(result.broken is not None)


def _show(script: Script, result: Result, *, trace: bool) -> None:
    for key, spec in script.specs.items():
        shown = {name: value for name, value in spec.items() if name not in ("queue", "template", "control", "regions")}
        regions = {each["name"]: f"{each.get('minReplicas', 0)}..{each['maxReplicas']}" for each in spec["regions"]}
        print(f"{key.namespace}/{key.name}: {shown}, regions {regions}, control {'control' in spec}")
    print(f"nodes {dict(script.nodes)}; quiet at {script.quiet_at:.0f} s; tasks at the end: {script.tasks}")
    for event in script.events:
        print(event)
    for number, (fault, share) in sorted(script.faults.items()):
        print(f"    call #{number}  {fault} ({share:.2f})")
    if trace:
        print(*result.trace, sep="\n")
    print(f"seed {script.seed}: {result.broken or 'no rule is broken'}")


def _many(options: argparse.Namespace) -> int:
    found = explore(options.first, options.runs, processes=options.processes)
    _tell(found)
    for seed, broken in sorted(found.failed.items())[:3]:
        print(f"\nseed {seed} breaks a rule: {broken}")
        script, result = shrink(draw(seed))
        _show(script, result, trace=False)
        print(f"see it: python -m tests.exploration --seed {seed} --trace")
    return len(found.failed)


def _tell(found: Findings) -> None:
    rate = found.runs / max(found.seconds, 1e-9)
    print(
        f"{found.runs} runs in {found.seconds:.0f} s ({rate:.0f} per second): {found.passes} passes, "
        f"{found.calls} calls, {found.virtual_seconds / 3600:.0f} virtual hours"
    )
    print("injected into calls:")
    for kind in CALL_FAULTS:
        print(f"  {found.hit[kind]:7} {kind}")
    print("happened:")
    for kind, count in sorted(found.hit.items()):
        if kind not in CALL_FAULTS:
            print(f"  {count:7} {kind}")
    print(f"{len(found.failed)} runs break a rule" if found.failed else "no rule is broken")


def _mutants(processes: int) -> int:
    print("\nmutants (each must break a rule):")
    missed = 0
    for name, (seeds, broken) in hunt(processes=processes).items():
        missed += broken is None
        print(f"  {name:42} {'NOT CAUGHT in' if broken is None else 'caught by'} {seeds:4} runs  {broken or ''}"[:160])
    return missed


if __name__ == "__main__":
    sys.exit(main())
