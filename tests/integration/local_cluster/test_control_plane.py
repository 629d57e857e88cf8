"""The control plane and the pod runner as processes: start, stop, rights, and their ends when things go wrong."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kubernetes import start_pod_runner, stop_pod_runner, wait_until
from workforce_local.cluster.api_server import ClusterError, LocalKubernetes
from workforce_local.cluster.binaries import Binaries, Binary, Source
from workforce_local.processes import Identity, end, environment, tagged

pytestmark = pytest.mark.cluster

HOLD = """
import asyncio, sys
from pathlib import Path
from workforce_local.cluster.api_server import LocalKubernetes
from workforce_local.cluster.binaries import resolve

async def main():
    async with LocalKubernetes(binaries=resolve(), state_dir=Path(sys.argv[1])) as cluster:
        print(*(process.identity.pid for process in cluster.processes), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def kubectl(binaries, cluster, *arguments):
    command = [binaries.path("kubectl"), "--kubeconfig", cluster.kubeconfig, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.slow
async def test_a_second_start_finds_what_was_in_the_cluster(kubernetes_binaries, tmp_path):
    async with LocalKubernetes(binaries=kubernetes_binaries, state_dir=tmp_path) as cluster:
        kubectl(kubernetes_binaries, cluster, "create", "configmap", "kept", "--from-literal=a=b")
        first = cluster.kubeconfig.read_text()
        pids = [process.identity for process in cluster.processes]
        assert [process.name for process in cluster.processes] == ["etcd", "kube-apiserver", "kube-controller-manager"]
    assert not any(identity.alive for identity in pids)
    async with LocalKubernetes(binaries=kubernetes_binaries, state_dir=tmp_path) as cluster:
        assert kubectl(kubernetes_binaries, cluster, "get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"
        assert cluster.kubeconfig.read_text() != first, "the administrator's token is new at each start"
    assert tagged(tmp_path) == []


def test_secrets_are_readable_by_their_owner_only(kubernetes_cluster):
    files = [kubernetes_cluster.kubeconfig, *(kubernetes_cluster.state_dir / "pki").iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_nothing_but_the_api_server_listens_and_that_on_loopback(kubernetes_cluster):
    listening = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=False).stdout
    if not listening:
        pytest.skip("ss is missing")
    ours = {identity.pid for identity in tagged(kubernetes_cluster.state_dir)}
    lines = [line for line in listening.splitlines() if any(f"pid={pid}," in line for pid in ours)]
    assert lines
    assert all(line.split()[3].startswith("127.") for line in lines)


def test_an_unknown_token_is_refused_and_the_administrators_is_not(kubernetes_cluster):
    refused = kubernetes_cluster.kubectl("get", "secrets", "--token", "guess", check=False)
    assert "Unauthorized" in refused or "must be logged in" in refused
    assert "yes" in kubernetes_cluster.kubectl("auth", "can-i", "*", "*", "--all-namespaces")


def test_a_service_account_may_do_what_its_role_says_and_nothing_else(kubernetes_cluster, kubernetes_namespace):
    run = kubernetes_cluster.kubectl
    run("-n", kubernetes_namespace, "create", "serviceaccount", "reader")
    run("-n", kubernetes_namespace, "create", "role", "reader", "--verb=list", "--resource=configmaps")
    run("-n", kubernetes_namespace, "create", "rolebinding", "reader", "--role=reader",
        f"--serviceaccount={kubernetes_namespace}:reader")  # fmt: skip
    token = run("-n", kubernetes_namespace, "create", "token", "reader").strip()
    # Without the administrator's own token from the kubeconfig file, which would win.
    as_reader = (
        *("--kubeconfig=/dev/null", f"--server={kubernetes_cluster.server}", f"--token={token}"),
        *(f"--certificate-authority={kubernetes_cluster.state_dir}/pki/ca.crt", "-n", kubernetes_namespace),
    )
    assert "kube-root-ca.crt" in run("get", "configmaps", *as_reader)
    assert "Forbidden" in run("get", "secrets", *as_reader, check=False)


def test_the_children_end_when_their_parent_is_killed(tmp_path, kubernetes_binaries):
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert parent.stdout
        children = [Identity.of(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(children) == 3
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    wait_until(lambda: not any(child and child.alive for child in children), "the end of the children")


async def test_a_control_plane_that_cannot_start_shows_its_log(kubernetes_binaries, tmp_path):
    broken = tmp_path / "kube-apiserver"
    broken.write_text("#!/bin/sh\necho 'no such flag: --moon'\nexit 1\n")
    broken.chmod(0o755)
    found = {**kubernetes_binaries.found, "kube-apiserver": Binary("kube-apiserver", broken, "1.36.0", Source.PATH)}
    cluster = LocalKubernetes(binaries=Binaries(found), state_dir=tmp_path / "state")
    with pytest.raises(ClusterError, match=r"kube-apiserver ended with exit code 1.*\n.*no such flag: --moon"):
        await cluster.start()
    await cluster.stop()
    assert cluster.processes == ()


# A second pod runner, on a node of its own: Pods name that node, so no scheduler is asked.

NODE = "second"


@pytest.fixture
def second_runner(kubernetes_cluster, tmp_path):
    processes = []

    def start(*options):
        process = start_pod_runner(kubernetes_cluster.kubeconfig, tmp_path, "--node-name", NODE, *options)
        processes.append(process)
        return process

    yield start
    for process in processes:
        stop_pod_runner(process)
    kubernetes_cluster.kubectl("delete", "node", NODE, "--ignore-not-found")
    left = tagged(tmp_path)
    end(left, grace=0)
    assert not left


def make_pod(cluster, namespace, script, **more):
    container = {"name": "c", "image": "i", "command": ["sh", "-c", script], **more.pop("container", {})}
    container.setdefault("env", []).append({"name": "TEST_NAMESPACE", "value": namespace})
    spec = {"nodeName": NODE, "terminationGracePeriodSeconds": 1, "containers": [container], **more}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    cluster.apply(pod, namespace=namespace)
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/p", "--timeout=90s")


def processes_of(state_dir: Path, namespace: str) -> list[int]:
    found = tagged(state_dir)
    return [process.pid for process in found if environment(process.pid).get("TEST_NAMESPACE") == namespace]


def test_no_process_of_a_pod_outlives_a_killed_runner(
    kubernetes_cluster, kubernetes_namespace, second_runner, tmp_path
):
    runner = second_runner()
    make_pod(kubernetes_cluster, kubernetes_namespace, "setsid sleep 600 & exec sleep 600")
    assert len(processes_of(tmp_path, kubernetes_namespace)) == 3
    runner.kill()
    wait_until(lambda: not processes_of(tmp_path, kubernetes_namespace), "the end of the Pod's processes")


def test_no_process_of_a_pod_outlives_its_killed_guard(
    kubernetes_cluster, kubernetes_namespace, second_runner, tmp_path
):
    second_runner()
    make_pod(kubernetes_cluster, kubernetes_namespace, "exec sleep 600")
    pids = processes_of(tmp_path, kubernetes_namespace)
    guard = next(pid for pid in pids if "container_guard" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(guard, signal.SIGKILL)
    wait_until(lambda: not set(pids) & set(processes_of(tmp_path, kubernetes_namespace)), "the end of both")
    get = ("pod", "p", "-n", kubernetes_namespace)
    wait_until(
        lambda: kubernetes_cluster.get(*get)["status"]["containerStatuses"][0]["restartCount"] == 1, "the restart"
    )


def test_a_restarted_runner_runs_its_pods_again_under_their_addresses(
    kubernetes_cluster, kubernetes_namespace, second_runner
):
    runner = second_runner()
    make_pod(kubernetes_cluster, kubernetes_namespace, "exec sleep 600")
    before = kubernetes_cluster.get("pod", "p", "-n", kubernetes_namespace)["status"]
    stop_pod_runner(runner)
    second_runner()

    def restarted():
        status = kubernetes_cluster.get("pod", "p", "-n", kubernetes_namespace)["status"]
        state = status["containerStatuses"][0]
        return status if state["restartCount"] == 1 and state["ready"] else None

    after = wait_until(restarted, "the second run")
    assert after["podIP"] == before["podIP"]
    assert after["startTime"] == before["startTime"]


@pytest.mark.parametrize("isolation", ["none", "user", "root"])
def test_volumes_and_token_reach_a_container_in_every_isolation(
    kubernetes_cluster, kubernetes_namespace, second_runner, isolation, tmp_path
):
    if isolation == "root" and os.geteuid() != 0:
        pytest.skip("only root needs no user namespace")
    second_runner("--isolation", isolation)
    if isolation != "none" and "error" in _try(isolation, tmp_path):
        pytest.skip(f"mount namespaces ({isolation}) are not allowed here")
    kubernetes_cluster.kubectl("-n", kubernetes_namespace, "create", "configmap", "cm", "--from-literal=word=sesame")
    script = (
        "cat /conf/word; cat $FILE; echo; "
        "cat ${KUBECONFIG:-/var/run/secrets/kubernetes.io/serviceaccount/namespace}; exec sleep 600"
    )
    container = {
        "env": [{"name": "FILE", "value": "/conf/word"}],
        "volumeMounts": [{"name": "v", "mountPath": "/conf"}],
        "readinessProbe": {"exec": {"command": ["cat", "/conf/word"]}, "periodSeconds": 1},
    }
    volumes = [{"name": "v", "configMap": {"name": "cm"}}]
    make_pod(kubernetes_cluster, kubernetes_namespace, script, container=container, volumes=volumes)
    log = kubernetes_cluster.kubectl("-n", kubernetes_namespace, "logs", "p")
    assert log.startswith("sesamesesame\n")
    assert ("tokenFile" if isolation == "none" else kubernetes_namespace) in log


def _try(isolation: str, folder: Path) -> str:
    """What the guard says when it is asked whether an isolation works."""
    from workforce_local.cluster.pods.container import guard_command

    root = folder / "root"
    root.mkdir()
    spec = f'{{"isolation": "{isolation}", "root": "{root}"}}'
    done = subprocess.run(guard_command("probe", -1), input=spec, capture_output=True, text=True, check=False)
    with contextlib.suppress(OSError):
        root.rmdir()
    return f"error: {done.stderr}" if done.returncode else "works"
