"""The ancestor, ai4s-jobq as its users install it, run as if it were in Azure; and our side of the same local cloud.

One local cloud per worker process of pytest, as people start it: by `workforce local up`. Tests share it and are kept
apart by the names of their queues, topics and experiments, and by regions of their own.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workforce_local.config import ComputeConfig, LocalConfig, TimingConfig, WorkspaceConfig
from workforce_local.interop.namespace import why_not
from workforce_local.processes import end, tagged
from workforce_local.state import StateFolder

ROOT = Path(__file__).resolve().parents[2]
ANCESTOR = ROOT / ".cache" / "interop"
PROGRAMS = Path(__file__).parent / "programs"
PATIENCE = 90.0
"""Seconds that a test waits for what should take one: the machine may be busy."""
ACCOUNT = "wfdemo"
NAMESPACE = "wf-bus"
REGIONS = (
    "uksouth", "westeurope", "eastus", "northeurope", "swedencentral", "francecentral", "japaneast", "koreacentral",
    "canadacentral", "norwayeast", "polandcentral",
)  # fmt: skip
FAST = TimingConfig(
    starting_seconds=0.01, preparing_seconds=0.01, node_start_seconds=0.01, finalizing_seconds=0.01,
    canceling_seconds=0.01, cancel_grace_seconds=0.5,
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here may have to wait for several programs to start on a busy machine."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(300))


def wait_until(check: Callable[[], Any], what: str, *, patience: float = PATIENCE) -> Any:
    """Ask again and again until the answer is true, and return it."""
    deadline = time.monotonic() + patience
    while not (answer := check()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {patience:.0f} s; last answer: {answer!r}")
        time.sleep(0.1)
    return answer


def unique(prefix: str) -> str:
    """A name that no other test has."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class LocalCloud:
    """The running local cloud."""

    state_dir: Path
    exports: Mapping[str, str]
    config: LocalConfig

    def into_azure(self, *program: str | Path, trust: Path | None = None) -> list[str]:
        """The command that runs a program as if it were in Azure."""
        words = [sys.executable, "-m", "workforce_local.cli", "run", "--state-dir", str(self.state_dir)]
        words += ["--trust", str(trust)] if trust else []
        return [*words, "--", *map(str, program)]

    def inspect(self, what: str, order: Mapping[str, Any] | None = None) -> Any:
        """What the local cloud knows by itself, beside its interfaces; or, with an order, what it is told to do."""
        token = (self.state_dir / "azure" / "admin.token").read_text()
        base = json.loads((self.state_dir / "azure" / "cloud.json").read_text())["resourceManager"]
        request = urllib.request.Request(
            f"{base}/_local/{what}",
            data=json.dumps(order).encode() if order is not None else None,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        trust = ssl.create_default_context(cafile=self.exports["SSL_CERT_FILE"])
        with urllib.request.urlopen(request, context=trust, timeout=30) as response:
            return json.load(response)

    def jobs(self, experiment: str) -> list[dict[str, Any]]:
        """The jobs of an experiment, the oldest first."""
        return [job for job in self.inspect("jobs") if job["name"].startswith(f"{experiment}-")]


@pytest.fixture(scope="session")
def may_enter_azure() -> None:
    """Skip where the machine's owner has forbidden namespaces."""
    if reason := why_not():
        pytest.skip(f"programs cannot be run as if they were in Azure on this machine: {reason}")


@pytest.fixture(scope="session")
def local_cloud(tmp_path_factory: pytest.TempPathFactory, may_enter_azure: None) -> Iterator[LocalCloud]:
    """A local cloud without Kubernetes; nothing of it is left afterwards."""
    folder = tmp_path_factory.mktemp("interop").resolve()
    state_dir = folder / "cloud"
    workspaces = tuple(
        WorkspaceConfig(name=f"ws-{region}", location=region, computes=(ComputeConfig(name="cluster", max_nodes=4),))
        for region in REGIONS
    )
    config = LocalConfig(workspaces=workspaces, timing=FAST)
    (folder / "config.json").write_text(config.model_dump_json(by_alias=True))
    local = [sys.executable, "-m", "workforce_local.cli"]
    state = ["--state-dir", str(state_dir)]
    up = [*local, "up", *state, "--detach", "--no-kubernetes", "--config", str(folder / "config.json")]
    try:
        started = subprocess.run(up, capture_output=True, text=True, check=False, timeout=180)
        assert started.returncode == 0, started.stdout + started.stderr
        record = StateFolder.at(state_dir).read()
        assert record is not None
        yield LocalCloud(state_dir, record.exports, config)
    finally:
        subprocess.run([*local, "down", *state], capture_output=True, check=False, timeout=180)
        left = tagged(state_dir)
        end(left, grace=0)
    assert not left, f"left behind: {left}"
    assert not list((state_dir / "run").glob("*"))


class Program:
    """A program that runs in the background with its output in a file."""

    def __init__(self, command: list[str], environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    @property
    def words(self) -> str:
        """Everything that it has said."""
        return self.log.read_text(errors="replace")

    def said(self, words: str, times: int = 1) -> None:
        """Wait until it has said something."""
        wait_until(lambda: self.words.count(words) >= times or self.process.poll() is not None, f"{words!r}")
        assert self.words.count(words) >= times, self.words[-3000:]

    def exit_code(self, seconds: float = PATIENCE) -> int:
        """Wait for its end."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {seconds:.0f} s:\n{self.words[-3000:]}")

    def close(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Manager:
    """The ancestor's workforce manager, asked one call after the other."""

    def __init__(self, command: list[str], environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=dict(environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True
            )

    def answer(self) -> Any:
        """The next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the manager ended:\n{self.log.read_text()[-3000:]}"
        found = json.loads(line)
        assert "error" not in found, found["error"]
        return found["result"]

    def __call__(self, of: int | str, call: str, *args: Any, **options: Any) -> Any:
        """Make one call and wait for its result."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"of": of, "call": call, "args": args, "options": options}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


class Ancestor:
    """ai4s-jobq in its own virtual environment, with a home of its own."""

    def __init__(self, cloud: LocalCloud, folder: Path, stack: ExitStack) -> None:
        self.cloud = cloud
        self.folder = folder
        self._stack = stack
        self.certificates = next(ANCESTOR.glob("lib/python3*/site-packages/certifi/cacert.pem"))

    def environ(self, **more: str) -> dict[str, str]:
        """Nothing of this process's environment but the path."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "JOBQ_COPILOT_SKILL": "0", **more}

    def command(self, program: str, *arguments: str | Path) -> list[str]:
        """The command line of a program of its virtual environment."""
        return self.cloud.into_azure(ANCESTOR / "bin" / program, *arguments, trust=self.certificates)

    def run(self, program: str, *arguments: str | Path, code: int = 0, **more: str) -> str:
        """Run to the end and return what it printed; logs and errors are kept apart from it."""
        done = subprocess.run(
            self.command(program, *arguments), env=self.environ(**more), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def jobq(self, queue: str, *arguments: str, **more: Any) -> str:
        """Its command line, for a queue of our account; quiet, so that only results are printed."""
        return self.run("ai4s-jobq", "-q", f"{ACCOUNT}/{queue}", *arguments, **more)

    def worker(self, queue: str, *arguments: str, **more: str) -> Program:
        """Start a worker in the background, gone after the test."""
        words = self.command("ai4s-jobq", f"{ACCOUNT}/{queue}", "worker", *arguments)
        made = Program(words, self.environ(**more), self.folder / f"{unique('worker')}.log")
        self._stack.callback(made.close)
        return made

    def order(self, topic: str, operation: str) -> None:
        """Send one order on a control topic, with the ancestor's own libraries."""
        self.run("python", PROGRAMS / "send_order.py", f"{NAMESPACE}.servicebus.windows.net", topic, operation)

    def az(self, *arguments: str) -> Any:
        """What the Azure command line answers inside."""
        words = self.cloud.into_azure("az", *arguments)
        done = subprocess.run(words, env=self.environ(), capture_output=True, text=True, check=True, timeout=PATIENCE)
        return json.loads(done.stdout)

    def topic(self) -> str:
        """A new control topic with its subscription `shutdown`, made by the Azure command line."""
        name = unique("topic")
        here = ["--resource-group", "workforce", "--namespace-name", NAMESPACE]
        self.az("servicebus", "topic", "create", *here, "--name", name)
        self.az("servicebus", "topic", "subscription", "create", *here, "--topic-name", name, "--name", "shutdown")
        return name

    def waiting_orders(self, topic: str) -> int:
        """Orders of a topic that nobody has completed."""
        here = ["--resource-group", "workforce", "--namespace-name", NAMESPACE, "--topic-name", topic]
        found = self.az("servicebus", "topic", "subscription", "list", *here)
        return int(found[0]["messageCount"])

    def manager(self, *workforces: Mapping[str, Any], **together: Any) -> Manager:
        """Its workforce manager for some workforces; with a queue, for all of them together."""
        config = {"workforces": [self._workforce(given) for given in workforces], **together}
        words = self.command("python", PROGRAMS / "manage.py", json.dumps(config))
        made = Manager(words, self.environ(), self.folder / f"{unique('manager')}.log")
        self._stack.callback(made.close)
        assert made.answer() == "ready"
        return made

    def _workforce(self, given: Mapping[str, Any]) -> dict[str, Any]:
        config = self.cloud.config
        return {
            "subscription": config.subscription_id, "group": "workforce", "compute": "cluster",
            "command": "sleep 600", "environment": {}, **given,
        }  # fmt: skip


@pytest.fixture(scope="session")
def installed() -> Path:
    """The ancestor's virtual environment."""
    if not (ANCESTOR / "bin" / "ai4s-jobq").exists():
        pytest.skip("ai4s-jobq is not installed in .cache/interop: make test-interop does it")
    return ANCESTOR


@pytest.fixture
def ancestor(local_cloud: LocalCloud, installed: Path, tmp_path: Path) -> Iterator[Ancestor]:
    """The ancestor on the local cloud; its processes are gone after the test."""
    with ExitStack() as stack:
        yield Ancestor(local_cloud, tmp_path, stack)


@pytest.fixture
def queue() -> str:
    """The name of a queue that nobody has used."""
    return unique("tasks")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For sockets of Python's multiprocessing, whose paths must not be longer than 107 characters."""
    with tempfile.TemporaryDirectory(prefix="wf-") as folder:
        yield Path(folder)


class OurAgent:
    """`workforce-agent`, told of the local cloud by its environment as anywhere else."""

    def __init__(self, cloud: LocalCloud, folder: Path, stack: ExitStack) -> None:
        self.cloud = cloud
        self.folder = folder
        self._stack = stack

    @property
    def environ(self) -> dict[str, str]:
        """The settings of `workforce local env`."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.cloud.exports}

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run it to the end."""
        done = subprocess.run(
            [sys.executable, "-m", "workforce_agent", *arguments], env=self.environ, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def background(self, command: list[str], environ: Mapping[str, str]) -> Program:
        """Start something in the background, gone after the test."""
        made = Program(command, environ, self.folder / f"{unique('agent')}.log")
        self._stack.callback(made.close)
        return made


@pytest.fixture
def our_agent(local_cloud: LocalCloud, tmp_path: Path) -> Iterator[OurAgent]:
    """Our side."""
    with ExitStack() as stack:
        yield OurAgent(local_cloud, tmp_path, stack)
