"""The operator as a real process against a real API server and the local Azure, and what tests ask of all three.

One local Azure per test session, run as its own program; every test has a Kubernetes namespace, an installation id and
an operator of its own, so that nothing of one test is seen by another.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.kubernetes import Cluster, await_definition, wait_until
from workforce_local.config import (
    ComputeConfig,
    LocalConfig,
    ServiceBusConfig,
    TimingConfig,
    VirtualClusterConfig,
    WorkspaceConfig,
)
from workforce_local.parts import AzurePart, StoragePart
from workforce_local.processes import guarded
from workforce_local.supervisor import Started

ROOT = Path(__file__).parents[2]
SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
REGIONS = ("uksouth", "westeurope")
OTHER_BUS = "wf-bus-2"
OVER = frozenset({"Completed", "Failed", "Canceled"})
TIMING = TimingConfig(
    starting_seconds=0.05,
    preparing_seconds=0.05,
    node_start_seconds=0.05,
    finalizing_seconds=0.05,
    canceling_seconds=0.05,
    cancel_grace_seconds=0.5,
    put_latency_seconds=0.2,
)
"""Fast, but a hire takes long enough that a process can be killed in the middle of many."""


def config() -> LocalConfig:
    """Two regions of forty nodes, a virtual cluster, and two Service Bus namespaces."""
    computes = (ComputeConfig(name="cluster", max_nodes=40), ComputeConfig(name="small", max_nodes=1))
    workspaces = tuple(WorkspaceConfig(name=f"ws-{name}", location=name, computes=computes) for name in REGIONS)
    virtual = (VirtualClusterConfig(name="vc", max_nodes=8),)
    buses = tuple(ServiceBusConfig(name=name) for name in ("wf-bus", OTHER_BUS))
    return LocalConfig(workspaces=workspaces, virtual_clusters=virtual, service_bus=buses, timing=TIMING)


@dataclass
class AzureProgram:
    """The local Azure and its storage, each a program of its own."""

    folder: Path
    storage: StoragePart
    azure: AzurePart
    exports: Mapping[str, str] = field(default_factory=dict)

    async def start(self) -> None:
        """Start both."""
        await self.storage.start()
        await self.start_azure()

    async def start_azure(self) -> None:
        """Start Azure alone; its addresses stay the same over a restart."""
        started: Started = await self.azure.start()
        self.exports = started.exports

    async def stop(self) -> None:
        """Stop both."""
        await self.azure.stop()
        await self.storage.stop()

    def jobs(self, owner: str) -> list[dict[str, Any]]:
        """All jobs of one ``<installation>/<namespace>/<name>`` or a prefix of it, as they really are."""
        found = self._inspect("jobs")
        return [job for job in found if job["properties"].get("workforce-owner", "").startswith(owner)]

    def requests(self) -> Any:
        """Every request that the resource manager has got."""
        return self._inspect("requests")

    def happen(self, what: str, **order: Any) -> Any:
        """Let something happen in Azure, as ``pause`` to a ``job``."""
        return self._inspect(what, json.dumps(order).encode())

    def _inspect(self, what: str, order: bytes | None = None) -> Any:
        cloud = json.loads(Path(self.exports["WORKFORCE_CLOUD"]).read_text())
        token = (self.folder / "azure" / "admin.token").read_text()
        request = urllib.request.Request(
            f"{cloud['resourceManager']}/_local/{what}",
            data=order,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cafile=cloud["caBundle"])
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return json.loads(answer.read() or "null")


def azure_program(folder: Path, storage: StoragePart | None = None) -> AzureProgram:
    """The local Azure of a folder, not started; with storage that runs already, or its own."""
    (folder / "logs").mkdir(parents=True)
    storage = storage or StoragePart(folder / "storage", folder / "azure", config())
    return AzureProgram(folder, storage, AzurePart(folder / "azure", folder / "logs" / "azure.log", config(), storage))


@pytest.fixture(scope="session")
def azure_program_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureProgram]:
    """The local Azure of this session."""
    program = azure_program(tmp_path_factory.mktemp("azure").resolve())
    # A loop of its own that runs only to start and to stop: tests have theirs.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        try:
            runner.run(program.start())
            yield program
        finally:
            runner.run(program.stop())


@pytest.fixture(scope="session")
def definition(kubernetes_cluster: Cluster) -> None:
    """The resource definition is there."""
    define(kubernetes_cluster)


def define(cluster: Cluster) -> None:
    """Install the resource definition and wait until it is served."""
    cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds" / "workforces.yaml"))
    await_definition(cluster.kubectl)


class OperatorProcess:
    """One operator process at a time; ``start`` after ``kill`` is what a Pod's restarted container is."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.environment, self.log = dict(environment), log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **changes: str) -> None:
        """Start it; settings may be changed for this run."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                guarded([sys.executable, "-m", "workforce_operator"], number=signal.SIGKILL),
                env={**os.environ, **self.environment, **changes},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=30)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=60)

    def lines(self) -> list[dict[str, Any]]:
        """The log, line by line; what is not JSON is a line with that text only."""
        return [_parsed(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def said(self, message: str, **fields: str) -> list[dict[str, Any]]:
        """Log lines with this message and these fields."""
        return [
            line
            for line in self.lines()
            if line.get("message") == message and all(line.get(name) == value for name, value in fields.items())
        ]

    def fetch(self, path: str) -> str:
        """Get one of its HTTP endpoints; an error status raises."""
        address = self.said("serving probes and metrics")[-1]["address"]
        with urllib.request.urlopen(f"{address}{path}", timeout=20) as answer:
            return answer.read().decode()


def _parsed(line: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError:
        return {"message": line}
    return content if isinstance(content, dict) else {"message": line}


@dataclass
class Bench:
    """One test's operator, with the cluster and the Azure around it."""

    cluster: Cluster
    namespace: str
    azure: AzureProgram
    operator: OperatorProcess
    installation_id: str

    # -- Workforces

    def workforce(self, name: str = "md", *, replicas: int = 3, **changes: Any) -> dict[str, Any]:
        """A Workforce whose workers sleep; ``changes`` replace fields of the spec."""
        spec = {
            "replicas": replicas,
            "queue": {"type": "Storage", "storage": {"account": "wfdemo", "name": f"{self.namespace}-tasks"}},
            "regions": [self.region(region) for region in REGIONS],
            "template": {"command": "sleep 3600", "environment": {"type": "Image", "image": "worker:1"}},
        }
        return {
            "apiVersion": "workforce.dev/v1alpha1",
            "kind": "Workforce",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec | changes,
        }

    def region(self, name: str, **changes: Any) -> dict[str, Any]:
        """A region of the local Azure."""
        return {
            "name": name,
            "subscriptionId": SUBSCRIPTION,
            "resourceGroup": "workforce",
            "workspace": f"ws-{name}",
            "compute": "cluster",
            "maxReplicas": 30,
        } | changes

    def control(self, namespace: str = "wf-bus") -> dict[str, Any]:
        """A control channel of the local Azure."""
        return {"serviceBus": {"subscriptionId": SUBSCRIPTION, "resourceGroup": "workforce", "namespace": namespace}}

    def apply(self, document: Mapping[str, Any]) -> None:
        """``kubectl apply``."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Run kubectl in the test's namespace."""
        return self.cluster.kubectl("-n", self.namespace, *arguments, **options)

    def get(self, name: str = "md") -> dict[str, Any]:
        """The Workforce as it is."""
        return self.cluster.get("wf", name, "-n", self.namespace)

    def status(self, name: str = "md") -> dict[str, Any]:
        """Its status."""
        return dict(self.get(name).get("status", {}))

    def condition(self, kind: str, name: str = "md") -> tuple[str, str]:
        """Status and reason of one condition."""
        found = [each for each in self.status(name).get("conditions", []) if each["type"] == kind]
        return (found[0]["status"], found[0]["reason"]) if found else ("", "")

    def wait_ready(self, name: str = "md") -> None:
        """``kubectl wait`` until the present generation is Ready."""
        self.until(
            lambda: self.status(name).get("observedGeneration") == self.get(name)["metadata"]["generation"],
            "the status of the present generation",
        )
        self.kubectl("wait", "--for=condition=Ready", f"wf/{name}", "--timeout=90s")

    def events(self) -> list[str]:
        """Reasons of all Events of the namespace's Workforces."""
        found = self.cluster.get("events", "-n", self.namespace)["items"]
        return [each["reason"] for each in found if each["involvedObject"]["kind"] == "Workforce"]

    # -- Azure

    def push(self, lines: Iterable[str]) -> None:
        """Put one task for each line into the Workforce's queue; tasks that fail are not tried again."""
        self.agent("push", f"wfdemo/{self.namespace}-tasks", "--num-retries", "0", stdin="".join(lines))

    def agent(self, *arguments: str, stdin: str = "") -> str:
        """Run the agent's command line as a person would; what it says."""
        return subprocess.run(
            [sys.executable, "-m", "workforce_agent", *arguments],
            input=stdin,
            env={**self.operator.environment, "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    def jobs(self, name: str = "md") -> list[dict[str, Any]]:
        """All jobs ever made for a Workforce."""
        return self.azure.jobs(f"{self.installation_id}/{self.namespace}/{name}")

    def live(self, name: str = "md") -> list[dict[str, Any]]:
        """Those that have not ended and were not asked to."""
        return [job for job in self.jobs(name) if job["status"] not in OVER | {"CancelRequested"}]

    def running(self, name: str = "md") -> list[dict[str, Any]]:
        """Those that have a process."""
        return [job for job in self.jobs(name) if job["status"] == "Running"]

    def until(self, check: Any, what: str, *, patience: float = 90.0) -> Any:
        """Wait; when it does not happen, the operator's last words are in the failure."""
        try:
            return wait_until(check, what, patience=patience)
        except pytest.fail.Exception as failure:
            words = self.operator.log.read_text()[-4000:] if self.operator.log.exists() else ""
            pytest.fail(f"{failure}\n{words}")


@pytest.fixture
def bench(
    kubernetes_cluster: Cluster,
    kubernetes_namespace: str,
    definition: None,
    azure_program_running: AzureProgram,
    tmp_path: Path,
) -> Iterator[Bench]:
    """A bench whose operator is not started yet. What it made is gone afterwards."""
    installation = uuid.uuid4().hex[:12]
    environment = {
        **azure_program_running.exports,
        "KUBECONFIG": str(kubernetes_cluster.kubeconfig),
        "POD_NAMESPACE": kubernetes_namespace,
        "POD_NAME": "operator-0",
        "POD_IP": "127.0.0.1",
        "WORKFORCE_NAMESPACES": kubernetes_namespace,
        "WORKFORCE_INSTALLATION_ID": installation,
        "WORKFORCE_HTTP_PORT": "0",
        "WORKFORCE_POLL_SECONDS": "0.5",
        "WORKFORCE_RESYNC_SECONDS": "2",
    }
    operator = OperatorProcess(environment, tmp_path / "operator.log")
    made = Bench(kubernetes_cluster, kubernetes_namespace, azure_program_running, operator, installation)
    try:
        yield made
    finally:
        operator.kill()
        _clean(made)


def _clean(bench: Bench) -> None:
    """Without an operator nobody takes the finalizers away, and the processes of jobs would go on."""
    for found in bench.cluster.get("wf", "-n", bench.namespace)["items"]:
        patch = '{"metadata":{"finalizers":null}}'
        bench.kubectl("patch", "wf", found["metadata"]["name"], "--type=merge", "-p", patch, check=False)
    for job in bench.azure.jobs(f"{bench.installation_id}/"):
        if job["pid"] is not None and job["status"] not in OVER:
            _kill(int(job["pid"]))


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def yaml_documents(text: str) -> list[dict[str, Any]]:
    """The objects of a manifest."""
    return [document for document in yaml.safe_load_all(text) if document]
