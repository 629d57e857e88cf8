"""The local Azure as a program, started and ended again and again in one folder."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from workforce_local.processes import end, tagged

PATIENCE = 60.0
ROUNDS = 3


def start(folder: Path, ready: Path) -> subprocess.Popen[bytes]:
    """Start it, and wait until everything answers."""
    command = [sys.executable, "-m", "workforce_local.azure", "--state-dir", str(folder), "--ready-file", str(ready)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while not ready.exists():
        assert process.poll() is None, "it ended at once"
        assert time.monotonic() < deadline, "it did not become ready"
        time.sleep(0.05)
    return process


def listening(process: subprocess.Popen[bytes]) -> set[tuple[str, int]]:
    """Where it listens."""
    found = psutil.Process(process.pid).net_connections(kind="tcp")
    return {(one.laddr.ip, one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN}


def is_open(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0


@pytest.mark.timeout(ROUNDS * 120)
def test_up_and_down_again_and_again_leaves_no_process_port_or_file(tmp_path: Path) -> None:
    folder, ready = tmp_path / "azure", tmp_path / "ready.json"
    kept: list[set[Path]] = []
    for _ in range(ROUNDS):
        process = start(folder, ready)
        try:
            addresses = listening(process)
            cloud = json.loads((folder / "cloud.json").read_text(encoding="utf-8"))
            assert urlsplit(cloud["resourceManager"]).port in {port for _, port in addresses}
            assert all(map(is_open, addresses))
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE)
            left = tagged(folder)
            end(left, grace=0)
        assert (code, left) == (0, [])
        assert not any(map(is_open, addresses))
        kept.append(set(tmp_path.rglob("*")))
    assert ready not in kept[0]
    # What the first round made (keys, ports, the cloud file) is used again; nothing is added.
    assert kept.count(kept[0]) == ROUNDS


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        # What starts Azure loads next to nothing first, because Azure is the longest part of a start.
        ("workforce_local.cli, workforce_local.parts", {"aiohttp", "cryptography", "pydantic", "rich", "yaml"}),
        # What draws on terminals, and what reads scenarios, comes when it is asked for.
        ("workforce_local.azure", {"rich", "yaml", "kubernetes"}),
    ],
)
def test_a_detached_start_does_not_wait_for_imports_that_it_has_no_use_for(modules: str, unwanted: set[str]) -> None:
    program = f"import sys, {modules}; print(sorted({unwanted} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.strip() == "[]"
