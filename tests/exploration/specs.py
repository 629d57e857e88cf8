"""Specs as people write them, drawn at random, and how they edit them.

To teach the explorer a new feature: add what writes it to ``VARIANTS``, and what may be edited to ``EDITS``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from tests.support import workforces

Draw = Callable[[dict[str, Any], random.Random], None]
INSTALLATION = "k3v9x2ab"
OTHER_INSTALLATION = "q7w2e5r1"
"""An operator of another cluster, which is lost; its worker jobs live."""
REGISTERED = "worker"
"""Name of an environment in every workspace."""
EIGHT_O_CLOCK = [("8", "Etc/UTC"), ("9", "Europe/Berlin"), ("3", "America/New_York"), ("13", "Asia/Kolkata")]
"""Hours that begin when a run does, or half an hour later, and where."""
SERVICE_BUS_QUEUE = {"type": "ServiceBus", "serviceBus": {"namespace": "tasks-bus", "name": "tasks"}}
ONE_OF_MANY = "bus-of-many"
"""The common namespace of a spec in which regions have others."""
VIRTUAL_CLUSTER = (
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg"
    "/providers/Microsoft.MachineLearningServices/virtualclusters/vc"
)


def spec_of(rng: random.Random, variant: str | None = None) -> dict[str, Any]:
    """A valid spec; with the variant, if one is named, and others."""
    control = rng.random() < 0.85
    regions = [region_of(rng, f"r{number}") for number in range(rng.choice([1, 2, 2, 3]))]
    spec = workforces.spec(
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
    for name, (share, write) in VARIANTS.items():
        if name == variant or rng.random() < share:
            write(spec, rng)
    return spec


def region_of(rng: random.Random, name: str) -> dict[str, Any]:
    """A valid region in a workspace of its own."""
    most = rng.choice([1, 2, 2, 3, 4, 6])
    return workforces.region(name, workspace=f"ws-{name}", maxReplicas=most, minReplicas=rng.choice([0, 0, 0, 1]))


# Variants: what some specs have beside the usual. Each changes the spec in place.


def _autoscaled(policy: str) -> Draw:
    def write(spec: dict[str, Any], rng: random.Random) -> None:
        del spec["replicas"]
        least = rng.choice([0, 0, 1, 2])
        spec["autoscaling"] = {
            "policy": policy,
            "tasksPerReplica": rng.choice([1, 4, 20]),
            "minReplicas": least,
            "maxReplicas": least + rng.randint(1, 8),
            "pollIntervalSeconds": rng.choice([60, 120, 300]),
            "activationTasks": rng.choice([0, 0, 8]),
            "behavior": _behavior(rng),
        }

    return lambda spec, rng: None if "autoscaling" in spec else write(spec, rng)


def _behavior(rng: random.Random) -> dict[str, Any]:
    slow = [{"type": "Replicas", "value": rng.randint(1, 3), "periodSeconds": rng.choice([60, 300])}]
    return {
        "scaleUp": {"policies": rng.choice([[], slow]), "stabilizationWindowSeconds": rng.choice([0, 0, 120])},
        "scaleDown": {"policies": rng.choice([[], slow]), "stabilizationWindowSeconds": rng.choice([0, 60, 300])},
    }


def _checkpoint(spec: dict[str, Any], rng: random.Random) -> None:
    spec["drain"]["mode"] = "Checkpoint"


def _dialect(spec: dict[str, Any], rng: random.Random) -> None:
    """The workers are ai4s-jobq's: nobody can name one of them."""
    spec["control"] = workforces.CONTROL | {"dialect": "JobQ"}
    spec["drain"]["onDeadline"] = "Wait"


def _strategy(name: str) -> Draw:
    def write(spec: dict[str, Any], rng: random.Random) -> None:
        spec["placement"] = {"strategy": name, "queuedTimeoutSeconds": rng.choice([60, 300, 3600])}
        for region in spec["regions"]:
            region |= {"priority": rng.randint(0, 2), "weight": rng.randint(1, 3), "hourlyCost": f"{rng.randint(1, 3)}"}

    return write


