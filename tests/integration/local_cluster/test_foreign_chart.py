"""A chart that knows nothing of this product, on the local Kubernetes."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.support.kubernetes import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

CHART = Path(__file__).parents[2] / "support" / "charts" / "foreign"
RELEASE = "shop"


def fetch(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}:8080{path}", timeout=20) as answer:
        return answer.read().decode()


class Installed:
    def __init__(self, cluster, namespace):
        self.cluster = cluster
        self.namespace = namespace

    def pods(self, part: str) -> list[dict]:
        found = self.cluster.get("pods", "-n", self.namespace, "-l", f"app={RELEASE}-{part}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def kubectl(self, *arguments: str, **options) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, **options)

    def facts(self, pod: dict) -> dict:
        return json.loads(fetch(pod["status"]["podIP"], "/facts"))


@pytest.fixture
def installed(kubernetes_cluster, kubernetes_namespace):
    """The chart, installed; what it left is gone afterwards."""
    kubernetes_cluster.helm(
        "install",
        RELEASE,
        str(CHART),
        "-n",
        kubernetes_namespace,
        "--wait",
        "--timeout",
        "100s",
        "--set",
        "greeting=ahoy",
    )
    yield Installed(kubernetes_cluster, kubernetes_namespace)
    kubernetes_cluster.helm("uninstall", RELEASE, "-n", kubernetes_namespace, "--ignore-not-found")


def test_containers_see_their_volumes_secrets_and_fields(installed):
    pods = installed.pods("web")
    assert len(pods) == 2
    assert len({pod["status"]["podIP"] for pod in pods}) == 2
    for pod in pods:
        facts = installed.facts(pod)
        assert (facts["greeting"], facts["prepared"], facts["word"]) == ("ahoy", "ahoy", "open sesame")
        assert facts["mark"] == f"{pod['metadata']['name']} on {installed.namespace}"
        assert facts["namespace"] == installed.namespace


def test_a_container_may_do_with_its_own_token_what_its_role_allows_and_nothing_else(installed):
    facts = installed.facts(installed.pods("web")[0])
    assert (facts["configmap"], facts["secret"], facts["foreign secret"]) == (200, 403, 403)


def test_every_pod_has_a_host_name_that_leads_to_its_address(installed):
    for pod in installed.pods("web"):
        facts = installed.facts(pod)
        assert (facts["host"], facts["own address"]) == (pod["metadata"]["name"], pod["status"]["podIP"])


def test_a_failing_readiness_probe_makes_the_pod_unready_and_a_passing_one_ready_again(installed):
    pod = installed.pods("web")[0]
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    fetch(address, "/be-unready")
    installed.kubectl("wait", "--for=condition=Ready=false", f"pod/{name}", "--timeout=60s")
    available = installed.cluster.get("deployment", f"{RELEASE}-web", "-n", installed.namespace)["status"]
    assert available.get("readyReplicas") == 1
    fetch(address, "/be-ready")
    installed.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def test_a_killed_process_is_restarted_and_counted(installed):
    pod = installed.pods("web")[0]
    pid = installed.facts(pod)["pid"]
    os.kill(pid, signal.SIGKILL)

    def restarted():
        found = installed.cluster.get("pod", pod["metadata"]["name"], "-n", installed.namespace)
        state = found["status"]["containerStatuses"][0]
        return state if state["ready"] and state["restartCount"] == 1 else None

    state = wait_until(restarted, "the restart")
    assert state["lastState"]["terminated"]["exitCode"] == 128 + signal.SIGKILL
    assert installed.facts(pod)["pid"] != pid
    assert "serving on" in installed.kubectl("logs", pod["metadata"]["name"], "--previous")


def test_logs_are_read_with_kubectl(installed):
    assert installed.kubectl("logs", f"deployment/{RELEASE}-batch").strip() == "ahoy"
    name = installed.pods("web")[0]["metadata"]["name"]
    assert "serving on" in installed.kubectl("logs", name, "-c", "web", "--tail=1")


def test_a_deleted_pod_is_replaced_and_its_processes_end(installed):
    pod = installed.pods("batch")[0]
    before = set(installed.cluster.pod_processes(installed.namespace))
    installed.kubectl("delete", "pod", pod["metadata"]["name"], "--timeout=60s")
    installed.kubectl("rollout", "status", f"deployment/{RELEASE}-batch", "--timeout=60s")

    def now():
        return set(installed.cluster.pod_processes(installed.namespace))

    # A Pod is ready before its command has started everything.
    wait_until(lambda: len(now() - before) == 3, "guard, command, and the process that left the session")
    assert len(now()) == len(before)


def test_a_rollout_restart_replaces_all_pods_without_a_moment_without_any(installed):
    before = {pod["metadata"]["name"] for pod in installed.pods("web")}
    installed.kubectl("rollout", "restart", f"deployment/{RELEASE}-web")
    installed.kubectl("rollout", "status", f"deployment/{RELEASE}-web", "--timeout=90s")
    wait_until(lambda: len(installed.pods("web")) == 2, "the end of the old Pods")
    pods = installed.pods("web")
    assert not before & {pod["metadata"]["name"] for pod in pods}


def test_a_changed_config_map_appears_in_the_volume_of_a_running_container(installed):
    pod = installed.pods("web")[0]
    installed.kubectl("patch", "configmap", RELEASE, "--type=merge", "-p", '{"data": {"greeting.txt": "bye"}}')
    wait_until(lambda: installed.facts(pod)["greeting"] == "bye", "the change")


def test_uninstalling_leaves_no_process(installed):
    assert installed.cluster.pod_processes(installed.namespace)
    installed.cluster.helm("uninstall", RELEASE, "-n", installed.namespace, "--wait", "--timeout", "90s")
    wait_until(lambda: not installed.pods("web") + installed.pods("batch"), "the end of the Pods")
    assert installed.cluster.pod_processes(installed.namespace) == []
