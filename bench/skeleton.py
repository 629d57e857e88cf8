"""Numbers of the whole: how long people wait, and what the processes cost. Printed, never asserted.

    python bench/skeleton.py [--cold]

First the two commands of a new user: ``make setup`` where everything is set up already, and ``make demo``; with
``--cold`` also ``make demo``'s set-up in a new clone with empty caches, which downloads, and builds what it must.

Then it starts the local cloud, installs the operator with its default pace, and measures on real processes:

* seconds from ``kubectl scale`` to the first PUT that ARM received, and to the last;
* seconds from the drain order to the end of an idle worker's job;
* memory (PSS) of the operator and of one worker agent;
* seconds until the local cloud is ready, and until the operator is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from workforce_local.demo.bench import Bench, DemoError

CHECKOUT = Path(__file__).resolve().parents[1]
EXAMPLE = CHECKOUT / "examples" / "workforce.yaml"
ROUNDS = 5
WARM_ROUNDS = 3
FEW, MANY = 2, 6


class Measurement:
    """One local cloud with the operator on it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.workforce: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
        self.name = self.workforce["metadata"]["name"]

    def install(self) -> None:
        """``helm install --wait`` with the chart's own pace, and an idle Workforce."""
        values = {"azure.cloud": os.environ["WORKFORCE_CLOUD"]}
        values |= {f"extraEnv.{name}": os.environ[name] for name in sorted(os.environ) if name.startswith("AZURE_")}
        flags = [flag for name, value in values.items() for flag in ("--set-string", f"{name}={value}")]
        chart = str(CHECKOUT / "helm" / "workforce-operator")
        self.bench.run("helm", "install", "workforce-operator", chart, "--wait", "--timeout", "90s", *flags)
        self.bench.run("workforce-agent", "push", self.queue(), "-c", "true")
        self.bench.kubectl("apply", "-f", str(EXAMPLE))

    def queue(self) -> str:
        """``account/queue`` of the example."""
        storage = self.workforce["spec"]["queue"]["storage"]
        return f"{storage['account']}/{storage['name']}"

    def jobs(self) -> list[dict[str, Any]]:
        """Every job, as ARM lists them."""

        async def collect() -> list[dict[str, Any]]:
            found = await asyncio.gather(*map(self.bench.jobs, self.workforce["spec"]["regions"]))
            return [job for region in found for job in region]

        return asyncio.run(collect())

    def wait_for(self, what: str, count: int, of: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Wait until exactly ``count`` jobs are ``of`` a kind, and return them."""
        found: list[dict[str, Any]] = []

        def probe() -> str | None:
            found[:] = [job for job in self.jobs() if of(job)]
            return None if len(found) == count else f"{len(found)} of {count}"

        self.bench.wait(what, probe, timeout=180, tell=lambda _: None)
        return found

    def scale(self, replicas: int) -> float:
        """``kubectl scale``; returns when the command was started."""
        started = time.time()
        self.bench.kubectl("scale", "wf", self.name, f"--replicas={replicas}")
        return started


def created(job: dict[str, Any]) -> float:
    """When ARM received the job's PUT, seconds since 1970."""
    return _seconds(job["systemData"]["createdAt"])


def ended(job: dict[str, Any]) -> float:
    """When the job ended, seconds since 1970."""
    return _seconds(job["properties"]["properties"]["EndTimeUtc"])


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def is_running(job: dict[str, Any]) -> bool:
    """The job has a process."""
    return bool(job["properties"]["status"] == "Running")


def measure_scaling(measurement: Measurement) -> tuple[list[float], list[float], list[float]]:
    """Rounds of scaling up and down over idle workers: first PUT, last PUT, order to end, in seconds."""
    first, last, leave = [], [], []
    measurement.scale(FEW)
    measurement.wait_for("the first workers", FEW, is_running)
    for _ in range(ROUNDS):
        before = {job["name"] for job in measurement.jobs()}
        asked = measurement.scale(MANY)
        running = measurement.wait_for("more workers", MANY, is_running)
        puts = sorted(created(job) - asked for job in running if job["name"] not in before)
        first.append(puts[0])
        last.append(puts[-1])
        asked = measurement.scale(FEW)
        ordered = _ordered(measurement, asked)
        measurement.wait_for("fewer workers", FEW, is_running)
        gone = [job for job in measurement.jobs() if job["properties"]["status"] == "Completed"]
        leave += [ended(job) - ordered for job in gone if ended(job) > asked]
    return first, last, leave


def _ordered(measurement: Measurement, asked: float) -> float:
    """When the drain was written to the ledger, which is just before its orders were sent."""
    sent: list[float] = []

    def probe() -> str | None:
        status = measurement.bench.get_json("wf", measurement.name).get("status", {})
        waves = [wave for region in status.get("regions", []) for wave in region.get("drains", [])]
        sent[:] = [moment for wave in waves if (moment := _seconds(wave["sentTime"])) >= asked - 1]
        return None if sent else "no drain yet"

    measurement.bench.wait("the drain", probe, timeout=60, tell=lambda _: None)
    return min(sent)


def memory_of(program: str) -> list[float]:
    """PSS in MB of every process of this program that the bench started."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            if any(part.endswith(f"/{program}") for part in command[:3]):
                found.append(process.memory_full_info().pss / 1e6)
        except psutil.Error:
            continue  # it ended, or is not ours
    return found


def measure_commands(*, cold: bool) -> None:
    """Set-up and demonstration as a new user sees them."""
    line("make setup, everything there", [timed(CHECKOUT, "setup") for _ in range(WARM_ROUNDS)], "s")
    line("make demo", [timed(CHECKOUT, "demo")], "s")
    if not cold:
        return
    with tempfile.TemporaryDirectory(prefix="workforce-cold-") as folder:
        caches = {"XDG_CACHE_HOME": "cache", "npm_config_cache": "npm", "GOMODCACHE": "go"}
        empty = {variable: str(Path(folder) / name) for variable, name in caches.items()}
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(clone)], check=True)
        line("make setup in a new clone, empty caches", [timed(clone, "setup", **empty)], "s")
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)  # Go's module cache is read-only


def timed(folder: Path, target: str, **environ: str) -> float:
    """Seconds that a make target takes; its output is shown if it fails."""
    started = time.monotonic()
    done = subprocess.run(
        ["make", target], cwd=folder, env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"failed: make {target}\n{done.stdout[-4000:]}")
    return time.monotonic() - started


def line(what: str, values: list[float], unit: str) -> None:
    """One row: median and range."""
    if values:
        spread = f"[{min(values):.2f} … {max(values):.2f}], n={len(values)}"
        print(f"{what:<52}{statistics.median(values):>8.2f} {unit:<3} {spread}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Numbers of the whole: how long people wait, what processes cost.")
    parser.add_argument("--cold", action="store_true", help="measure set-up in a new clone with empty caches, too")
    measure_commands(cold=parser.parse_args().cold)
    with tempfile.TemporaryDirectory(prefix="workforce-bench-") as folder:
        bench = Bench(Path(folder))
        started = time.monotonic()
        bench.up()
        try:
            line("local cloud ready", [time.monotonic() - started], "s")
            measurement = Measurement(bench)
            started = time.monotonic()
            measurement.install()
            line("helm install --wait and kubectl apply", [time.monotonic() - started], "s")
            first, last, leave = measure_scaling(measurement)
            line("kubectl scale to the first PUT", first, "s")
            line(f"kubectl scale to the last of {MANY - FEW} PUTs", last, "s")
            line("drain ordered to an idle worker's job ended", leave, "s")
            line("memory of the operator (PSS)", memory_of("workforce-operator"), "MB")
            line("memory of a worker agent (PSS)", memory_of("workforce-agent"), "MB")
            bench.kubectl("delete", "wf", measurement.name, "--timeout=120s")
        except DemoError as error:
            raise SystemExit(f"failed: {error}") from error
        finally:
            bench.down()


if __name__ == "__main__":
    main()
