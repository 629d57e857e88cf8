"""The Azures under test: the local one as a program of its own, and the real one that environment variables name."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jobq.cloud import Cloud, load_cloud
from tests.support.azure import FAST
from workforce_local.config import LocalConfig
from workforce_local.processes import end, tagged

SUBSCRIPTION = "WORKFORCE_CONFORMANCE_SUBSCRIPTION"
NAMES = {
    "resource_group": "WORKFORCE_CONFORMANCE_RESOURCE_GROUP",
    "workspace": "WORKFORCE_CONFORMANCE_WORKSPACE",
    "compute": "WORKFORCE_CONFORMANCE_COMPUTE",
    "service_bus": "WORKFORCE_CONFORMANCE_SERVICE_BUS",
    "account": "WORKFORCE_CONFORMANCE_STORAGE_ACCOUNT",
}
"""All must be given with a subscription; the group holds the workspace and the Service Bus namespace."""
IMAGE = "WORKFORCE_CONFORMANCE_IMAGE"
DEFAULT_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
PATIENCE = "WORKFORCE_CONFORMANCE_PATIENCE_SECONDS"
"""How long a job may take to start: a cluster without nodes needs minutes."""
DEFAULT_PATIENCE = 1800.0
_START_SECONDS = 120.0


class NoAzureError(LookupError):
    """No real Azure is given. The message says which variables are missing."""


@dataclass(frozen=True)
class Place:
    """One Azure and what is in it.

    Attributes:
        cloud: Where its services are.
        environ: Variables by which an unchanged DefaultAzureCredential works; none where the caller's own do.
        patience: The longest time in seconds that something may take.
    """

    cloud: Cloud
    subscription: str
    resource_group: str
    workspace: str
    compute: str
    service_bus: str
    account: str
    image: str = DEFAULT_IMAGE
    patience: float = 60.0
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def group_id(self) -> str:
        """ARM id of the resource group."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"

    @property
    def workspace_id(self) -> str:
        """ARM id of the workspace."""
        return f"{self.group_id}/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace}"

    @property
    def bus_id(self) -> str:
        """ARM id of the Service Bus namespace."""
        return f"{self.group_id}/providers/Microsoft.ServiceBus/namespaces/{self.service_bus}"


def real_azure(environ: Mapping[str, str]) -> Place:
    """The Azure that the variables name, in the cloud that `WORKFORCE_CLOUD` names.

    Raises:
        NoAzureError: There is no subscription, or something is missing beside it.
    """
    missing = [name for name in (SUBSCRIPTION, *NAMES.values()) if not environ.get(name)]
    if missing:
        raise NoAzureError(f"no real Azure was asked: set {', '.join(missing)} for it, see docs/fidelity.md")
    names = {attribute: environ[variable] for attribute, variable in NAMES.items()}
    return Place(
        load_cloud(environ=environ), environ[SUBSCRIPTION], **names, image=environ.get(IMAGE) or DEFAULT_IMAGE,
        patience=float(environ.get(PATIENCE) or DEFAULT_PATIENCE),
    )  # fmt: skip


@contextmanager
def local_azure(folder: Path, queue_url: str) -> Iterator[Place]:
    """The local Azure, before a storage that runs already."""
    config = LocalConfig(timing=FAST)
    config_file, ready_file = folder / "config.json", folder / "ready.json"
    config_file.write_text(config.model_dump_json(by_alias=True), encoding="utf-8")
    command = [sys.executable, "-m", "workforce_local.azure", "--state-dir", str(folder / "azure")]
    command += ["--config", str(config_file), "--ready-file", str(ready_file), "--storage-queue-url", queue_url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not ready_file.exists():
            assert process.poll() is None, "the local Azure ended at once"
            assert time.monotonic() < deadline, "the local Azure did not become ready"
            time.sleep(0.05)
        environ = json.loads(ready_file.read_text(encoding="utf-8"))["environment"]
        (workspace, *_) = config.workspaces
        yield Place(
            load_cloud(environ=environ), config.subscription_id, workspace.resource_group, workspace.name,
            workspace.computes[0].name, config.service_bus[0].name, config.storage_accounts[0], environ=environ,
        )  # fmt: skip
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_START_SECONDS)
        end(tagged(folder / "azure"), grace=0)