def _overrides(spec: dict[str, Any], rng: random.Random) -> None:
    region = rng.choice(spec["regions"])
    region["overrides"] = {"environment": {"type": "Image", "image": f"worker:{region['name']}"}}


def _latest(spec: dict[str, Any], rng: random.Random) -> None:
    spec["template"] = workforces.template(environment={"type": "Registered", "name": REGISTERED, "label": "latest"})


def _singularity(spec: dict[str, Any], rng: random.Random) -> None:
    rng.choice(spec["regions"])["compute"] = VIRTUAL_CLUSTER
    spec["template"]["queueSettings"] = {"jobTier": "Spot"}


def _schedules(spec: dict[str, Any], rng: random.Random) -> None:
    """Times that begin about when the run does, and last into it or beyond its end."""
    _autoscaled("TasksPerReplica")(spec, rng)
    scaling = spec["autoscaling"]
    scaling["schedules"] = [
        {
            "name": f"s{number}",
            "schedule": f"{rng.randint(0, 20)} {hour} * * *",
            "timeZone": zone,
            "durationSeconds": rng.choice([300, 900, 72_000]),
            "minReplicas": rng.randint(1, max(1, scaling["maxReplicas"])),
        }
        for number, (hour, zone) in enumerate(rng.sample(EIGHT_O_CLOCK, rng.choice([1, 1, 2])))
    ]


def _own_channels(spec: dict[str, Any], rng: random.Random) -> None:
    """The workers of all regions but the first listen in a namespace of their own."""
    if "control" in spec:
        spec["control"] = spec["control"] | {"serviceBus": spec["control"]["serviceBus"] | {"namespace": ONE_OF_MANY}}
        spec["regions"] = [_with_channel(spec, region) for region in spec["regions"]]


def _with_channel(spec: Mapping[str, Any], region: dict[str, Any]) -> dict[str, Any]:
    """The region, with the namespace that it always has in specs like this one."""
    common = spec.get("control", {}).get("serviceBus", {})
    if common.get("namespace") != ONE_OF_MANY or region["name"] == "r0":
        return region
    return region | {"control": {"serviceBus": common | {"namespace": f"bus-of-{region['name']}"}}}


def _service_bus(spec: dict[str, Any], rng: random.Random) -> None:
    spec["queue"] = SERVICE_BUS_QUEUE


def _adopting(spec: dict[str, Any], rng: random.Random) -> None:
    spec["adoptFrom"] = OTHER_INSTALLATION


def installation_of(spec: Mapping[str, Any]) -> str:
    """Whose jobs a Workforce with this spec has."""
    return str(spec.get("adoptFrom", INSTALLATION))


VARIANTS: dict[str, tuple[float, Draw]] = {
    "policy JobQ": (0.08, _autoscaled("JobQ")),
    "policy TasksPerReplica": (0.08, _autoscaled("TasksPerReplica")),
    "mode Checkpoint": (0.1, _checkpoint),
    "dialect JobQ": (0.08, _dialect),
    "strategy Spread": (0.05, _strategy("Spread")),
    "strategy Weighted": (0.05, _strategy("Weighted")),
    "strategy Priority": (0.05, _strategy("Priority")),
    "strategy Cheapest": (0.05, _strategy("Cheapest")),
    "overrides": (0.1, _overrides),
    "label latest": (0.05, _latest),
    "Singularity": (0.1, _singularity),
    "schedules": (0.04, _schedules),
    "own channels": (0.1, _own_channels),
    "Service Bus queue": (0.15, _service_bus),
    "adoptFrom": (0.05, _adopting),
}
"""By name: how often, and what it writes. Each script has the variant whose turn it is."""


