"""What happens in one run, drawn from a seed: a spec, what people and the platform do, and what goes wrong when.

A script is data, so that a failing one can be shrunk by leaving things out. Every kind of variant, happening and fault
has its turn: so a few dozen seeds in a row meet all of them. What people write is in ``specs``.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.exploration.specs import EDITS, VARIANTS, spec_of
from workforce_operator.ports.kubernetes import Key

EDITS_BY_TURN = {3: "policy", 5: "pace", 11: "policy"}
"""By the seed modulo 16: an edit beside the others, drawn by itself so that it changes nothing of them."""

CALL_FAULTS = {
    "refused": 3,  # the service does not answer; nothing was done
    "answer lost": 4,  # it was done, and the caller is told that the service did not answer
    "late": 4,  # as above, but it is done up to a minute and a half later
    "twice": 2,  # the network repeats the request
    "throttled": 2,
    "denied": 1,
    "hangs": 1,  # no answer at all: the caller's own timeout must end it
    "killed before": 3,
    "killed after": 4,
    "frozen": 1,  # the process stops for less than its lease lasts, in the midst of the call
    "asleep": 2,  # for longer: another one takes over, and then this one wakes up
    "stale list": 3,  # an older answer to the same question
    "short list": 3,  # some of the jobs are not in the index yet
}
"""What may go wrong with one call of a port, and how often in relation to each other."""

WORKSPACES = ("ws-r0", "ws-r1", "ws-r2", "ws-other")


@dataclass(frozen=True)
class Event:
    """Something that happens at a time (seconds since the run began)."""

    at: float
    kind: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.at:7.1f} s  {self.kind} {', '.join(map(repr, self.arguments))}"


@dataclass(frozen=True)
class Script:
    """One run.

    Attributes:
        seed: Where it came from; also decides latencies, sizes and whatever else the world draws.
        specs: The objects that are applied when it begins.
        events: What people, workers and the platform do.
        faults: By the number of the call: what goes wrong with it, and by how much (0..1).
        nodes: Nodes per workspace while faults last.
        quiet_at: When all faults end.
        tasks: How many tasks wait in the queue at the end.
        told: Workspaces whose cluster tells its nodes.
        deleted_at_the_end: Whether the objects are deleted when all is settled.
    """

    seed: int
    specs: Mapping[Key, dict[str, Any]]
    events: tuple[Event, ...] = ()
    faults: Mapping[int, tuple[str, float]] = field(default_factory=dict)
    nodes: Mapping[str, int] = field(default_factory=dict)
    quiet_at: float = 1800.0
    tasks: int = 100
    told: frozenset[str] = frozenset()
    deleted_at_the_end: bool = False


def draw(seed: int) -> Script:
    """The script of a seed."""
    rng = random.Random(seed)
    specs = {Key("chem", "md"): spec_of(rng, _turn(VARIANTS, seed))}
    if rng.random() < 0.1:
        specs[Key("chem", "dock")] = spec_of(rng)
    quiet_at = rng.uniform(200, 1500)
    return Script(
        seed=seed,
        specs=specs,
        events=tuple(sorted(_events(rng, specs, quiet_at, seed), key=lambda event: event.at)),
        faults=_faults(rng, seed),
        nodes={name: rng.choice([0, 1, 3, 20, 20]) for name in WORKSPACES},
        quiet_at=quiet_at,
        tasks=rng.choice([3, 15, 30, 100, 100, 300]) if rng.random() < 0.85 else 0,
        told=frozenset(name for name in WORKSPACES if rng.random() < 0.5),
        deleted_at_the_end=rng.random() < 0.4,
    )


HAPPENINGS = {
    "preempt": 6,  # a node is taken away; the job waits again
    "fail": 5,
    "complete": 4,
    "pause": 2,
    "not responding": 1,
    "deaf": 3,  # the worker cannot reach its session for a while
    "stubborn": 2,  # its task takes hours
    "region down": 4,
    "region denied": 1,
    "hires refused": 3,  # by a quota, a role or a compute that went; all else works there
    "time used up": 1,  # a paused job has run as long as it may: it cannot be resumed
    "new version": 1,  # of the environment
    "nodes": 3,  # another number of nodes in a workspace
    "poison": 2,  # jobs fail soon after their start
    "control down": 3,
    "one channel down": 1,
    "queue unreadable": 2,
    "queue empty": 3,
    "queue length": 3,
    "tail": 3,  # the last tasks are being run
    "lists stand still": 3,
    "lists short": 3,  # some of the jobs are not in the index for a while
    "reports lost": 3,
    "API server down": 2,
    "clock wrong": 3,
    "watch again": 3,  # the same watch event once more
    "watch silent": 2,  # watch events get lost for a while
    "restart": 3,
    "stand-by takes over": 2,
    "status lost": 1,
    "drain asked": 2,  # somebody names a worker that is to leave
    "delete": 2,
    "definition goes": 1,
}
"""What may happen, and how often in relation to each other."""


def apply_edit(spec: Mapping[str, Any], kind: str, seed: int) -> dict[str, Any]:
    """The spec after an edit."""
    edited = copy.deepcopy(dict(spec))
    EDITS[kind][1](edited, random.Random(seed))
    return edited


def _turn(kinds: Mapping[str, Any], seed: int) -> str:
    return list(kinds)[seed % len(kinds)]


def _events(rng: random.Random, specs: Mapping[Key, Any], until: float, seed: int) -> list[Event]:
    events = []
    for _ in range(rng.choice([0, 1, 2, 3, 5])):
        kind = _pick(rng, {name: weight for name, (weight, _) in EDITS.items()})
        key, at = rng.choice(sorted(specs)), rng.uniform(0, until)
        events.append(Event(at, "edit", (key, kind, rng.randrange(1000))))
        if rng.random() < 0.4:  # people change their mind
            events.append(Event(at + rng.uniform(5, 90), "edit", (key, "scale", rng.randrange(1000))))
    kinds = [_turn(HAPPENINGS, seed), *(_pick(rng, HAPPENINGS) for _ in range(rng.choice([0, 0, 1, 3, 7])))]
    events += [_happening(rng, kind, specs, until) for kind in kinds]
    if kind := EDITS_BY_TURN.get(seed % 16):
        own = random.Random(seed)
        events.append(Event(own.uniform(0, until), "edit", (own.choice(sorted(specs)), kind, own.randrange(1000))))
    return events


def _happening(rng: random.Random, kind: str, specs: Mapping[Key, Any], until: float) -> Event:
    at = rng.uniform(0, until)
    how_long = rng.choice([5.0, 60.0, 200.0, 600.0])
    return Event(at, kind, (rng.choice(sorted(specs)), rng.randrange(64), how_long))


def _faults(rng: random.Random, seed: int) -> dict[int, tuple[str, float]]:
    number = rng.choice([0, 0, 1, 2, 4, 8])
    calls = [rng.randrange(rng.choice([25, 100, 400])) for _ in range(number)]
    faults = {call: (_pick(rng, CALL_FAULTS), rng.random()) for call in calls}
    return faults | {rng.randrange(30): (_turn(CALL_FAULTS, seed), rng.random())}


def _pick(rng: random.Random, weights: Mapping[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
