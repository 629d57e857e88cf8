"""What many Workforces cost the operator, and how soon an edit is acted upon. Printed, never asserted.

python bench/operator/fleet.py [--workforces N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stage import ACCOUNT, Stage, configuration, row, seconds_of, stage

REGIONS = 20
EDITS = 20
QUIET_SECONDS = 60


def ready(on: Stage) -> int:
    """How many Workforces are Ready."""
    found = json.loads(on.bench.kubectl("get", "wf", "-o", "json"))["items"]
    return sum(_is_ready(each) for each in found)


def _is_ready(workforce: dict[str, Any]) -> bool:
    conditions = workforce.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def measure(on: Stage, number: int) -> None:
    """All of it."""
    documents = [on.workforce(f"wf-{each:04}", 1, [each % REGIONS]) for each in range(number)]
    began = time.time()
    for start in range(0, number, 200):
        on.apply(*documents[start : start + 200])
    on.until(lambda: len(on.puts(began)) >= number, "a job of each")
    on.until(lambda: ready(on) >= number, "all Ready")
    row(f"{number} Workforces created to all Ready, s", f"{time.time() - began:.1f}", "", "", "≤ 30")
    row("memory of the operator then (PSS), MB", f"{on.memory():.0f}", "", "", "< 200")
    time.sleep(QUIET_SECONDS)
    versions = _versions(on)
    since = time.time()
    time.sleep(QUIET_SECONDS)
    writes = [each for each in on.requests() if each["method"] != "GET" and seconds_of(each["at"]) >= since]
    patched = sum(versions[name] != version for name, version in _versions(on).items())
    row("in a minute of rest: ARM writes; patches", f"{len(writes)}; {patched}", "", "", "0; 0")
    delays = []
    with api() as base:
        for each in range(EDITS):
            began = _edit(base, f"wf-{each:04}", 2)
            on.until(lambda began=began: on.puts(began), "a PUT")
            delays.append(1000 * (min(seconds_of(put["at"]) for put in on.puts(began)) - began))
    p95 = statistics.quantiles(delays, n=20)[-1]
    row("spec change to first PUT, p95 in ms", f"{p95:.0f}", "", "", "< 300")


def _versions(on: Stage) -> dict[str, str]:
    found = json.loads(on.bench.kubectl("get", "wf", "-o", "json"))["items"]
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in found}


@contextmanager
def api() -> Iterator[str]:
    """The API server without kubectl's own start-up time, by its proxy."""
    proxy = subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert proxy.stdout is not None
        yield f"http://{proxy.stdout.readline().rsplit(' ', 1)[1].strip()}"
    finally:
        proxy.kill()
        proxy.communicate()


def _edit(base: str, name: str, replicas: int) -> float:
    """Change the spec; when the change was sent."""
    request = urllib.request.Request(
        f"{base}/apis/workforce.dev/v1alpha1/namespaces/default/workforces/{name}",
        data=json.dumps({"spec": {"replicas": replicas}}).encode(),
        headers={"Content-Type": "application/merge-patch+json"},
        method="PATCH",
    )
    began = time.time()
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()
    return began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workforces", type=int, default=1000)
    options = parser.parse_args()
    row("", "ours", "", "", "goal")
    with stage(configuration(REGIONS, throttle=False, put_seconds=0)) as on:
        on.bench.run("workforce-agent", "push", f"{ACCOUNT}/bench-tasks", "-c", "true")
        on.start_operator()
        measure(on, options.workforces)


if __name__ == "__main__":
    main()
