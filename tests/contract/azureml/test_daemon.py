"""`python -m workforce_local.azure`: ready, stop, restart, and a death without warning."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from jobq.cloud import load_cloud
from tests.contract.azureml.conftest import PATIENCE_SECONDS, eventually, gone
from tests.support.azure import FAST
from workforce_local.azure import LocalAzure
from workforce_local.config import LocalConfig


class Daemon:
    """One run of the program."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.folder = folder
        self.process = process
        self.ready = folder.parent / "ready.json"

    async def until_ready(self) -> dict[str, Any]:
        await eventually(lambda: self.ready.exists() or self.process.returncode is not None, "the ready file")
        assert self.process.returncode is None
        return json.loads(self.ready.read_text())

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)


@contextlib.asynccontextmanager
async def daemon(tmp_path: Path, *options: str) -> AsyncIterator[Daemon]:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"timing": FAST.model_dump(by_alias=True)}))
    folder = tmp_path / "state"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workforce_local.azure", "--state-dir", str(folder), "--config", str(config),
        "--ready-file", str(tmp_path / "ready.json"), *options, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    running = Daemon(folder, process)
    try:
        yield running
    finally:
        await running.stop(signal.SIGKILL)


async def call(ready: dict[str, Any], method: str, path: str, body: Any = None) -> Any:
    """An authenticated request, with a token for the variables that the ready file names."""
    environment = ready["environment"]
    context = ssl.create_default_context(cafile=environment["REQUESTS_CA_BUNDLE"])
    base = load_cloud(ready["cloud"]).resource_manager
    form = {
        "grant_type": "client_credentials",
        "client_id": environment["AZURE_CLIENT_ID"],
        "client_secret": environment["AZURE_CLIENT_SECRET"],
        "scope": f"{base}/.default",
    }
    workspace = (
        f"/subscriptions/{LocalConfig().subscription_id}/resourceGroups/workforce"
        "/providers/Microsoft.MachineLearningServices/workspaces/ws-uksouth"
    )
    async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.post(f"/{environment['AZURE_TENANT_ID']}/oauth2/v2.0/token", data=form) as answer:
            token = (await answer.json())["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{workspace}{path}?api-version=1"
        filled = json.loads(json.dumps(body).replace("{ws}", workspace))
        async with session.request(method, url, json=filled, headers=headers) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()


async def hire(ready: dict[str, Any], command: str) -> None:
    environment = "/environments/e/versions/1"
    await call(ready, "PUT", environment, {"properties": {"image": "i"}})
    job = {
        "jobType": "Command",
        "command": command,
        "computeId": "{ws}/computes/cluster",
        "environmentId": "{ws}" + environment,
    }
    await call(ready, "PUT", "/jobs/j", {"properties": job})


async def pids_in(file: Path, count: int) -> list[int]:
    def read() -> list[int]:
        return [int(pid) for pid in file.read_text().split()] if file.exists() else []

    await eventually(lambda: len(read()) >= count, "the job's processes")
    return read()


async def test_it_serves_until_sigterm_and_leaves_nothing(tmp_path: Path):
    async with daemon(tmp_path) as running:
        ready = await running.until_ready()
        assert load_cloud(ready["cloud"]).resource_manager.startswith("https://127.0.0.1:")
        file = tmp_path / "pids"
        await hire(ready, f"trap '' TERM; echo $$ > {file}; setsid sleep 600 & echo $! >> {file}; wait; sleep 600")
        processes = await pids_in(file, 2)
        assert await running.stop() == 0
        assert not running.ready.exists()
        assert all(gone(pid) for pid in processes)


async def test_a_killed_one_leaves_no_job_running(tmp_path: Path):
    async with daemon(tmp_path) as running:
        file = tmp_path / "pids"
        await hire(
            await running.until_ready(),
            f"trap '' TERM; echo $$ > {file}; setsid sleep 600 & echo $! >> {file}; while :; do sleep 1; done",
        )
        processes = await pids_in(file, 2)
        await running.stop(signal.SIGKILL)
        await eventually(lambda: all(gone(pid) for pid in processes), "the job to end")


async def test_a_restart_changes_nothing_that_clients_were_told(tmp_path: Path):
    told = []
    file = tmp_path / "done"
    for _ in range(2):
        async with daemon(tmp_path, "--storage-queue-url", "https://127.0.0.1:7/{account}") as running:
            ready = await running.until_ready()
            files = [(running.folder / name).read_bytes() for name in ("cloud.json", "ca.pem")]
            told.append((ready, files))
            assert (await call(ready, "GET", "/jobs"))["value"] == []
            await hire(ready, f"ls -A >> {file}; touch left-over; echo end >> {file}")
            await eventually(lambda: file.exists() and file.read_text().endswith("end\n"), "the job")
            assert file.read_text() == "end\n", "a job of the same name starts in an empty folder"
            file.unlink()
            await running.stop()
    assert told[0] == told[1]


async def test_a_wrong_configuration_is_one_line(tmp_path: Path):
    file = tmp_path / "bad.json"
    file.write_text('{"arm": {"pageSize": 0}}')
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workforce_local.azure", "--state-dir", str(tmp_path / "s"), "--config", str(file),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode().count("\n") == 1
    assert "arm.pageSize" in err.decode()


async def test_the_cloud_file_is_what_the_product_reads(local_azure: LocalAzure):
    """The documented schema, read by the product's own reader, which the local cloud does not import."""
    cloud = load_cloud(str(local_azure.cloud_file))
    assert cloud.resource_manager == cloud.authority == cloud.audiences.resource_manager == local_azure.base_url
    assert cloud.storage_queue_url("wfdemo").endswith("/wfdemo")
    assert cloud.ca_bundle == local_azure.ca_file
    assert cloud.imds == local_azure.imds.url
    assert cloud.service_bus_host("wf-bus") == "wf-bus.servicebus.windows.net"


async def test_secrets_are_for_their_owner_only(local_azure: LocalAzure):
    for name in ("ca-key.pem", "identity-key.pem", "admin.token", "client.secret", "service-bus.key"):
        mode = stat.S_IMODE((local_azure.state_dir / name).stat().st_mode)
        assert mode == 0o600, name
