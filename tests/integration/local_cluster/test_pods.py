"""What becomes of single Pods: ends, restarts, missing parts, hooks, side-cars."""

from __future__ import annotations

import pytest

from tests.support.kubernetes import wait_until

pytestmark = pytest.mark.cluster


class Pods:
    def __init__(self, cluster, namespace):
        self.cluster = cluster
        self.namespace = namespace

    def make(self, name, *containers, **spec):
        for container in (*containers, *spec.get("initContainers", ())):
            container.setdefault("image", "example.com/any:1")
            container.setdefault("name", name)
            container.setdefault("env", []).append({"name": "TEST_NAMESPACE", "value": self.namespace})
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"containers": containers, **spec},
        }
        self.cluster.apply(pod, namespace=self.namespace)

    def get(self, name):
        return self.cluster.get("pod", name, "-n", self.namespace)

    def kubectl(self, *arguments, **options):
        return self.cluster.kubectl("-n", self.namespace, *arguments, **options)

    def state(self, name, container=None):
        """The status of a container, empty while there is none."""
        status = self.get(name).get("status", {})
        found = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
        return next((c for c in found if c["name"] == (container or name)), {"state": {}, "restartCount": 0})

    def until_waiting(self, name, reason):
        def waiting():
            content = self.state(name)["state"].get("waiting", {})
            return content if content.get("reason") == reason else None

        return wait_until(waiting, f"{name} waiting for {reason}")

    def until_phase(self, name, phase):
        wait_until(lambda: self.get(name)["status"].get("phase") == phase, f"{name} is {phase}")


@pytest.fixture
def pods(kubernetes_cluster, kubernetes_namespace):
    return Pods(kubernetes_cluster, kubernetes_namespace)


def shell(script, **more):
    return {"command": ["sh", "-c", script], **more}


def test_a_pod_that_ends_well_has_succeeded_and_one_that_does_not_has_failed(pods):
    pods.make("good", shell("exit 0"), restartPolicy="Never")
    pods.make("bad", shell("echo so long; exit 7"), restartPolicy="Never")
    pods.until_phase("good", "Succeeded")
    pods.until_phase("bad", "Failed")
    assert pods.state("bad")["state"]["terminated"]["exitCode"] == 7
    assert pods.kubectl("logs", "bad").strip() == "so long"


def test_a_container_without_a_command_says_what_is_missing(pods):
    pods.make("bare", {"name": "bare", "image": "nginx:1"})
    waiting = pods.until_waiting("bare", "CreateContainerConfigError")
    assert "'nginx:1'" in waiting["message"]
    assert "state `command` in the Pod" in waiting["message"]


def test_a_command_that_does_not_exist_is_named(pods):
    pods.make("typo", {"command": ["no-such-program"]}, restartPolicy="Never")
    pods.until_phase("typo", "Failed")
    ended = pods.state("typo")["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "no-such-program: No such file" in ended["message"]


def test_a_pod_waits_for_its_config_map_and_starts_when_it_is_there(pods):
    variable = {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "x"}}}
    pods.make("patient", shell('echo "x is $X"; sleep 600', env=[variable]), terminationGracePeriodSeconds=0)
    waiting = pods.until_waiting("patient", "CreateContainerConfigError")
    assert waiting["message"] == 'configmap "late" not found'
    pods.kubectl("create", "configmap", "late", "--from-literal=x=42")
    pods.kubectl("wait", "--for=condition=Ready", "pod/patient", "--timeout=90s")
    assert pods.kubectl("logs", "patient").strip() == "x is 42"


def test_a_crashing_container_is_restarted_with_back_off(pods):
    pods.make("crashing", shell("exit 3"), terminationGracePeriodSeconds=0)
    pods.until_waiting("crashing", "CrashLoopBackOff")
    wait_until(lambda: pods.state("crashing")["restartCount"] >= 2, "two restarts")
    assert pods.state("crashing")["lastState"]["terminated"]["exitCode"] == 3


def test_a_failing_liveness_probe_restarts_the_container(pods):
    probe = {"exec": {"command": ["sh", "-c", "test ! -e /state/sick"]}, "periodSeconds": 1, "failureThreshold": 1}
    mount = {"name": "state", "mountPath": "/state"}
    pods.make(
        "sick",
        shell("echo run >> /state/runs; test $(wc -l < /state/runs) = 2 || touch /state/sick; exec sleep 600",
              livenessProbe=probe, volumeMounts=[mount], terminationMessagePolicy="FallbackToLogsOnError"),
        volumes=[{"name": "state", "emptyDir": {}}],
        terminationGracePeriodSeconds=1,
    )  # fmt: skip
    wait_until(lambda: pods.state("sick")["restartCount"] >= 1, "the restart")
    assert "failed its liveness probe" in pods.kubectl("logs", "sick", "--previous")


