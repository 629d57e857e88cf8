"""Where the operator hires when a cluster is full, when a region refuses hires, and when it cannot be read."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.operator import SUBSCRIPTION

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]

WORKSPACE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/workforce"
    "/providers/Microsoft.MachineLearningServices/workspaces/ws-uksouth"
)
HIRING = "Microsoft.MachineLearningServices/workspaces/jobs/write"


def live(bench) -> Counter[str]:
    """Live jobs by region."""
    return Counter("uksouth" if "-uksouth-" in job["name"] else "westeurope" for job in bench.live())


def available(bench, region: str) -> tuple[str, str]:
    """The condition of one region."""
    found = [each for each in bench.status().get("regions", []) if each["name"] == region]
    conditions = found[0].get("conditions", []) if found else []
    return (conditions[0]["status"], conditions[0]["reason"]) if conditions else ("", "")


def capacities(bench) -> dict[str, int | None]:
    return {each["name"]: each.get("capacity") for each in bench.status().get("regions", [])}


def test_a_full_cluster_gets_no_hires_and_what_has_no_place_is_told(bench, chaos):
    """Both clusters have one node; somebody else has the one in uksouth."""
    chaos.post("set-shared", {"workspace": "ws-uksouth", "compute": "small", "nodes": 1})
    try:
        small = [bench.region(name, compute="small") for name in ("uksouth", "westeurope")]
        bench.operator.start()
        bench.apply(bench.workforce(replicas=2, regions=small, deletionPolicy="Cancel"))
        bench.until(lambda: live(bench) == {"westeurope": 1}, "the one node that is free")
        bench.until(lambda: bench.condition("CapacityAvailable") == ("False", "ClusterFull"), "the shortage is told")
        bench.until(lambda: capacities(bench) == {"uksouth": 0, "westeurope": 0}, "what is free is told")
        assert len(bench.jobs()) == 1
    finally:
        chaos.post("set-shared", {"workspace": "ws-uksouth", "compute": "small", "nodes": 0})
    bench.until(lambda: live(bench) == {"uksouth": 1, "westeurope": 1}, "the node that has become free")
    bench.until(lambda: bench.condition("CapacityAvailable") == ("True", "Enough"), "the end of the shortage is told")
    bench.kubectl("delete", "wf/md", "--timeout=90s")


def test_hires_that_a_region_refuses_are_made_elsewhere_until_a_trial_works(bench, chaos):
    chaos.post("deny", {"action": HIRING, "scope": WORKSPACE})
    try:
        regions = [bench.region("uksouth"), bench.region("westeurope", maxReplicas=6)]
        bench.operator.start()
        bench.apply(bench.workforce(replicas=6, regions=regions, deletionPolicy="Cancel"))
        bench.until(lambda: live(bench) == {"westeurope": 6}, "all hires where they are accepted")
        bench.until(lambda: bench.condition("RegionsHealthy") == ("False", "CircuitOpen"), "the circuit is told")
        assert available(bench, "uksouth")[0] == "False"
        bench.wait_ready()
        bench.operator.kill()
        bench.operator.start()
        bench.kubectl("scale", "wf/md", "--replicas=8")
    finally:
        chaos.post("allow-all", {})
    bench.until(
        lambda: live(bench) == {"uksouth": 2, "westeurope": 6}, "a trial that works, and the rest", patience=150
    )
    bench.until(lambda: bench.condition("RegionsHealthy") == ("True", "AllHealthy"), "the end of it is told")
    bench.until(lambda: available(bench, "uksouth") == ("True", "CircuitClosed"), "the region says so itself")
    assert len(bench.jobs()) == 8


def test_an_outage_of_a_region_moves_nobody_and_lays_nobody_off(bench, chaos):
    bench.operator.start()
    bench.apply(bench.workforce(replicas=4, deletionPolicy="Cancel"))
    bench.wait_ready()
    assert live(bench) == {"uksouth": 2, "westeurope": 2}
    chaos.post("set-outage", {"location": "uksouth", "on": True})
    try:
        bench.until(lambda: available(bench, "uksouth") == ("False", "RegionUnreadable"), "the outage is told")
        bench.kubectl("scale", "wf/md", "--replicas=3")
        bench.until(lambda: bench.status().get("desiredReplicas") == 3, "the new number is seen")
        # Laying off counts the region as nothing: who runs elsewhere is not too many.
        assert live(bench)["westeurope"] == 2
    finally:
        chaos.post("set-outage", {"location": "uksouth", "on": False})
    bench.until(lambda: available(bench, "uksouth") == ("True", "CircuitClosed"), "its end is told")
    bench.kubectl("delete", "wf/md", "--timeout=90s")
    assert len(bench.jobs()) == 4
