"""How things end when Azure is away or refuses us, and who gets the worker jobs that are left."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.support.operator import OVER, OperatorProcess, define

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]

ARM = {"service": "arm", "path": "*/jobs*"}


@pytest.mark.parametrize(
    "fault",
    [{"kind": "outage", "name": "away", "where": ARM}, {"kind": "revoked", "name": "refused", "where": ARM}],
    ids=["away", "revoked"],
)
def test_deletion_ends_without_azure_and_an_equal_workforce_takes_the_jobs_back(bench, chaos, fault):
    """Rule 10: nothing can be cancelled or seen, and the object goes after its deadline all the same, and says so."""
    bench.operator.start()
    bench.apply(bench.workforce(replicas=2, deletionDeadlineSeconds=1))
    bench.until(lambda: len(bench.running()) == 2, "two running jobs")
    chaos.post("chaos", {"seed": 7, "faults": [fault]})
    bench.kubectl("delete", "wf/md", "--timeout=150s")
    assert "RegionsUnreadable" in bench.events()
    chaos.delete("chaos")
    assert len(bench.running()) == 2

    bench.apply(bench.workforce(replicas=2, deletionPolicy="Cancel"))
    bench.wait_ready()
    assert len(bench.jobs()) == 2
    bench.kubectl("delete", "wf/md", "--timeout=90s")
    bench.until(lambda: all(job["status"] in OVER for job in bench.jobs()), "the end of all jobs")


def test_a_new_cluster_takes_the_jobs_of_a_lost_one_back_and_another_installation_never_touches_them(
    bench, new_cluster, tmp_path
):
    """Two whole Kubernetes beside one Azure; the first is lost with its operator, its objects and their status."""
    bench.operator.start()
    bench.apply(bench.workforce(replicas=2))
    bench.until(lambda: len(bench.running()) == 2, "two running jobs")
    bench.operator.kill()
    lost = bench.cluster
    define(new_cluster)
    new_cluster.kubectl("create", "namespace", bench.namespace)
    bench.cluster = new_cluster
    bench.operator.environment["KUBECONFIG"] = str(new_cluster.kubeconfig)
    try:
        other = OperatorProcess(
            bench.operator.environment | {"WORKFORCE_INSTALLATION_ID": uuid.uuid4().hex[:12]}, tmp_path / "other.log"
        )
        theirs = other.environment["WORKFORCE_INSTALLATION_ID"]
        other.start()
        try:
            bench.apply(bench.workforce(replicas=3, deletionPolicy="Cancel"))
            bench.until(lambda: len(bench.azure.jobs(f"{theirs}/")) == 3, "three jobs of the other installation")
            bench.wait_ready()
            bench.kubectl("delete", "wf/md", "--timeout=90s")
            bench.until(lambda: all(job["status"] in OVER for job in bench.azure.jobs(f"{theirs}/")), "their end")
        finally:
            other.kill()
        assert len(bench.running()) == 2

        bench.operator.start()
        bench.apply(bench.workforce(replicas=2, deletionPolicy="Cancel"))
        bench.wait_ready()
        assert len(bench.jobs()) == 2
        assert len(bench.running()) == 2
        assert len(bench.azure.jobs(f"{theirs}/")) == 3
    finally:
        bench.operator.kill()
        bench.cluster = lost


def test_a_status_of_another_installation_is_left_alone(bench, tmp_path):
    """A restored backup of another cluster's objects: nothing is hired or cancelled, and the condition says why."""
    bench.operator.start()
    bench.apply(bench.workforce(replicas=1))
    bench.until(lambda: len(bench.running()) == 1, "a running job")
    bench.operator.kill()
    other = OperatorProcess(
        bench.operator.environment | {"WORKFORCE_INSTALLATION_ID": uuid.uuid4().hex[:12], "POD_NAME": "other-0"},
        tmp_path / "other.log",
    )
    other.start()
    try:
        bench.kubectl("scale", "wf/md", "--replicas=3")
        told = ("False", "OtherInstallation")
        bench.until(lambda: bench.condition("SpecAccepted") == told, "that the condition says why")
        assert bench.azure.jobs(f"{other.environment['WORKFORCE_INSTALLATION_ID']}/") == []
        assert len(bench.running()) == 1
    finally:
        other.kill()


WORKER = {"slots": 1, "environment": {"type": "Image", "image": "worker:1"}}


def test_another_installation_takes_over_the_workers_of_a_lost_cluster_and_drains_one_of_them(bench, tmp_path):
    """Orders go to the queues where those workers listen; their reports come from there."""
    gate, record = tmp_path / "gate", tmp_path / "record"
    bench.push(f"until [ -e {gate} ]; do sleep 0.2; done; echo {number} >> {record}\n" for number in range(2))
    bench.operator.start()
    bench.apply(bench.workforce(replicas=2, control=bench.control(), template=WORKER))
    bench.until(lambda: len(bench.running()) == 2, "two running workers")
    bench.until(lambda: bench.condition("ControlChannelReady")[0] == "True", "the control channel")
    bench.operator.kill()
    forget(bench)

    changes = {"WORKFORCE_INSTALLATION_ID": uuid.uuid4().hex[:12], "POD_NAME": "other-0"}
    bench.operator.start(**changes)
    adopting = {"control": bench.control(), "template": WORKER, "adoptFrom": bench.installation_id}
    # What was forgotten with the status may be a drain, so that nobody is told before its deadline.
    adopting["drain"] = {"deadlineSeconds": 60}
    bench.apply(bench.workforce(replicas=2, **adopting))
    bench.wait_ready()
    assert bench.status()["installationId"] == bench.installation_id
    bench.kubectl("scale", "wf/md", "--replicas=1")
    bench.until(lambda: bench.operator.said("told to leave"), "that one is told to leave", patience=150)
    gate.touch()
    bench.until(lambda: len(bench.live()) == 1, "that it is gone", patience=120)
    assert [job["status"] for job in bench.jobs() if job["status"] in OVER] == ["Completed"]
    bench.until(lambda: record.exists() and len(record.read_text().split()) == 2, "both tasks")
    assert len(bench.jobs()) == 2
    assert bench.azure.jobs(f"{changes['WORKFORCE_INSTALLATION_ID']}/") == []


def forget(bench):
    """The object is gone without an operator having seen it go."""
    patch = json.dumps({"metadata": {"finalizers": None}})
    bench.kubectl("patch", "wf", "md", "--type=merge", "-p", patch)
    bench.kubectl("delete", "wf/md", "--timeout=60s")
