"""What a stretch of a benchmark cost, counted from outside: CPU of each process, requests, passes.

It tells where the time of a slow stretch went, which the stretch's own seconds do not.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from stage import Stage, row

_SAMPLE = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_READ_BY_OPERATOR = {"workforces", "events"}


@dataclass(frozen=True)
class Costs:
    """Counters at one moment; all of them only rise.

    Attributes:
        cpu: Seconds by process.
        requests: By what was asked of whom.
        passes: Of the operator, whatever came of them.
    """

    cpu: Mapping[str, float]
    requests: Counter[str]
    passes: float

    def since(self, before: Costs) -> Costs:
        """What came in between."""
        cpu = {name: seconds - before.cpu.get(name, 0.0) for name, seconds in self.cpu.items()}
        return Costs(cpu, self.requests - before.requests, self.passes - before.passes)

    def tell(self, number: int) -> None:
        """Print them for each of so many Workforces."""
        row("  passes of each", f"{self.passes / number:.1f}")
        for name, seconds in sorted(self.cpu.items(), key=lambda each: -each[1]):
            row(f"  CPU of each, {name}, ms", f"{1000 * seconds / number:.1f}")
        for name, count in sorted(self.requests.items()):
            if count >= number / 10:
                row(f"  {name}", f"{count / number:.2f}")


def costs(on: Stage) -> Costs:
    """The counters now."""
    return Costs(_cpu(on), _kubernetes(on) + _arm(on), on.metric("workforce_reconcile_duration_seconds_count"))


def _cpu(on: Stage) -> dict[str, float]:
    found = defaultdict[str, float](float, {"this program": time.process_time()})
    of_operator = _family(on.operator.pid) if on.operator is not None else []
    for each in of_operator:
        found["operator" if each.pid == of_operator[0].pid else "its children"] += _seconds(each)
    for each in psutil.process_iter():
        try:
            if each not in of_operator and any(str(on.bench.state_dir) in word for word in each.cmdline()):
                found[_name(each)] += _seconds(each)
        except psutil.Error:
            continue
    return dict(found)


def _family(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    program = Path(words[0]).name
    return f"{program} {words[words.index('-m') + 1]}" if "-m" in words else program


def _kubernetes(on: Stage) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in on.bench.kubectl("get", "--raw", "/metrics").splitlines():
        if sample := _SAMPLE.match(line):
            labels = dict(_LABEL.findall(sample[1]))
            what = "/".join(word for word in (labels["resource"], labels["subresource"]) if word)
            if labels["resource"] in _READ_BY_OPERATOR:
                found[f"Kubernetes {labels['verb']} {what} {labels['code']}"] += int(float(sample[2]))
    return found


def _arm(on: Stage) -> Counter[str]:
    found: Counter[str] = Counter()
    for entry in on.counts():
        kind = str(entry["route"]).rstrip("/").rsplit("/", 1)[-1]
        found[f"ARM {entry['method']} {kind} {entry['status']}"] += int(entry["count"])
    return found
