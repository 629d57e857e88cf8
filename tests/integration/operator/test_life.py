"""A Workforce's life against a real API server and the local Azure: apply, Ready, scale, delete."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_a_workforce_is_hired_scaled_and_deleted(bench):
    bench.operator.start()
    bench.apply(bench.workforce(replicas=3, deletionPolicy="Cancel"))
    bench.wait_ready()
    assert len(bench.live()) == 3
    status = bench.status()
    assert (status["desiredReplicas"], status["replicas"]) == (3, 3)

    bench.kubectl("scale", "wf/md", "--replicas=6")
    bench.until(lambda: len(bench.live()) == 6, "six jobs")
    bench.wait_ready()

    bench.kubectl("delete", "wf/md", "--timeout=90s")
    bench.until(lambda: not bench.live(), "the end of all jobs")
    assert len(bench.jobs()) == 6

    tell = bench.operator.said("hired")
    assert len(tell) == 6
    assert all(line["workforce"] == f"{bench.namespace}/md" for line in tell)
    assert {line["region"] for line in tell} == {"uksouth", "westeurope"}
    assert {line["job"] for line in tell} == {job["name"] for job in bench.jobs()}
    metrics = {f.name: f for f in text_string_to_metric_families(bench.operator.fetch("/metrics"))}
    hired = [s.value for s in metrics["workforce_actions"].samples if s.labels == {"kind": "hire", "result": "done"}]
    assert hired[0] == 6
    assert bench.operator.fetch("/livez").startswith("leading")
    assert bench.operator.fetch("/readyz") == "leading\n"
    assert bench.operator.stop() == 0