def variants(spec: Mapping[str, Any]) -> list[str]:
    """The names of the variants that a spec has."""
    scaling, placement = spec.get("autoscaling", {}), spec.get("placement", {})
    has = {
        f"policy {scaling.get('policy')}": bool(scaling),
        "schedules": "schedules" in scaling,
        "mode Checkpoint": spec["drain"].get("mode") == "Checkpoint",
        "dialect JobQ": spec.get("control", {}).get("dialect") == "JobQ",
        f"strategy {placement.get('strategy')}": bool(placement),
        "overrides": any("overrides" in region for region in spec["regions"]),
        "own channels": any("control" in region for region in spec["regions"]),
        "label latest": "label" in spec["template"]["environment"],
        "Singularity": any(region["compute"] == VIRTUAL_CLUSTER for region in spec["regions"]),
        "Service Bus queue": spec["queue"]["type"] == "ServiceBus",
        "adoptFrom": "adoptFrom" in spec,
    }
    return [name for name, true in has.items() if true]


# How people edit a spec: each takes the spec and a source of randomness, and changes the spec in place.


def _scale(spec: dict[str, Any], rng: random.Random) -> None:
    if "autoscaling" in spec:
        least = rng.randint(0, 3)
        most = max(
            least + rng.randint(0, 6), *(each["minReplicas"] for each in spec["autoscaling"].get("schedules", [])), 0
        )
        spec["autoscaling"] |= {"minReplicas": least, "maxReplicas": most}
    else:
        spec["replicas"] = rng.randint(0, 8)


def _policy(spec: dict[str, Any], rng: random.Random) -> None:
    """From fixed replicas to autoscaling, back, or from one policy to the other; with other schedules."""
    had = spec.pop("autoscaling", None)
    if had and rng.random() < 0.5:
        spec["replicas"] = rng.randint(0, 8)
        return
    spec.setdefault("replicas", 0)
    rng.choice([_autoscaled("JobQ"), _autoscaled("TasksPerReplica"), _schedules])(spec, rng)


def _pace(spec: dict[str, Any], rng: random.Random) -> None:
    if "autoscaling" in spec:
        spec["autoscaling"] |= {
            "behavior": _behavior(rng),
            "activationTasks": rng.choice([0, 8]),
            "tasksPerReplica": rng.choice([1, 4, 20]),
        }


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
        spec["regions"].append(_with_channel(spec, region))


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
    named = spec.get("control", {}).get("dialect") != "JobQ"
    spec["drain"] = {
        "deadlineSeconds": rng.choice([60, 300, 900]),
        "onDeadline": rng.choice(["Wait", "Checkpoint", "Cancel"]) if named else "Wait",
        "mode": rng.choice(["Finish", "Finish", "Checkpoint"]),
    }


def _failure_policy(spec: dict[str, Any], rng: random.Random) -> None:
    spec["failurePolicy"] = {"backoffBaseSeconds": 10, "maxConsecutiveFailures": rng.randint(1, 5)}


def _template(spec: dict[str, Any], rng: random.Random) -> None:
    spec["template"] = spec["template"] | {"command": f"run {rng.randint(0, 3)}"}


def _place_otherwise(spec: dict[str, Any], rng: random.Random) -> None:
    _strategy(rng.choice(["CapacityAware", "Spread", "Weighted", "Priority", "Cheapest"]))(spec, rng)


EDITS: dict[str, tuple[int, Draw]] = {
    "scale": (10, _scale),
    "limit a region": (2, _limit),
    "remove a region": (2, _remove_region),
    "add a region": (2, _add_region),
    "suspend": (1, _suspend),
    "deletion policy": (1, _deletion),
    "drain": (1, _drain),
    "failure policy": (1, _failure_policy),
    "template": (1, _template),
    "placement": (1, _place_otherwise),
    "overrides": (1, _overrides),
    "policy": (0, _policy),
    "pace": (0, _pace),
}
"""By name: how often beside its turn, and what it does."""
