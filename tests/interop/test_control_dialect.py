"""A fleet of the ancestor's workers under our operator: it shrinks by messages that whoever takes them follows."""

from __future__ import annotations

import json
import shlex
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import ACCOUNT, ANCESTOR, NAMESPACE, Ancestor, LocalCloud, OurAgent, wait_until
from tests.support.kubernetes import Cluster
from tests.support.operator import OperatorProcess

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
FLEET = ("norwayeast", "polandcentral")
"""Nodes that other tests have used count as taken until they are given back: these are nobody else's."""


class Fleet:
    """An operator, and one Workforce of the ancestor's workers."""

    def __init__(self, cluster: Cluster, namespace: str, cloud: LocalCloud, folder: Path) -> None:
        self.installation = uuid.uuid4().hex[:12]
        self._cluster, self._namespace, self._cloud = cluster, namespace, cloud
        environment = {
            **cloud.exports,
            "KUBECONFIG": str(cluster.kubeconfig),
            "POD_NAMESPACE": namespace,
            "POD_NAME": "operator-0",
            "POD_IP": "127.0.0.1",
            "WORKFORCE_NAMESPACES": namespace,
            "WORKFORCE_INSTALLATION_ID": self.installation,
            "WORKFORCE_HTTP_PORT": "0",
            "WORKFORCE_POLL_SECONDS": "0.5",
            "WORKFORCE_RESYNC_SECONDS": "2",
        }
        self.operator = OperatorProcess(environment, folder / "operator.log")

    def kubectl(self, *words: str, **options: Any) -> str:
        return self._cluster.kubectl("-n", self._namespace, *words, **options)

    def apply(self, *, replicas: int, queue: str, command: str) -> None:
        config = self._cloud.config
        azure = {"subscriptionId": config.subscription_id, "resourceGroup": "workforce"}
        regions = [
            azure | {"name": name, "workspace": f"ws-{name}", "compute": "cluster", "maxReplicas": 3} for name in FLEET
        ]
        spec = {
            "replicas": replicas,
            "queue": {"type": "Storage", "storage": {"account": ACCOUNT, "name": queue}},
            "regions": regions,
            "control": {"serviceBus": azure | {"namespace": NAMESPACE}, "dialect": "JobQ"},
            "template": {"command": command, "environment": {"type": "Image", "image": "worker:1"}},
        }
        metadata = {"name": "old", "namespace": self._namespace}
        document = {"apiVersion": "workforce.dev/v1alpha1", "kind": "Workforce", "metadata": metadata, "spec": spec}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def jobs(self) -> list[dict[str, Any]]:
        """The Workforce's jobs."""
        jobs = self._cloud.inspect("jobs")
        return [job for job in jobs if job["properties"].get("workforce-owner", "").startswith(f"{self.installation}/")]

    def states(self) -> Counter[str]:
        """How many are in which state."""
        return Counter(job["status"] for job in self.jobs())

    def said(self) -> str:
        """Everything that the workers have said."""
        files = (Path(job[stream]) for job in self.jobs() for stream in ("stdout", "stderr"))
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def status(self) -> dict[str, Any]:
        return dict(self._cluster.get("wf", "old", "-n", self._namespace).get("status", {}))

    def until(self, check: Callable[[], Any], what: str) -> Any:
        try:
            return wait_until(check, what, patience=90)
        except pytest.fail.Exception as failure:
            pytest.fail(f"{failure}\n{self.states()}\n{self.operator.log.read_text()[-4000:]}")


@pytest.fixture
def fleet(
    kubernetes_cluster: Cluster, kubernetes_namespace: str, definition: None, local_cloud: LocalCloud, tmp_path: Path
) -> Iterator[Fleet]:
    made = Fleet(kubernetes_cluster, kubernetes_namespace, local_cloud, tmp_path)
    try:
        yield made
    finally:
        made.operator.kill()
        made.kubectl("patch", "wf", "old", "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False)


@pytest.fixture
def worker_command(ancestor: Ancestor, queue: str, short_folder: Path) -> str:
    """The command of a job that runs the ancestor's worker."""
    words = ancestor.cloud.into_azure(
        ANCESTOR / "bin" / "ai4s-jobq", f"{ACCOUNT}/{queue}", "worker", trust=ancestor.certificates
    )
    return f"env JOBQ_PID_DIR=$(mktemp -d) JOBQ_COPILOT_SKILL=0 TMPDIR={short_folder} {shlex.join(words)}"


def test_a_fleet_of_six_shrinks_to_two_and_every_task_runs_once(
    fleet: Fleet, our_agent: OurAgent, queue: str, worker_command: str, tmp_path: Path
) -> None:
    """ai4s-jobq 3.13.1: told by the operator, ai4s-jobq's workers finish what they run, leave the rest, and exit."""
    notes = tmp_path / "notes"
    notes.mkdir()

    def task(number: int) -> str:
        """Ends when the gate opens that was shut when it began."""
        note = f"{notes}/{number}"
        return (
            f"trap 'echo term >> {note}; exit 143' TERM; echo start >> {note}; cd {tmp_path}; "
            "gate=first; if [ -e first ]; then gate=second; fi; "
            f"until [ -e $gate ]; do sleep 0.1; done; echo end >> {note}"
        )

    tasks = [task(number) for number in range(12)]
    our_agent("push", f"{ACCOUNT}/{queue}", *(word for each in tasks for word in ("-c", each)))
    fleet.operator.start()
    fleet.apply(replicas=6, queue=queue, command=worker_command)
    fleet.until(lambda: fleet.states() == {"Running": 6}, "six running jobs")
    fleet.until(lambda: len(list(notes.iterdir())) == 6, "six running tasks")

    fleet.kubectl("scale", "wf/old", "--replicas=2")
    fleet.until(lambda: fleet.status().get("drainingReplicas") == 4, "four of them told to leave")
    assert len(fleet.operator.said("told to leave")) == 4
    # A worker that ends its task before it has taken its message would rightly begin another one.
    fleet.until(lambda: fleet.said().count("SIGUSR1 signal sent to process") == 4, "four who took a message each")
    assert fleet.states() == {"Running": 6}
    (tmp_path / "first").touch()
    fleet.until(lambda: fleet.states() == {"Running": 2, "Completed": 4}, "the end of four")
    fleet.until(lambda: not any(region.get("drains") for region in fleet.status()["regions"]), "the entries' end")
    assert fleet.status()["replicas"] == 2

    (tmp_path / "second").touch()
    fleet.until(lambda: fleet.states() == {"Completed": 6}, "the end of the other two, with an empty queue")
    assert len(fleet.operator.said("told to leave")) == 4
    said = {int(note.name): note.read_text().split() for note in notes.iterdir()}
    assert said == {number: ["start", "end"] for number in range(12)}
    assert our_agent("size", f"{ACCOUNT}/{queue}").strip() == "0"
    fleet.kubectl("delete", "wf/old", "--timeout=90s")
