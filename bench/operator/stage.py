"""What the benchmarks of the operator stand on: local Azure and Kubernetes, an operator, and questions from outside.

Nothing of the operator is imported: it is measured as a process, by what the resource manager received and by its own
metrics. Jobs are records that nobody runs, so that the machine is left to what is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from workforce_local.cluster.definitions import is_established
from workforce_local.config import ArmConfig, ComputeConfig, LocalConfig, TimingConfig, WorkspaceConfig
from workforce_local.demo.bench import Bench
from workforce_local.processes import guarded

CHECKOUT = Path(__file__).resolve().parents[2]
ANCESTOR = CHECKOUT / ".cache" / "interop"
MANAGER = CHECKOUT / "tests" / "interop" / "programs" / "manage.py"
ACCOUNT = "wfdemo"
NODES = 2000
PATIENCE = 300.0


def configuration(regions: int, *, throttle: bool, put_seconds: float) -> LocalConfig:
    """So many regions of one simulated cluster each."""
    cluster = ComputeConfig(name="cluster", max_nodes=NODES, simulate=True)
    workspaces = tuple(
        WorkspaceConfig(name=f"ws-{number:02}", location=f"region{number:02}", computes=(cluster,))
        for number in range(regions)
    )
    timing = TimingConfig(
        starting_seconds=0, preparing_seconds=0, node_start_seconds=0, put_latency_seconds=put_seconds
    )
    return LocalConfig(workspaces=workspaces, timing=timing, arm=ArmConfig(throttle=throttle))


def seconds_of(text: str) -> float:
    """A time of the request log, in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


