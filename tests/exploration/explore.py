"""Many runs, on several processes; failing ones are shrunk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from tests.exploration.run import Result, play, silence
from tests.exploration.script import Script, draw

T = TypeVar("T")
CHUNK = 25


@dataclass
class Findings:
    """What came of many runs."""

    runs: int = 0
    calls: int = 0
    passes: int = 0
    virtual_seconds: float = 0.0
    seconds: float = 0.0
    hit: Counter[str] = field(default_factory=Counter)
    failed: dict[int, str] = field(default_factory=dict)

    def add(self, other: Findings) -> None:
        self.runs += other.runs
        self.calls += other.calls
        self.passes += other.passes
        self.virtual_seconds += other.virtual_seconds
        self.hit += other.hit
        self.failed |= other.failed


def explore(first: int, number: int, *, processes: int = 1, most_failures: int = 5) -> Findings:
    """Play the scripts of so many seeds; ends early when so many have failed."""
    found, began = Findings(), time.monotonic()
    chunks = [range(start, min(start + CHUNK, first + number)) for start in range(first, first + number, CHUNK)]
    for part in _each(_explore, chunks, processes):
        found.add(part)
        if len(found.failed) >= most_failures:
            break
    found.seconds = time.monotonic() - began
    return found


def shrink(script: Script, *, tries: int = 400) -> tuple[Script, Result]:
    """Leave out what is not needed to break the same rule."""
    result = play(script)
    assert result.broken is not None
    rule = result.broken.rule
    budget = iter(range(tries))

    def fails(candidate: Script) -> bool:
        if next(budget, None) is None:
            return False
        broken = play(candidate).broken
        return broken is not None and broken.rule == rule

    script = replace(script, events=tuple(_fewest(script.events, lambda kept: fails(replace(script, events=kept)))))
    faults = tuple(script.faults.items())
    script = replace(script, faults=dict(_fewest(faults, lambda kept: fails(replace(script, faults=dict(kept))))))
    for key in list(script.specs):
        fewer = {other: spec for other, spec in script.specs.items() if other != key}
        events = tuple(event for event in script.events if not event.arguments or event.arguments[0] != key)
        candidate = replace(script, specs=fewer, events=events)
        if fewer and fails(candidate):
            script = candidate
    return script, play(script, trace=True)


def _fewest(items: Iterable[T], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """The items without those that can be left out, one after the other, halves first."""
    kept = tuple(items)
    size = max(1, len(kept) // 2)
    while True:
        for start in range(0, len(kept), size):
            candidate = kept[:start] + kept[start + size :]
            if len(candidate) < len(kept) and fails(candidate):
                kept = candidate
                break
        else:
            if size == 1:
                return kept
            size //= 2


def _explore(seeds: range) -> Findings:
    silence()
    found = Findings()
    for seed in seeds:
        result = play(draw(seed))
        found.add(Findings(1, result.calls, result.passes, result.virtual_seconds, hit=result.hit))
        if result.broken is not None:
            found.failed[seed] = str(result.broken)
    return found


def _each(work: Callable[[range], Findings], chunks: list[range], processes: int) -> Iterator[Findings]:
    if processes == 1:
        yield from map(work, chunks)
        return
    with ProcessPoolExecutor(processes) as pool:
        ahead, waiting = iter(chunks), []
        try:
            waiting = [pool.submit(work, chunk) for chunk in islice(ahead, processes * 2)]
            while waiting:
                yield waiting.pop(0).result()
                waiting += [pool.submit(work, chunk) for chunk in islice(ahead, 1)]
        finally:
            for future in waiting:
                future.cancel()
