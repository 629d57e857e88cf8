"""The demonstration is a test of the whole: it must keep its promise on every machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(400)]

TASKS = 80


def test_the_demo_loses_no_task_runs_none_twice_and_leaves_no_job(tmp_path: Path) -> None:
    verdict_file = tmp_path / "verdict.json"
    program = [sys.executable, "-m", "workforce_local.cli", "demo"]
    flags = ["--state-dir", str(tmp_path / "state"), "--tasks", str(TASKS), "--json", str(verdict_file)]
    told = subprocess.run([*program, *flags], capture_output=True, text=True, timeout=380, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    verdict = json.loads(verdict_file.read_text())
    assert (verdict["enqueued"], verdict["completed_once"]) == (TASKS, TASKS)
    assert verdict["drained_mid_task"] >= 2
    assert max(len(line) for line in told.stdout.splitlines()) <= 100, told.stdout