def test_init_containers_run_in_order_and_a_failed_one_keeps_the_others_from_starting(pods):
    pods.make(
        "ordered",
        shell("echo never"),
        initContainers=[shell("echo one", name="one"), shell("exit 4", name="two"), shell("echo no", name="three")],
        restartPolicy="Never",
    )
    pods.until_phase("ordered", "Failed")
    assert pods.state("ordered", "one")["state"]["terminated"]["exitCode"] == 0
    assert pods.state("ordered", "two")["state"]["terminated"]["exitCode"] == 4
    assert "waiting" in pods.state("ordered", "three")["state"]
    assert "waiting" in pods.state("ordered")["state"]


def test_a_side_car_runs_beside_the_others_and_does_not_keep_a_finished_pod_alive(pods):
    pods.make(
        "helped",
        shell("test -e /shared/up && exit 0 || exit 1", volumeMounts=[{"name": "shared", "mountPath": "/shared"}]),
        initContainers=[
            shell("touch /shared/up; exec sleep 600", name="side", restartPolicy="Always",
                  startupProbe={"exec": {"command": ["test", "-e", "/shared/up"]}, "periodSeconds": 1},
                  volumeMounts=[{"name": "shared", "mountPath": "/shared"}])
        ],
        volumes=[{"name": "shared", "emptyDir": {}}],
        restartPolicy="Never",
        terminationGracePeriodSeconds=1,
    )  # fmt: skip
    pods.until_phase("helped", "Succeeded")
    wait_until(lambda: not pods.cluster.pod_processes(pods.namespace), "the end of the side-car")


def test_a_container_gets_sigterm_and_its_grace_to_end_in_order(pods, tmp_path):
    script = f"trap 'sleep 1; echo bye > {tmp_path}/note; exit 0' TERM; while :; do sleep 0.1; done"
    pods.make("polite", shell(script), terminationGracePeriodSeconds=60)
    pods.kubectl("wait", "--for=condition=Ready", "pod/polite", "--timeout=60s")
    pods.kubectl("delete", "pod", "polite", "--timeout=60s")
    assert (tmp_path / "note").read_text() == "bye\n"


def test_a_container_that_ignores_sigterm_is_killed_with_all_its_processes_after_the_grace(pods):
    pods.make("stubborn", shell("trap '' TERM; setsid sleep 600 & while :; do sleep 0.1; done"),
              terminationGracePeriodSeconds=1)  # fmt: skip
    pods.kubectl("wait", "--for=condition=Ready", "pod/stubborn", "--timeout=60s")
    assert pods.cluster.pod_processes(pods.namespace)
    pods.kubectl("delete", "pod", "stubborn", "--timeout=60s")
    assert pods.cluster.pod_processes(pods.namespace) == []


def test_a_pre_stop_hook_runs_before_sigterm(pods, tmp_path):
    hook = {"preStop": {"exec": {"command": ["sh", "-c", f"echo hook >> {tmp_path}/order"]}}}
    script = f"trap 'echo term >> {tmp_path}/order; exit 0' TERM; while :; do sleep 0.1; done"
    pods.make("hooked", shell(script, lifecycle=hook), terminationGracePeriodSeconds=30)
    pods.kubectl("wait", "--for=condition=Ready", "pod/hooked", "--timeout=60s")
    pods.kubectl("delete", "pod", "hooked", "--timeout=60s")
    assert (tmp_path / "order").read_text().split() == ["hook", "term"]


def test_a_pod_for_another_kind_of_node_stays_pending_and_says_why(pods):
    pods.make("windows", shell("exit 0"), nodeSelector={"kubernetes.io/os": "windows"})

    def refused():
        conditions = pods.get("windows")["status"].get("conditions", [])
        return next((c for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"), None)

    assert "kubernetes.io/os=windows" in wait_until(refused, "the refusal")["message"]


def test_a_job_runs_to_completion(pods):
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "sum"},
        "spec": {
            "completions": 2,
            "template": {
                "spec": {
                    "restartPolicy": "OnFailure",
                    "containers": [{"name": "c", "image": "i", "command": ["true"]}],
                }
            },
        },
    }
    pods.cluster.apply(job, namespace=pods.namespace)
    pods.kubectl("wait", "--for=condition=Complete", "job/sum", "--timeout=90s")


def test_followed_logs_end_with_the_container(pods):
    pods.make("talker", shell("for i in 1 2 3; do echo $i; sleep 0.5; done"), restartPolicy="Never")
    wait_until(lambda: pods.state("talker")["state"].get("waiting") is None and pods.state("talker")["state"], "start")
    assert pods.kubectl("logs", "-f", "talker").split() == ["1", "2", "3"]
    assert pods.kubectl("logs", "talker", "--tail=1").split() == ["3"]
