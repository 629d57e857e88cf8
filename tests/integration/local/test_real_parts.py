"""``workforce local`` with what it is for: storage and Azure, and in one test Kubernetes too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobq.cloud import load_cloud
from tests.integration.local.conftest import FakeCloud, wait_until
from workforce_local.processes import end

START_SECONDS = 600
"""The Kubernetes programs may have to be built."""


class RealCloud(FakeCloud):
    """The program as users call it."""

    def command(self, verb: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "workforce_local.cli", verb, "--state-dir", str(self.folder.root), *arguments]

    def shell(self, script: str) -> str:
        """Run a script in a shell that has evaluated ``workforce local env``."""
        text = f"set -euo pipefail\n{self.run('env').stdout}\n{script}"
        done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealCloud]:
    cloud = RealCloud(tmp_path / "state")
    yield cloud
    holder = cloud.folder.holder()
    end([*([holder] if holder else []), *cloud.processes()], grace=0)


def test_azure_alone_starts_serves_and_leaves_nothing(real: RealCloud) -> None:
    done = real.run("up", "--detach", "--no-kubernetes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80 or str(real.folder.root) in done.stdout
    status = real.run("status")
    assert status.returncode == 0, status.stdout
    assert {line.split()[0] for line in status.stdout.splitlines()[2:]} == {"storage", "azure"}

    cloud = load_cloud(real.shell("echo $WORKFORCE_CLOUD").strip())
    addresses = {process.name: process.address for process in real.record().processes}
    assert cloud.resource_manager == addresses["azure"]
    # Clients come through what can make storage fail, not straight to Azurite.
    assert cloud.storage_queue_url("wfdemo") != f"{addresses['storage']}/wfdemo"

    assert real.run("down").returncode == 0
    assert real.processes() == []


def test_a_wrong_configuration_is_refused_with_its_field(real: RealCloud, tmp_path: Path) -> None:
    config = tmp_path / "cloud.json"
    config.write_text('{"workspaces": [{"name": "a", "location": "x", "computes": [{"name": "c", "maxNodes": -1}]}]}')
    done = real.run("up", "--detach", "--config", str(config))
    assert done.returncode == 2
    assert "workspaces.0.computes.0.maxNodes" in done.stderr
    assert not real.folder.root.exists()


def test_a_killed_supervisor_takes_storage_and_azure_with_it(real: RealCloud) -> None:
    done = real.run("up", "--detach", "--no-kubernetes")
    assert done.returncode == 0, done.stdout + done.stderr
    processes = real.record().processes
    real.kill_supervisor()
    wait_until(lambda: not any(process.alive for process in processes), "guarded parts have ended")


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(START_SECONDS + 120)
def test_everything_starts_serves_a_shell_and_leaves_nothing(real: RealCloud) -> None:
    subprocess.run(real.command("up", "--detach"), check=True, timeout=START_SECONDS, stdout=subprocess.DEVNULL)
    status = real.run("status")
    assert status.returncode == 0, status.stdout

    assert real.shell("kubectl get --raw /readyz") == "ok"
    assert real.shell("kubectl get nodes --output name").split() == ["node/local"]
    assert real.shell("helm list --output json").strip() == "[]"
    assert "workforce" in real.shell("command -v workforce-agent")
    # The right kubectl comes first, whatever else this machine has.
    assert real.shell("command -v kubectl").strip().startswith(tuple(map(str, real.record().path_folders)))

    processes = real.record().processes
    assert real.run("down").returncode == 0
    assert real.processes() == []
    assert not any(process.alive for process in processes)


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(START_SECONDS + 120)
def test_a_killed_supervisor_leaves_no_pod_and_the_next_start_runs_it_again(real: RealCloud) -> None:
    up = real.command("up", "--detach")
    subprocess.run(up, check=True, timeout=START_SECONDS, stdout=subprocess.DEVNULL)
    real.shell(
        "kubectl run sleeper --image none --command -- sleep 1000 && kubectl wait --for condition=Ready pod/sleeper"
    )
    real.kill_supervisor()
    wait_until(lambda: not real.processes(), "control plane, node, Pod and Azure have ended")

    subprocess.run(up, check=True, timeout=START_SECONDS, stdout=subprocess.DEVNULL)
    real.shell("kubectl wait --for condition=Ready pod/sleeper --timeout 60s")
    assert real.run("down").returncode == 0
    assert real.processes() == []


def test_the_state_folder_is_for_its_owner_only(real: RealCloud) -> None:
    real.folder.create()
    assert real.folder.root.stat().st_mode & 0o077 == 0
