"""One local cloud for the end-to-end tests of a worker process, and an operator that may be killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import yaml

from tests.support.kubernetes import await_definition, wait_until
from workforce_local.demo.bench import Bench

CHECKOUT = Path(__file__).resolve().parents[2]
TERMINAL = ("Completed", "Failed", "Canceled")


class Operator:
    """The operator as a process of this test, outside the cluster: killed and started again at will."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it with a quick pace."""
        settings = {"WORKFORCE_POLL_SECONDS": "0.5", "WORKFORCE_RESYNC_SECONDS": "2", "POD_NAMESPACE": "default"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workforce_operator"],
            env={**os.environ, **settings, "POD_NAME": "e2e", "WORKFORCE_HTTP_PORT": "0"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill(self) -> None:
        """SIGKILL it and whatever it started."""
        if self._process is not None:
            for child in psutil.Process(self._process.pid).children(recursive=True):
                child.kill()
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self._log.close()


class Witness:
    """Looks at ARM's list of jobs all the time, and remembers the most that ever lived per region."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness")
        self.most_live: dict[str, int] = {}
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            while not self._stop.wait(0.3):
                for region, jobs in self._fleet.jobs_by_region().items():
                    live = sum(1 for job in jobs if job["properties"]["status"] not in TERMINAL)
                    self.most_live[region] = max(live, self.most_live.get(region, 0))
        except BaseException as error:
            self.failure = error


class Fleet:
    """The example Workforce on the local cloud, seen from outside the operator."""

    def __init__(self, bench: Bench, operator: Operator) -> None:
        self.bench = bench
        self.operator = operator
        self.manifest: dict[str, Any] = yaml.safe_load((CHECKOUT / "examples/workforce.yaml").read_text())
        self.name = self.manifest["metadata"]["name"]

    def apply(self, **spec: Any) -> None:
        """``kubectl apply`` the example with these fields of the spec replaced."""
        self.manifest["spec"] |= spec
        self.bench.run("kubectl", "apply", "-f", "-", stdin=yaml.safe_dump(self.manifest))

    def scale(self, replicas: int) -> None:
        """``kubectl scale``."""
        self.bench.kubectl("scale", "wf", self.name, f"--replicas={replicas}")

    def jobs_by_region(self) -> dict[str, list[dict[str, Any]]]:
        """Every job, as ARM lists them."""
        import asyncio

        async def collect() -> list[list[dict[str, Any]]]:
            return await asyncio.gather(*map(self.bench.jobs, self.manifest["spec"]["regions"]))

        found = asyncio.run(collect())
        return {region["name"]: jobs for region, jobs in zip(self.manifest["spec"]["regions"], found, strict=True)}

    def jobs(self) -> list[dict[str, Any]]:
        """Every job of every region."""
        return [job for jobs in self.jobs_by_region().values() for job in jobs]

    def running(self) -> int:
        """Jobs that have a process."""
        return sum(1 for job in self.jobs() if job["properties"]["status"] == "Running")

    def live(self) -> int:
        """Jobs that have not ended."""
        return sum(1 for job in self.jobs() if job["properties"]["status"] not in TERMINAL)

    def await_workers(self, count: int) -> None:
        """Wait until exactly so many jobs run and no other lives."""
        wait_until(lambda: self.running() == self.live() == count, f"{count} running workers")


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A whole local cloud."""
    before = dict(os.environ)
    bench = Bench(tmp_path_factory.mktemp("cloud"))
    bench.up()
    try:
        yield bench
    finally:
        bench.down()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def fleet(bench: Bench, tmp_path: Path) -> Iterator[Fleet]:
    """The resource definition and an operator process; afterwards the Workforce is gone."""
    bench.kubectl("apply", "-f", str(CHECKOUT / "crds" / "workforces.yaml"))
    await_definition(bench.kubectl)
    operator = Operator(tmp_path / "operator.log")
    fleet = Fleet(bench, operator)
    operator.start()
    try:
        yield fleet
    finally:
        bench.kubectl("delete", "wf", fleet.name, "--ignore-not-found", "--timeout=60s", check=False)
        operator.close()


@pytest.fixture
def dice() -> random.Random:
    """Randomness that a failed run can repeat: the seed is printed."""
    seed = int(os.environ.get("WORKFORCE_TEST_SEED", time.time_ns() % 100_000))
    return random.Random(seed)
