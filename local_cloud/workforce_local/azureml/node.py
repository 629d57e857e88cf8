"""Simulated nodes: where a job's command really runs.

A node is a folder, an address with its own metadata service, and a name. A job on it is a session of processes with a
working folder of its own and an environment as AzureML makes it: nothing of this process's environment but `PATH`.

`WORKFORCE_CLOUD`: a worker image for this cloud would carry the cloud's file at some path. A simulated node has no
image, so every absolute path in that variable of a job becomes the path of the node's own copy of `cloud.json`, which
differs from the others in its `imds`. Names of public clouds are left alone.

Invariant: when `Node.run` has returned, or was cancelled, no process of that job is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp.typedefs import Middleware

from workforce_local.azureml import lifecycler
from workforce_local.azureml.bindings import expand, folders, resolve
from workforce_local.azureml.ids import WorkspaceId
from workforce_local.azureml.shapes import workspace_guid
from workforce_local.imds import Machine, MetadataServer
from workforce_local.processes import STATE_VARIABLE

CLOUD_VARIABLE = "WORKFORCE_CLOUD"
_LIFECYCLER = Path(lifecycler.__file__)
_LOST = 137
"""Exit code of a job whose processes were killed from outside together with their life cycle manager."""


@dataclass(frozen=True)
class Site:
    """What all nodes share: the state folder, the cloud file, and where things are."""

    state_dir: Path
    base_url: str
    tag: str
    """Value of the variable by which a supervisor knows the processes of its local cloud."""
    before_imds: Callable[[Machine], Middleware | None] = lambda machine: None
    """What stands before a machine's metadata service, to make it fail."""

    @property
    def cloud_file(self) -> Path:
        """The file that describes this cloud."""
        return self.state_dir / "cloud.json"

    @property
    def shared_data(self) -> Path:
        """Data with an address: one folder per address."""
        return self.state_dir / "data"


@dataclass(frozen=True)
class Launch:
    """One job, as a node needs to know it."""

    workspace: WorkspaceId
    cluster: str
    name: str
    properties: Mapping[str, Any]
    folder: Path

    attempt: int = 1

    def keep_logs(self) -> None:
        """Put the output of an earlier attempt aside: AzureML writes a new log over it."""
        for file in (self.stdout, self.stderr):
            if self.attempt > 1 and file.exists():
                file.rename(file.with_suffix(f".{self.attempt - 1}.txt"))

    @property
    def stdout(self) -> Path:
        """Where the job's output goes; kept."""
        return self.folder / "stdout.txt"

    @property
    def stderr(self) -> Path:
        """Where the job's error output goes; kept."""
        return self.folder / "stderr.txt"


@dataclass
class Running:
    """A job's processes on a node."""

    pid: int
    environment: Mapping[str, str]
    ended: asyncio.Future[int] = field(repr=False)
    _orders: asyncio.StreamWriter = field(repr=False)

    def terminate(self) -> None:
        """SIGTERM to the whole session."""
        self._order(b"term\n")

    def freeze(self) -> None:
        """SIGSTOP to all processes of the job, as on a machine that is frozen for a moment."""
        self._order(b"freeze\n")

    def thaw(self) -> None:
        """Let them go on."""
        self._order(b"thaw\n")

    def kill(self) -> None:
        """SIGKILL to all processes of the job, whatever session they are in."""
        self._order(b"kill\n")

    def _order(self, order: bytes) -> None:
        if not self._orders.is_closing():
            self._orders.write(order)


