"""Singularity pauses jobs; the operator resumes them, and replaces those whose time is used up."""

import pytest

from tests.support.operator import OVER, SUBSCRIPTION

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

VIRTUAL = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/workforce/providers"
    "/Microsoft.MachineLearningServices/virtualclusters/vc"
)


def states(bench):
    return {job["name"]: job["status"] for job in bench.jobs()}


def test_paused_jobs_run_again_and_one_that_used_up_its_time_is_replaced(bench):
    template = {
        "command": "sleep 3600",
        "environment": {"type": "Image", "image": "worker:1"},
        "resources": {"instanceType": "Singularity.D4", "properties": {"AISuperComputer": {"interactive": False}}},
        "queueSettings": {"jobTier": "Spot", "priority": "High"},
    }
    bench.operator.start()
    regions = [bench.region("uksouth", compute=VIRTUAL)]
    bench.apply(bench.workforce(replicas=2, regions=regions, template=template, deletionPolicy="Cancel"))
    bench.until(lambda: len(bench.running()) == 2, "two running jobs")
    first, second = sorted(states(bench))

    # While the operator is away nobody resumes anything: what it finds is what it goes by.
    bench.operator.kill()
    for name in (first, second):
        bench.azure.happen("pause", job=name)
    bench.azure.happen("use-up", job=second)
    bench.until(lambda: set(states(bench).values()) == {"Paused"}, "both paused")
    bench.operator.start()

    bench.until(lambda: states(bench)[first] == "Running", "the first job to run again")
    bench.until(lambda: states(bench)[second] in OVER, "the end of the job that used up its time")
    bench.until(lambda: len(bench.running()) == 2, "its replacement")
    assert states(bench)[first] == "Running"
    assert len(bench.jobs()) == 3
    assert {line["job"] for line in bench.operator.said("resumed")} == {first}
    bench.until(lambda: {"Resuming", "TimeUsedUp"} <= set(bench.events()), "that both are told")
    bench.wait_ready()
    bench.until(lambda: bench.status().get("runningReplicas") == 2, "the numbers")
    assert bench.status().get("pausedReplicas", 0) == 0

    bench.kubectl("delete", "wf/md", "--timeout=90s")
    bench.until(lambda: all(status in OVER for status in states(bench).values()), "the end of all jobs")
