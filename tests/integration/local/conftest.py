"""A local cloud of small programs in a state folder of the test's own, and proof that nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workforce_local.processes import Identity, end, tagged
from workforce_local.state import Phase, Record, StateFolder

PROGRAM = Path(__file__).with_name("fake_cloud.py")
PATIENCE = 60.0


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Poll with a deadline that a loaded machine meets too."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.02)


class FakeCloud:
    """Runs the verbs of ``workforce local``."""

    def __init__(self, root: Path) -> None:
        self.folder = StateFolder.at(root)

    def command(self, verb: str, *arguments: str) -> list[str]:
        return [sys.executable, str(PROGRAM), verb, "--state-dir", str(self.folder.root), *arguments]

    def run(self, verb: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(verb, *arguments),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            check=False,
        )

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """``up`` in the foreground."""
        return subprocess.Popen(
            self.command("up", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )

    def up(self, **environment: str) -> Record:
        """``up --detach``, which must succeed."""
        done = self.run("up", "--detach", **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ready after" in done.stdout
        assert done.stdout.rstrip().endswith("end everything"), "it is told to its last line"
        return self.record()

    def record(self) -> Record:
        record = self.folder.read()
        assert record is not None
        return record

    def wait_ready(self) -> Record:
        wait_until(lambda: (record := self.folder.read()) and record.phase is Phase.READY, "ready")
        return self.record()

    def processes(self) -> list[Identity]:
        """Everything that runs and belongs to it, but for the supervisor."""
        return tagged(self.folder.root)

    def kill_supervisor(self) -> None:
        supervisor = self.record().supervisor
        os.kill(supervisor.pid, signal.SIGKILL)
        wait_until(lambda: not supervisor.alive, "the supervisor is gone")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[FakeCloud]:
    fake = FakeCloud(tmp_path / "state")
    yield fake
    holder = fake.folder.holder()
    left = [*([holder] if holder else []), *fake.processes()]
    end(left, grace=0)