class Node:
    """One node of a cluster."""

    def __init__(self, node_id: str, folder: Path, metadata: MetadataServer, site: Site) -> None:
        self.node_id = node_id
        self.metadata = metadata
        self.job: str | None = None
        self.process: Running | None = None
        self._folder = folder
        self._site = site

    @property
    def address(self) -> str:
        """The node's own loopback address."""
        return self.metadata.host

    async def start(self) -> None:
        """Bring up the metadata service and the node's files."""
        await self.metadata.__aenter__()
        (self._folder / "home").mkdir(parents=True, exist_ok=True)
        cloud = json.loads(self._site.cloud_file.read_text(encoding="utf-8"))
        self._cloud_file.write_text(json.dumps({**cloud, "imds": self.metadata.url}, indent=2), encoding="utf-8")

    async def stop(self) -> None:
        """Take the metadata service down."""
        await self.metadata.__aexit__()

    @property
    def _cloud_file(self) -> Path:
        return self._folder / "cloud.json"

    @contextlib.asynccontextmanager
    async def running(self, launch: Launch) -> AsyncIterator[Running]:
        """The job's processes; on leaving, whatever is left of them is killed."""
        launch.keep_logs()
        values = resolve(launch.properties, shared=self._site.shared_data, own=launch.folder / "outputs")
        working = launch.folder / "wd"
        for path in (
            working,
            launch.folder / "tmp",
            *folders(values, shared=self._site.shared_data, own=launch.folder),
        ):
            path.mkdir(parents=True, exist_ok=True)
        environment = {**self.environment(launch), **_data_variables(values)}
        # The end of this pipe is what tells the life cycle manager that we are gone.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-ISs", str(_LIFECYCLER), str(launch.stdout), str(launch.stderr),
            expand(str(launch.properties["command"]), values),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=working, env=environment,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        watch: asyncio.Task[int] | None = None
        try:
            pid = int((await _event(process))["pid"])
            watch = asyncio.create_task(_watch(process, pid))
            self.process = Running(pid, environment, watch, process.stdin)
            yield self.process
        finally:
            self.process = None
            process.stdin.close()
            await asyncio.shield(watch if watch is not None else process.wait())

    def environment(self, launch: Launch) -> dict[str, str]:
        """The environment of a job on this node, the job's own variables included."""
        properties = launch.properties
        own = {name: str(value) for name, value in (properties.get("environmentVariables") or {}).items()}
        if own.get(CLOUD_VARIABLE, "").startswith("/"):
            own[CLOUD_VARIABLE] = str(self._cloud_file)
        identity = properties.get("identity") or {}
        client_id = identity.get("clientId") or self.metadata.machine.client_id
        workspace = launch.workspace
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self._folder / "home"),
            "TMPDIR": str(launch.folder / "tmp"),
            "LANG": "C.UTF-8",
            "AZUREML_RUN_ID": launch.name,
            "AZUREML_ROOT_RUN_ID": launch.name,
            "AZUREML_ARM_SUBSCRIPTION": workspace.subscription,
            "AZUREML_ARM_RESOURCEGROUP": workspace.group,
            "AZUREML_ARM_WORKSPACE_NAME": workspace.workspace,
            "AZUREML_ARM_PROJECT_NAME": str(properties.get("experimentName") or "Default"),
            "AZUREML_WORKSPACE_ID": workspace_guid(workspace),
            "AZUREML_WORKSPACE_SCOPE": str(workspace),
            "AZUREML_SERVICE_ENDPOINT": self._site.base_url,
            "AZUREML_DISCOVERY_SERVICE_ENDPOINT": f"{self._site.base_url}/discovery",
            "AZUREML_NODE_COUNT": str((properties.get("resources") or {}).get("instanceCount") or 1),
            "AZ_BATCHAI_CLUSTER_NAME": launch.cluster,
            "AZ_BATCHAI_JOB_WORK_DIR": str(launch.folder / "wd"),
            "AZ_BATCH_NODE_ID": self.node_id,
            "AZ_BATCH_POOL_ID": launch.cluster,
            "AZ_BATCH_JOB_ID": launch.name,
            "AZ_BATCH_TASK_ID": launch.name,
            "AZ_BATCH_TASK_DIR": str(launch.folder),
            "NODE_RANK": "0",
            "DEFAULT_IDENTITY_CLIENT_ID": client_id,
            **self.metadata.environment(),
            **own,
            STATE_VARIABLE: self._site.tag,
        }


def _data_variables(values: Mapping[tuple[str, str], str]) -> dict[str, str]:
    prefixes = {"inputs": "AZURE_ML_INPUT_", "outputs": "AZURE_ML_OUTPUT_"}
    return {prefixes[kind] + name: value for (kind, name), value in values.items()}


async def _event(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError(
            f"the life cycle manager of a job ended with {await process.wait()} before it started the job"
        )
    event: dict[str, Any] = json.loads(line)
    return event


async def _watch(process: asyncio.subprocess.Process, pid: int) -> int:
    """The job's exit code, once all of it has ended."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    await process.wait()
    if line:
        return int(json.loads(line)["code"])
    lifecycler.kill_session(pid)
    return _LOST
