"""The operator is killed, or what it depends on is away: nobody is hired twice, and it goes on by itself."""

import asyncio
import json
import random
import time
import urllib.error

import pytest

from tests.support.operator import OperatorProcess, azure_program

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_kills_in_the_middle_of_a_hire_make_no_second_job(bench):
    """SIGKILL at random moments of a hire of twenty; counted from the list of jobs, not from the status."""
    seed = random.randrange(10_000)
    moments = random.Random(seed)
    bench.operator.start()
    bench.apply(bench.workforce(replicas=20, deletionPolicy="Cancel"))
    for _ in range(3):
        before = len(bench.jobs())
        if before >= 20:
            break
        bench.until(lambda before=before: len(bench.jobs()) > before, f"another hire (seed {seed})")
        time.sleep(moments.uniform(0.0, 0.4))
        bench.operator.kill()
        bench.operator.start()
    bench.wait_ready()
    assert len(bench.live()) == 20, f"seed {seed}"
    assert len(bench.jobs()) == 20, f"seed {seed}"


FAILURES = {
    ("UserError", "ImagePullFailed"): "image pull: it says no",
    ("SystemError", "NodeLost"): "node lost: it says no",
    ("SystemError", "NodePreempted"): "preempted: it says no",
    ("SystemError", "QuotaExceeded"): "quota: it says no",
    ("UserError", "BadArgument"): "user error: it says no",
    ("SystemError",): "unknown failure: it says no",
}


def test_a_job_that_azureml_has_failed_is_told_by_its_codes_and_replaced(bench):
    bench.operator.start()
    policy = {"backoffBaseSeconds": 3, "backoffMaxSeconds": 3, "maxConsecutiveFailures": 10}
    bench.apply(bench.workforce(replicas=1, failurePolicy=policy, deletionPolicy="Cancel"))
    for number, (codes, told) in enumerate(FAILURES.items(), 1):
        bench.until(lambda: len(bench.running()) == 1, "a running job")
        (job,) = bench.live()
        bench.azure.happen("fail", job=job["name"], codes=list(codes), message="it says no")
        bench.until(lambda told=told: told in json.dumps(bench.status()), f"the status to tell: {told}")
        bench.until(lambda number=number: len(bench.jobs()) == number + 1, "the replacement")


def test_an_operator_whose_azure_is_away_waits_and_goes_on(bench, tmp_path):
    here = bench.azure
    away = azure_program(tmp_path, here.storage)
    with asyncio.Runner() as runner:
        runner.run(away.start_azure())
        try:
            runner.run(away.azure.stop())
            bench.azure = away
            bench.operator.start(**away.exports)
            bench.apply(bench.workforce(replicas=2, deletionPolicy="Cancel"))
            bench.until(lambda: bench.condition("RegionsHealthy")[0] == "False", "the region's outage is told")
            assert bench.operator.fetch("/livez")
            assert bench.operator.fetch("/readyz")
            runner.run(away.start_azure())
            bench.wait_ready()
            assert len(bench.live()) == 2
            bench.until(lambda: bench.condition("RegionsHealthy")[0] == "True", "the end of the outage is told")
            # Once per change, not once per pass.
            warned = bench.operator.said("cannot be read", source="region", region="uksouth")
            assert len(warned) <= 3, warned
            bench.kubectl("delete", "wf/md", "--timeout=90s")
        finally:
            bench.operator.kill()
            bench.azure = here
            runner.run(away.azure.stop())


def test_an_operator_without_an_api_server_waits_and_is_alive(bench, tmp_path):
    kubeconfig = tmp_path / "kubeconfig"
    text = bench.cluster.kubeconfig.read_text()
    kubeconfig.write_text(text.replace(bench.cluster.server, "https://127.0.0.1:1"))
    bench.operator.start(KUBECONFIG=str(kubeconfig))
    bench.until(lambda: bench.operator.said("the lease cannot be read or written"), "it says what it waits for")
    assert bench.operator.fetch("/livez")
    with pytest.raises(urllib.error.HTTPError):
        bench.operator.fetch("/readyz")
    assert bench.operator.running
    assert bench.operator.stop() == 0
    assert len(bench.operator.said("the lease cannot be read or written")) == 1


def test_a_second_replica_stands_by_and_takes_over_at_once(bench, tmp_path):
    bench.operator.start()
    bench.until(lambda: bench.operator.said("leading"), "the first one leads")
    second = OperatorProcess(bench.operator.environment | {"POD_NAME": "operator-1"}, tmp_path / "second.log")
    second.start()
    try:
        bench.until(lambda: second.said("standing by: another replica leads"), "the second one stands by")
        assert second.fetch("/readyz") == "standing by\n"
        bench.apply(bench.workforce(replicas=2, deletionPolicy="Cancel"))
        bench.wait_ready()
        assert second.said("hired") == []
        assert bench.operator.stop() == 0
        bench.until(lambda: second.said("leading"), "the second one leads")
        bench.kubectl("scale", "wf/md", "--replicas=4")
        bench.until(lambda: len(bench.live()) == 4, "four jobs")
        assert len(bench.jobs()) == 4
    finally:
        second.kill()


def test_a_leader_whose_lease_is_taken_ends_with_its_own_exit_code(bench):
    bench.operator.start()
    bench.until(lambda: bench.operator.said("leading"), "it leads")
    taken = '{"spec":{"holderIdentity":"somebody-else","leaseDurationSeconds":15}}'
    bench.kubectl("patch", "lease/workforce-operator", "--type=merge", "-p", taken)
    bench.until(lambda: not bench.operator.running, "its end")
    assert bench.operator._process.returncode == 3
