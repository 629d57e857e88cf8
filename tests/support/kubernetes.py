"""A real Kubernetes for tests: one control plane and one pod runner per test session, made when first asked for.

The root conftest sends all tests marked `cluster` to one worker process of pytest-xdist, so there is one cluster.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from workforce_local.cluster.api_server import LocalKubernetes
from workforce_local.cluster.binaries import Binaries, resolve
from workforce_local.cluster.definitions import is_established
from workforce_local.processes import STATE_VARIABLE, end, environment, guarded, tagged

T = TypeVar("T")

PATIENCE = 90.0
"""Seconds that a test waits for what should take one: the machine may be busy."""


def wait_until(check: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
    """Ask again and again until the answer is true, and return it."""
    deadline = time.monotonic() + patience
    while not (answer := check()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {patience:.0f} s; last answer: {answer!r}")
        time.sleep(0.1)
    return answer


def await_definition(kubectl: Callable[..., str]) -> None:
    """Wait until the API server serves our definition."""
    wait_until(lambda: is_established(kubectl, "workforces.workforce.dev"), "the definition's establishing")


@dataclass(frozen=True)
class Cluster:
    """A running cluster and the programs to use it with."""

    kubeconfig: Path
    server: str
    state_dir: Path
    binaries: Binaries

    @property
    def environ(self) -> dict[str, str]:
        """For child processes: this cluster, and the right kubectl and helm before all others."""
        folders = os.pathsep.join(str(folder) for folder in self.binaries.folders)
        home = self.state_dir / "home"
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{folders}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HELM_CACHE_HOME": str(home / "helm-cache"),
            "HELM_CONFIG_HOME": str(home / "helm-config"),
            "HELM_DATA_HOME": str(home / "helm-data"),
            "KUBECACHEDIR": str(home / "kube-cache"),
        }

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Run kubectl and return what it prints; see `run`."""
        return self.run("kubectl", *arguments, **options)

    def helm(self, *arguments: str, **options: Any) -> str:
        """Run helm and return what it prints; see `run`."""
        return self.run("helm", *arguments, **options)

    def run(
        self, name: str, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 110
    ) -> str:
        """Run a program; with `check` a failure fails the test, else its output comes back with the errors in it."""
        done = subprocess.run(
            [self.binaries.path(name), *arguments],
            env=self.environ,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            pytest.fail(f"{name} {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get ... -o json`."""
        content: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return content

    def apply(self, *objects: Mapping[str, Any], namespace: str = "default") -> None:
        """`kubectl apply` of these objects."""
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--namespace", namespace, "-f", "-", stdin=manifest)

    def pod_processes(self, namespace: str) -> list[int]:
        """Pids of everything that runs in Pods of this namespace, the guards included."""
        return [
            identity.pid
            for identity in tagged(self.state_dir)
            if environment(identity.pid).get("TEST_NAMESPACE") == namespace
        ]


@pytest.fixture(scope="session")
def kubernetes_binaries() -> Binaries:
    """All programs of the local Kubernetes; they are there once `make setup` has run."""
    return resolve(report=lambda line: sys.stderr.write(f"{line}\n"))


def start_pod_runner(kubeconfig: Path, state_dir: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a pod runner and wait until its node is Ready."""
    ready = state_dir / "pod-runner.ready"
    ready.unlink(missing_ok=True)
    arguments: Sequence[str] = (
        *(sys.executable, "-m", "workforce_local.cluster.pod_runner"),
        *("--kubeconfig", str(kubeconfig), "--state-dir", str(state_dir), "--ready-file", str(ready)),
        *options,
    )
    with (state_dir / "pod-runner.log").open("ab") as log:
        process = subprocess.Popen(
            guarded(arguments, number=signal.SIGKILL),
            env={**os.environ, STATE_VARIABLE: str(state_dir)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_until(lambda: ready.exists() or process.poll() is not None, "the pod runner's start")
    if process.poll() is not None:
        pytest.fail(f"the pod runner ended:\n{(state_dir / 'pod-runner.log').read_text()[-3000:]}")
    return process


def stop_pod_runner(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and the processes of all Pods are gone when it has ended."""
    process.terminate()
    process.wait(timeout=60)


@contextmanager
def _running(state_dir: Path, binaries: Binaries, *, node: bool) -> Iterator[Cluster]:
    """A cluster of its own, of which nothing is left afterwards."""
    started = time.monotonic()
    control_plane = LocalKubernetes(binaries=binaries, state_dir=state_dir)
    # A loop of its own that runs only to start and to stop: tests have theirs.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        pods = None
        try:
            runner.run(control_plane.start())
            sys.stderr.write(f"\nKubernetes: control plane after {time.monotonic() - started:.1f} s\n")
            if node:
                pods = start_pod_runner(control_plane.kubeconfig, state_dir, "--restart-backoff", "1")
            yield Cluster(control_plane.kubeconfig, control_plane.server, state_dir, binaries)
        finally:
            if pods is not None:
                stop_pod_runner(pods)
            runner.run(control_plane.stop())
            left = tagged(state_dir)
            end(left, grace=0)
    assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def kubernetes_cluster(tmp_path_factory: pytest.TempPathFactory, kubernetes_binaries: Binaries) -> Iterator[Cluster]:
    """The cluster of this session, with a node that runs Pods."""
    with _running(tmp_path_factory.mktemp("kubernetes").resolve(), kubernetes_binaries, node=True) as cluster:
        yield cluster


@pytest.fixture
def new_cluster(tmp_path: Path, kubernetes_binaries: Binaries) -> Iterator[Cluster]:
    """A second, empty control plane, without a node: what somebody has who lost the first one."""
    state_dir = tmp_path / "new-kubernetes"
    state_dir.mkdir()
    with _running(state_dir.resolve(), kubernetes_binaries, node=False) as cluster:
        yield cluster


@pytest.fixture
def kubernetes_namespace(kubernetes_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for one test."""
    name = f"test-{abs(hash(request.node.nodeid)) % 10**10}"
    kubernetes_cluster.kubectl("create", "namespace", name)
    # Pods can be made only once a controller has made this.
    wait_until(
        lambda: "serviceaccount/default" in kubernetes_cluster.kubectl("get", "-n", name, "sa", "-o", "name"),
        "the namespace's service account",
    )
    yield name
    kubernetes_cluster.kubectl("delete", "namespace", name, "--wait=false")