@dataclass
class Stage:
    """The running local cloud and, once started, the operator."""

    bench: Bench
    config: LocalConfig
    folder: Path
    operator: subprocess.Popen[bytes] | None = None
    _trust: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def start_operator(self, **settings: str) -> None:
        """Start the operator with the chart's own pace, but for ``settings``."""
        self.bench.kubectl("apply", "--server-side", "-f", str(CHECKOUT / "crds" / "workforces.yaml"))
        established = partial(is_established, self.bench.kubectl, "workforces.workforce.dev")
        self.until(established, "the definition's establishing")
        environment = {"POD_NAMESPACE": "default", "POD_NAME": "operator-0", "WORKFORCE_HTTP_PORT": "0"}
        log = (self.folder / "operator.log").open("wb")
        self.operator = subprocess.Popen(
            guarded([sys.executable, "-m", "workforce_operator"], number=signal.SIGKILL),
            env={**os.environ, **environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self.until(lambda: self.said("leading"), "the operator leads")

    def stop_operator(self) -> None:
        """End the operator, if it runs."""
        if self.operator is not None:
            self.operator.kill()
            self.operator.wait()
            self.operator = None

    def said(self, message: str) -> list[dict[str, Any]]:
        """Lines of the operator's log with this message."""
        lines = (self.folder / "operator.log").read_text(errors="replace").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line.get("message") == message]

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of a metric with these labels."""
        address = self.said("serving probes and metrics")[-1]["address"]
        with urllib.request.urlopen(f"{address}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        samples = [line for line in lines if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples if all(each in line for each in wanted))

    def memory(self) -> float:
        """PSS of the operator and its children in MB."""
        assert self.operator is not None
        root = psutil.Process(self.operator.pid)
        return sum(each.memory_full_info().pss for each in [root, *root.children(recursive=True)]) / 1e6

    def workforce(self, name: str, replicas: int, regions: list[int], **spec: Any) -> dict[str, Any]:
        """A Workforce over some of the regions."""
        return {
            "apiVersion": "workforce.dev/v1alpha1",
            "kind": "Workforce",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "replicas": replicas,
                "queue": {"type": "Storage", "storage": {"account": ACCOUNT, "name": "bench-tasks"}},
                "regions": [
                    {
                        "name": f"region{number:02}",
                        "subscriptionId": self.config.subscription_id,
                        "resourceGroup": "workforce",
                        "workspace": f"ws-{number:02}",
                        "compute": "cluster",
                        "maxReplicas": NODES,
                    }
                    for number in regions
                ],
                "template": {"command": "sleep 3600", "environment": {"type": "Image", "image": "worker:1"}},
                "deletionPolicy": "Cancel",
                **spec,
            },
        }

    def apply(self, *documents: Mapping[str, Any]) -> float:
        """``kubectl apply``; returns when it was begun."""
        began = time.time()
        text = "\n---\n".join(json.dumps(document) for document in documents)
        self.bench.run("kubectl", "apply", "--server-side", "-f", "-", stdin=text, timeout=PATIENCE)
        return began

    def requests(self) -> list[dict[str, Any]]:
        """What the resource manager answered, the oldest first."""
        return list(self._inspect("requests")["requests"])

    def counts(self) -> list[dict[str, Any]]:
        """How many requests the resource manager has answered, by method, route and status."""
        return list(self._inspect("requests")["counts"])

    def puts(self, since: float = 0.0) -> list[dict[str, Any]]:
        """PUTs of jobs that were answered since."""
        return [
            entry
            for entry in self.requests()
            if entry["method"] == "PUT" and "/jobs/" in entry["path"] and seconds_of(entry["at"]) >= since
        ]

    def until(self, check: Callable[[], Any], what: str, *, every: float = 0.2) -> None:
        """Wait, looking every so many seconds."""
        deadline = time.monotonic() + PATIENCE
        while not check():
            if time.monotonic() > deadline:
                raise SystemExit(f"{what} did not happen within {PATIENCE:.0f} s; see {self.folder}/operator.log")
            time.sleep(every)

    def chaos(self, kind: str, *fields: str) -> None:
        """Set a fault."""
        self.bench.local("chaos", "add", kind, *fields)

    def calm(self) -> None:
        """Take all faults away."""
        self.bench.local("chaos", "clear")

    def _inspect(self, what: str) -> Any:
        cloud = json.loads(Path(os.environ["WORKFORCE_CLOUD"]).read_text(encoding="utf-8"))
        token = (self.bench.state_dir / "azure" / "admin.token").read_text(encoding="utf-8")
        request = urllib.request.Request(
            f"{cloud['resourceManager']}/_local/{what}", headers={"Authorization": f"Bearer {token}"}
        )
        trust = ssl.create_default_context(cafile=cloud["caBundle"])
        with urllib.request.urlopen(request, timeout=60, context=trust) as answer:
            return json.load(answer)


class Ancestor:
    """The workforce manager of ai4s-jobq, unmodified, as if it ran in Azure; one call per line."""

    def __init__(self, stage: Stage, regions: list[int], experiment: str, **together: Any) -> None:
        config = stage.config
        workforces = [
            {"subscription": config.subscription_id, "group": "workforce", "workspace": f"ws-{number:02}",
             "compute": "cluster", "command": "sleep 600", "experiment": f"{experiment}-{number:02}"}
            for number in regions
        ]  # fmt: skip
        trust = next(ANCESTOR.glob("lib/python3*/site-packages/certifi/cacert.pem"))
        words = [sys.executable, "-m", "workforce_local.cli", "run", "--state-dir", str(stage.bench.state_dir)]
        words += ["--trust", str(trust), "--", str(ANCESTOR / "bin" / "python"), str(MANAGER)]
        environ = {"PATH": os.environ["PATH"], "HOME": str(stage.folder), "JOBQ_COPILOT_SKILL": "0"}
        self._log = (stage.folder / f"{experiment}.log").open("wb")
        self._process = subprocess.Popen(
            [*words, json.dumps({"workforces": workforces, **together})],
            env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        self._answer()

    def call(self, of: int | str, name: str, *arguments: Any, **options: Any) -> float:
        """Make one call; returns its seconds."""
        assert self._process.stdin is not None
        began = time.monotonic()
        order = {"of": of, "call": name, "args": arguments, "options": options}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._answer()
        return time.monotonic() - began

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = json.loads(line) if line else {"error": f"the manager ended; see {self._log.name}"}
        if "error" in found:
            raise SystemExit(found["error"])
        return found["result"]


@contextmanager
def stage(config: LocalConfig) -> Iterator[Stage]:
    """The local cloud with this configuration; nothing is left afterwards but the folder of a failed run."""
    folder = Path(tempfile.mkdtemp(prefix="workforce-bench-"))
    (folder / "config.json").write_text(config.model_dump_json(by_alias=True), encoding="utf-8")
    made = Stage(Bench(folder / "cloud"), config, folder)
    made.bench.up("--config", str(folder / "config.json"))
    try:
        yield made
    finally:
        made.stop_operator()
        made.bench.down()
    shutil.rmtree(folder)


def row(what: str, ours: str, other: str = "", ratio: str = "", goal: str = "") -> None:
    """One line of the table."""
    print(f"{what:<46}{ours:>10}{other:>10}{ratio:>8}{goal:>9}", flush=True)
