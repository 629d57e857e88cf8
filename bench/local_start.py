"""Numbers of the local cloud without Kubernetes: how soon it is ready, what it costs idle, what it leaves behind.

    python bench/local_start.py [ROUNDS]

Runs `workforce local up --detach --no-kubernetes` and `down` in a folder of its own, 50 times unless told otherwise. It
fails if a process, an open port or a file of a round is left behind; times are printed only.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from workforce_local.processes import tagged
from workforce_local.state import StateFolder

ROUNDS = 50
IDLE_SECONDS = 30
SETTLE_SECONDS = 20
"""After a start Node.js compiles and collects for some seconds what it has just loaded."""
PATIENCE = 120


def local(verb: str, folder: StateFolder, *flags: str) -> float:
    """Run a verb of `workforce local`; return how long it took."""
    command = [sys.executable, "-m", "workforce_local.cli", verb, "--state-dir", str(folder.root), *flags]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise SystemExit(f"`workforce local {verb}` failed:\n{done.stdout}{done.stderr}")
    return time.monotonic() - started


def up(folder: StateFolder) -> float:
    """Start it; return the seconds until it was ready."""
    return local("up", folder, "--detach", "--no-kubernetes")


def family(folder: StateFolder) -> dict[str, list[psutil.Process]]:
    """Every process of it, by the part that it belongs to."""
    record = folder.read()
    if record is None:
        raise SystemExit(f"nothing runs in {folder.root}")
    found = {"supervisor": [psutil.Process(record.supervisor.pid)]}
    for part in record.processes:
        process = psutil.Process(part.identity.pid)
        found[part.name] = [process, *process.children(recursive=True)]
    return found


def ports(folder: StateFolder) -> set[int]:
    """Every port that it listens on."""
    own = {process.pid for part in family(folder).values() for process in part}
    listening = psutil.net_connections(kind="tcp")
    return {one.laddr.port for one in listening if one.laddr and one.pid in own and one.status == psutil.CONN_LISTEN}


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def files(root: Path) -> set[str]:
    """What is in a folder."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def leftovers(folder: StateFolder, listened: set[int]) -> Iterator[str]:
    """What a round has left behind."""
    yield from (f"process {identity.pid}" for identity in tagged(folder.root))
    yield from (f"port {port}" for port in sorted(listened) if is_open(port))
    if folder.holder():
        yield "the lock of the state folder"


def measure_idle(folder: StateFolder) -> None:
    """Processor time and memory of each part while nobody uses it."""
    parts = family(folder)

    def used() -> dict[str, float]:
        times = {name: [process.cpu_times() for process in some] for name, some in parts.items()}
        return {name: sum(one.user + one.system for one in some) for name, some in times.items()}

    time.sleep(SETTLE_SECONDS)
    before = used()
    time.sleep(IDLE_SECONDS)
    after = used()
    share = {name: (after[name] - before[name]) / IDLE_SECONDS * 100 for name in parts}
    for name, some in parts.items():
        memory = sum(process.memory_full_info().pss for process in some) / 1e6
        print(f"idle {name:<30}{share[name]:>8.2f} %  {memory:>8.1f} MB (PSS)")
    print(f"idle {'all parts':<30}{sum(share.values()):>8.2f} %  wanted: < 1 % of a core, over {IDLE_SECONDS} s")


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    starts, stops, left = [], [], []
    with tempfile.TemporaryDirectory(prefix="workforce-bench-") as name:
        folder = StateFolder.at(Path(name) / "state")
        kept: set[str] = set()
        for number in range(rounds):
            try:
                starts.append(up(folder))
                listened = ports(folder)
                address = json.loads((folder.root / "azure" / "cloud.json").read_text(encoding="utf-8"))
                listened.add(urlsplit(address["resourceManager"]).port or 0)
                if number == 0:
                    measure_idle(folder)
            finally:
                stops.append(local("down", folder))
            left += [f"round {number + 1}: {thing}" for thing in leftovers(folder, listened)]
            now = files(folder.root)
            # What the first round makes is kept for the next: keys, ports, stored data, logs.
            left += [f"round {number + 1}: file {path}" for path in sorted(now - kept)] if number else []
            kept = now
    for what, values, wanted in (("ready", starts, "wanted: < 2"), ("stopped", stops, "")):
        spread = f"[{min(values):.2f} … {max(values):.2f}], n={len(values)}"
        print(f"{what:<35}{statistics.median(values):>8.2f} s  {spread}  {wanted}")
    print("\n".join(left) or f"nothing left behind in {rounds} rounds")
    sys.exit(bool(left))


if __name__ == "__main__":
    main()
