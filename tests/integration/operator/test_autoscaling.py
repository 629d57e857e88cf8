"""A fleet that follows its queue, with the real operator, real workers and real queues."""

import json
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.support.operator import OVER, SUBSCRIPTION

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]

QUICK = {
    "pollIntervalSeconds": 1,
    "behavior": {
        "scaleUp": {"policies": [{"type": "Replicas", "value": 1000, "periodSeconds": 1}]},
        "scaleDown": {"stabilizationWindowSeconds": 3},
    },
}
TEMPLATE = {"slots": 2, "environment": {"type": "Image", "image": "worker:1"}}


def push(bench, queue, commands):
    subprocess.run(
        [sys.executable, "-m", "workforce_agent", "push", queue],
        input="".join(f"{command}\n" for command in commands),
        env={**bench.operator.environment, "PATH": "/usr/bin:/bin"},
        text=True,
        check=True,
        timeout=60,
    )


def waiting_task(tmp_path, number):
    """A task that tells when it has begun and runs until its file `go` is there."""
    return (
        f"touch {tmp_path}/started-{number}; while [ ! -e {tmp_path}/go-{number} ] && [ ! -e {tmp_path}/go ]; "
        f"do sleep 0.2; done; touch {tmp_path}/done-{number}"
    )


def done(tmp_path):
    return len(list(tmp_path.glob("done-*")))


def decision(bench):
    return bench.status().get("lastScaleDecision", {})


def test_a_fleet_grows_with_its_queue_by_the_ramp_and_shrinks_by_a_drain_without_churn(bench, tmp_path):
    """Tasks for six replicas; then half of them is left, and three workers would do."""
    push(bench, f"wfdemo/{bench.namespace}-tasks", [waiting_task(tmp_path, number) for number in range(12)])
    bench.operator.start()
    scaling = QUICK | {"policy": "TasksPerReplica", "maxReplicas": 50}
    document = bench.workforce(control=bench.control(), template=TEMPLATE, autoscaling=scaling)
    del document["spec"]["replicas"]
    bench.apply(document)
    bench.until(lambda: len(list(tmp_path.glob("started-*"))) == 12, "all tasks being run", patience=180)
    assert len(bench.jobs()) == 6
    assert decision(bench)["desired"] == 6
    bench.wait_ready()

    for number in range(0, 12, 2):
        (tmp_path / f"go-{number}").touch()
    bench.until(lambda: done(tmp_path) == 6, "half of the tasks")
    bench.until(lambda: bench.status()["desiredReplicas"] <= 3, "the smaller number")
    bench.until(lambda: bench.status()["drainingReplicas"] or len(bench.live()) <= 3, "workers that are told to leave")
    assert "stabilizationWindowSeconds" not in json.dumps(decision(bench)["clamps"])

    (tmp_path / "go").touch()
    bench.until(lambda: not bench.live(), "the end of all workers")
    assert done(tmp_path) == 12
    bench.until(lambda: bench.condition("Ready") == ("True", "Idle"), "idleness")
    assert {job["status"] for job in bench.jobs()} == {"Completed"}
    assert len(bench.jobs()) == 6


def test_the_ramp_of_policy_jobq_starts_with_ten(bench, tmp_path):
    push(bench, f"wfdemo/{bench.namespace}-tasks", ["true"] * 250)
    bench.operator.start()
    document = bench.workforce(autoscaling=QUICK | {"policy": "JobQ", "maxReplicas": 12}, deletionPolicy="Cancel")
    del document["spec"]["replicas"]
    bench.apply(document)
    first = bench.until(lambda: decision(bench), "the first decision")
    assert (first["rawDesired"], first["desired"]) == (10, 10)
    assert "ramp 10 × (1 + 0 running) = 10" in first["message"]
    bench.until(lambda: decision(bench)["desired"] == 12, "the limit")
    assert decision(bench)["clamps"] == [{"name": "autoscaling.maxReplicas", "from": 50, "to": 12}]
    bench.until(lambda: len(bench.running()) == 12, "twelve workers")
    assert len(bench.jobs()) == 12


def test_workers_serve_a_service_bus_queue_as_many_as_its_tasks_need(bench, tmp_path):
    name = f"{bench.namespace}-tasks"
    make_queue(bench, name)
    push(bench, f"sb://wf-bus/{name}", [waiting_task(tmp_path, number) for number in range(6)])
    bench.operator.start()
    document = bench.workforce(
        control=bench.control(),
        template=TEMPLATE,
        queue={"type": "ServiceBus", "serviceBus": {"namespace": "wf-bus", "name": name}},
        autoscaling=QUICK | {"policy": "TasksPerReplica", "maxReplicas": 10},
    )
    del document["spec"]["replicas"]
    bench.apply(document)
    bench.until(lambda: len(list(tmp_path.glob("started-*"))) == 6, "all tasks being run", patience=180)
    assert bench.condition("QueueReachable") == ("True", "Reached")
    assert bench.status()["queueLength"] == 6
    assert len(bench.jobs()) == 3
    (tmp_path / "go").touch()
    bench.until(lambda: done(tmp_path) == 6, "all tasks")
    bench.until(lambda: not bench.live(), "the end of all workers")
    bench.until(lambda: bench.condition("Ready") == ("True", "Idle"), "idleness")
    assert {job["status"] for job in bench.jobs()} <= OVER
    assert len(bench.jobs()) == 3


def make_queue(bench, name):
    """Over the resource manager, as a person would."""
    given = bench.operator.environment
    cloud = json.loads(Path(given["WORKFORCE_CLOUD"]).read_text())
    manager, context = cloud["resourceManager"], ssl.create_default_context(cafile=cloud["caBundle"])
    form = {
        "grant_type": "client_credentials",
        "client_id": given["AZURE_CLIENT_ID"],
        "client_secret": given["AZURE_CLIENT_SECRET"],
        "scope": f"{manager}/.default",
    }
    asked = urllib.request.Request(f"{manager}/adfs/oauth2/v2.0/token", data=urllib.parse.urlencode(form).encode())
    with urllib.request.urlopen(asked, timeout=30, context=context) as answer:
        token = json.load(answer)["access_token"]
    path = (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/workforce/providers/Microsoft.ServiceBus"
        f"/namespaces/wf-bus/queues/{name}?api-version=2024-01-01"
    )
    put = urllib.request.Request(
        manager + path,
        data=b'{"properties": {"lockDuration": "PT1M"}}',
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(put, timeout=30, context=context) as answer:
        assert answer.status == 200


def test_a_queue_that_is_not_there_is_told_and_hires_nobody(bench):
    bench.operator.start()
    document = bench.workforce(autoscaling=QUICK | {"policy": "TasksPerReplica", "maxReplicas": 10})
    del document["spec"]["replicas"]
    bench.apply(document)
    bench.until(lambda: bench.condition("QueueReachable") == ("False", "NotFound"), "the missing queue")
    assert bench.status()["desiredReplicas"] == 0
    assert bench.jobs() == []
