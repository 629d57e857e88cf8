"""What happens in one run, drawn from a seed: a spec, what people and the platform do, and what goes wrong when.

A script is data, so that a failing one can be shrunk by leaving things out. To teach the explorer a new feature: let
``spec_of`` draw its fields, add what may be edited to ``EDITS``, and what the platform may do to ``HAPPENINGS``.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support import workforces
from workforce_operator.ports.kubernetes import Key

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
        work: Whether tasks wait in the queue at the end.
        deleted_at_the_end: Whether the objects are deleted when all is settled.
    """

    seed: int
    specs: Mapping[Key, dict[str, Any]]
    events: tuple[Event, ...] = ()
    faults: Mapping[int, tuple[str, float]] = field(default_factory=dict)
    nodes: Mapping[str, int] = field(default_factory=dict)
    quiet_at: float = 1800.0
    work: bool = True
    deleted_at_the_end: bool = False


def draw(seed: int) -> Script:
    """The script of a seed."""
    rng = random.Random(seed)
    keys = [Key("chem", "md")] + ([Key("chem", "dock")] if rng.random() < 0.1 else [])
    specs = {key: spec_of(rng) for key in keys}
    quiet_at = rng.uniform(200, 1500)
    return Script(
        seed=seed,
        specs=specs,
        events=tuple(sorted(_events(rng, specs, quiet_at), key=lambda event: event.at)),
        faults=_faults(rng),
        nodes={f"ws-{name}": rng.choice([0, 1, 3, 20, 20]) for name in ("r0", "r1", "r2", "other")},
        quiet_at=quiet_at,
        work=rng.random() < 0.85,
        deleted_at_the_end=rng.random() < 0.4,
    )


def spec_of(rng: random.Random) -> dict[str, Any]:
    """A valid spec."""
    control = rng.random() < 0.85
    regions = [region_of(rng, f"r{number}") for number in range(rng.choice([1, 2, 2, 3]))]
    return workforces.spec(
        replicas=rng.randint(0, 8),
        regions=regions,
        drain={
            "deadlineSeconds": rng.choice([60, 300, 900, 86400]),
            "onDeadline": rng.choice(["Wait", "Wait", "Checkpoint", "Cancel"]),
        },
        suspend=rng.choice(["None"] * 8 + ["ScaleUpOnly", "Hold", "Drain"]),
        deletionPolicy=rng.choice([None, None, "Drain" if control else None, "Cancel", "Orphan"]),
        deletionDeadlineSeconds=rng.choice([0, 120, 900, 86400]),
        **({} if control else {"control": None}),
    )


def region_of(rng: random.Random, name: str) -> dict[str, Any]:
    """A valid region in a workspace of its own."""
    most = rng.choice([1, 2, 2, 3, 4, 6])
    return workforces.region(name, workspace=f"ws-{name}", maxReplicas=most, minReplicas=rng.choice([0, 0, 0, 1]))


# How people edit a spec: each takes the spec and a source of randomness, and changes the spec in place.


def _scale(spec: dict[str, Any], rng: random.Random) -> None:
    spec["replicas"] = rng.randint(0, 8)


def _limit(spec: dict[str, Any], rng: random.Random) -> None:
    region = rng.choice(spec["regions"])
    region["maxReplicas"] = rng.randint(region.get("minReplicas", 0), 6)


def _remove_region(spec: dict[str, Any], rng: random.Random) -> None:
    if len(spec["regions"]) > 1:
        spec["regions"].pop(rng.randrange(len(spec["regions"])))


def _add_region(spec: dict[str, Any], rng: random.Random) -> None:
    missing = {"r0", "r1", "r2"} - {region["name"] for region in spec["regions"]}
    if missing:
        region = region_of(rng, rng.choice(sorted(missing)))
        if rng.random() < 0.3:
            region["workspace"] = "ws-other"
        spec["regions"].append(region)


def _suspend(spec: dict[str, Any], rng: random.Random) -> None:
    spec["suspend"] = rng.choice(["None", "None", "None", "ScaleUpOnly", "Hold", "Drain"])


def _deletion(spec: dict[str, Any], rng: random.Random) -> None:
    policies = [None, "Cancel", "Orphan", *(["Drain"] if "control" in spec else [])]
    policy = rng.choice(policies)
    spec.pop("deletionPolicy", None)
    if policy:
        spec["deletionPolicy"] = policy
    spec["deletionDeadlineSeconds"] = rng.choice([0, 120, 900, 86400])


def _drain(spec: dict[str, Any], rng: random.Random) -> None:
    spec["drain"] = {
        "deadlineSeconds": rng.choice([60, 300, 900]),
        "onDeadline": rng.choice(["Wait", "Checkpoint", "Cancel"]),
    }


def _failure_policy(spec: dict[str, Any], rng: random.Random) -> None:
    spec["failurePolicy"] = {"backoffBaseSeconds": 10, "maxConsecutiveFailures": rng.randint(1, 5)}


def _template(spec: dict[str, Any], rng: random.Random) -> None:
    spec["template"] = workforces.template(command=f"run {rng.randint(0, 3)}")


EDITS: dict[str, tuple[int, Callable[[dict[str, Any], random.Random], None]]] = {
    "scale": (10, _scale),
    "limit a region": (2, _limit),
    "remove a region": (2, _remove_region),
    "add a region": (2, _add_region),
    "suspend": (1, _suspend),
    "deletion policy": (1, _deletion),
    "drain": (1, _drain),
    "failure policy": (1, _failure_policy),
    "template": (1, _template),
}
"""By name: how often, and what it does."""

HAPPENINGS = {
    "preempt": 6,  # a node is taken away; the job waits again
    "fail": 5,
    "complete": 4,
    "pause": 1,
    "not responding": 1,
    "deaf": 3,  # the worker cannot reach its session for a while
    "stubborn": 2,  # its task takes hours
    "region down": 4,
    "region denied": 1,
    "nodes": 3,  # another number of nodes in a workspace
    "poison": 2,  # jobs fail soon after their start
    "control down": 3,
    "queue unreadable": 2,
    "queue empty": 3,
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


def _events(rng: random.Random, specs: Mapping[Key, Any], until: float) -> list[Event]:
    events = []
    for _ in range(rng.choice([0, 1, 2, 3, 5])):
        kind = _pick(rng, {name: weight for name, (weight, _) in EDITS.items()})
        key, at = rng.choice(sorted(specs)), rng.uniform(0, until)
        events.append(Event(at, "edit", (key, kind, rng.randrange(1000))))
        if rng.random() < 0.4:  # people change their mind
            events.append(Event(at + rng.uniform(5, 90), "edit", (key, "scale", rng.randrange(1000))))
    return events + [_happening(rng, specs, until) for _ in range(rng.choice([0, 1, 2, 4, 8]))]


def _happening(rng: random.Random, specs: Mapping[Key, Any], until: float) -> Event:
    kind, at = _pick(rng, HAPPENINGS), rng.uniform(0, until)
    how_long = rng.choice([5.0, 60.0, 200.0, 600.0])
    return Event(at, kind, (rng.choice(sorted(specs)), rng.randrange(64), how_long))


def _faults(rng: random.Random) -> dict[int, tuple[str, float]]:
    number = rng.choice([0, 1, 2, 3, 5, 9])
    calls = [rng.randrange(rng.choice([25, 100, 400])) for _ in range(number)]
    return {call: (_pick(rng, CALL_FAULTS), rng.random()) for call in calls}


def _pick(rng: random.Random, weights: Mapping[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
