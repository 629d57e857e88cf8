"""What the watch brings: changes are seen at once, and the definition itself may go and come back."""

import pytest

from tests.support.kubernetes import await_definition
from tests.support.operator import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SELDOM = {"WORKFORCE_POLL_SECONDS": "0.5", "WORKFORCE_RESYNC_SECONDS": "3600"}


def test_a_change_is_seen_by_the_watch_and_not_at_the_next_regular_look(bench):
    bench.operator.start(**SELDOM)
    bench.until(lambda: bench.operator.said("leading"), "it leads")
    bench.apply(bench.workforce(replicas=1, deletionPolicy="Cancel"))
    bench.wait_ready()
    bench.kubectl("scale", "wf/md", "--replicas=2")
    bench.until(lambda: len(bench.live()) == 2, "two jobs")
    bench.kubectl("delete", "wf/md", "--timeout=60s")


def test_jobs_outlive_the_definition_and_are_taken_back_with_it(bench):
    definition = str(ROOT / "crds" / "workforces.yaml")
    bench.operator.start()
    bench.apply(bench.workforce(replicas=2, deletionPolicy="Cancel"))
    bench.wait_ready()
    before = {job["name"] for job in bench.live()}
    try:
        bench.cluster.kubectl("delete", "crd", "workforces.workforce.dev", "--timeout=60s")
        assert {job["name"] for job in bench.live()} == before
    finally:
        bench.cluster.kubectl("apply", "--server-side", "-f", definition)
        await_definition(bench.cluster.kubectl)
    bench.until(lambda: "workforces" in bench.cluster.kubectl("api-resources", "--cached=false"), "the resource")
    bench.apply(bench.workforce(replicas=3, deletionPolicy="Cancel"))
    bench.wait_ready()
    assert before < {job["name"] for job in bench.live()}
    assert len(bench.jobs()) == 3
    bench.kubectl("delete", "wf/md", "--timeout=60s")
