"""How fast the local resource manager answers: 10,000 simulated jobs in 84 regions are hired, read, listed, cancelled.

One server process over loopback TLS, as `workforce local` runs it, and one client process; both share this machine's
cores with whatever else runs, so the server's CPU time per request is the robust number and the rate is a lower bound.
Nothing leaves the machine. Run: `python bench/local_arm.py [--jobs N] [--regions N] [--concurrency N]`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from workforce_local.config import ComputeConfig, EnvironmentConfig, LocalConfig, TimingConfig, WorkspaceConfig

READY_SECONDS = 30.0
TARGET = 1000
VERSION = {"api-version": "2025-12-01"}


def configuration(regions: int, jobs: int) -> LocalConfig:
    """One workspace with a simulated cluster per region, room for all jobs."""
    cluster = ComputeConfig(name="cluster", max_nodes=-(-jobs // regions), simulate=True)
    workspaces = tuple(
        WorkspaceConfig(
            name=f"ws-{number:02}", location=f"region{number:02}", computes=(cluster,),
            environments=(EnvironmentConfig(name="worker"),),
        )
        for number in range(regions)
    )  # fmt: skip
    return LocalConfig(workspaces=workspaces, timing=TimingConfig(node_start_seconds=1.0))


@asynccontextmanager
async def server(config: LocalConfig) -> AsyncIterator[tuple[dict[str, Any], psutil.Process]]:
    """The local Azure as a process of its own: what it says when it is ready, and the process."""
    with tempfile.TemporaryDirectory(prefix="local-arm-") as folder:
        root = Path(folder)
        (root / "config.json").write_text(config.model_dump_json(by_alias=True), encoding="utf-8")
        ready = root / "ready.json"
        command = [sys.executable, "-m", "workforce_local.azure", "--state-dir", root / "state"]
        command += ["--config", root / "config.json", "--ready-file", ready]
        process = await asyncio.create_subprocess_exec(*map(str, command), stdout=asyncio.subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not ready.exists():
                if process.returncode is not None or time.monotonic() > deadline:
                    raise SystemExit("the local Azure did not start")
                await asyncio.sleep(0.05)
            yield json.loads(ready.read_text(encoding="utf-8")), psutil.Process(process.pid)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def token(session: aiohttp.ClientSession, base: str, environment: dict[str, str]) -> str:
    """A token for the resource manager."""
    form = {
        "grant_type": "client_credentials", "client_id": environment["AZURE_CLIENT_ID"],
        "client_secret": environment["AZURE_CLIENT_SECRET"], "scope": f"{base}/.default",
    }  # fmt: skip
    async with session.post(f"{base}/{environment['AZURE_TENANT_ID']}/oauth2/v2.0/token", data=form) as answer:
        return str((await answer.json())["access_token"])


@dataclass
class Client:
    """Sends many requests of one kind, so many at a time."""

    session: aiohttp.ClientSession
    server: psutil.Process
    concurrency: int

    async def run(self, name: str, number: int, send: Callable[[int], Awaitable[int]]) -> float:
        """Send them all, print and return the rate."""
        numbers = iter(range(number))
        items = 0

        async def worker() -> None:
            nonlocal items
            for one in numbers:
                found = await send(one)
                items += found

        before, began, own = self.server.cpu_times(), time.monotonic(), time.process_time()
        await asyncio.gather(*(worker() for _ in range(self.concurrency)))
        seconds, client = time.monotonic() - began, time.process_time() - own
        after = self.server.cpu_times()
        cpu = after.user + after.system - before.user - before.system
        print(
            f"{name:34} {number:6} requests {items:8} jobs {number / seconds:7.0f} requests/s   "
            f"server CPU {1000 * cpu / number:5.2f} ms, client CPU {1000 * client / number:5.2f} ms per request"
        )
        return number / seconds


class Work:
    """The requests."""

    def __init__(self, session: aiohttp.ClientSession, base: str, config: LocalConfig, jobs: int) -> None:
        self._session = session
        group = f"/subscriptions/{config.subscription_id}/resourceGroups/workforce"
        self._paths = [
            f"{group}/providers/Microsoft.MachineLearningServices/workspaces/{space.name}"
            for space in config.workspaces
        ]
        self._base = base
        self._jobs = jobs
        self._pages = itertools.cycle(self._paths)
        self._next: list[str] = []

    def _url(self, number: int, action: str = "") -> str:
        return f"{self._base}{self._paths[number % len(self._paths)]}/jobs/bench-{number:05}{action}"

    async def hire(self, number: int) -> int:
        """One PUT."""
        space = self._paths[number % len(self._paths)]
        properties = {
            "jobType": "Command", "command": "workforce-agent run", "experimentName": "bench",
            "computeId": f"{space}/computes/cluster", "environmentId": f"{space}/environments/worker/versions/1",
            "environmentVariables": {"JOBQ_STORAGE": "account", "JOBQ_QUEUE": "tasks"},
            "properties": {"cohort": "bench"}, "resources": {"instanceCount": 1},
        }  # fmt: skip
        url = self._url(number)
        async with self._session.put(url, params=VERSION, json={"properties": properties}) as answer:
            await answer.read()
            assert answer.status == 201, await answer.text()
        return 1

    async def get(self, number: int) -> int:
        """One GET."""
        async with self._session.get(self._url(number % self._jobs), params=VERSION) as answer:
            await answer.read()
            assert answer.status == 200, answer.status
        return 1

    async def list_page(self, number: int) -> int:
        """One page; pages of a workspace are followed to their end."""
        url = self._next.pop() if self._next else ""
        params = {} if url else {**VERSION, "properties": "cohort=bench"}
        url = url or f"{self._base}{next(self._pages)}/jobs"
        async with self._session.get(url, params=params) as answer:
            jobs, _, link = (await answer.read()).rpartition(b',"nextLink":')
        # Decoding a page costs this client more than making it costs the server.
        if following := json.loads(link.removesuffix(b"}")):
            self._next.append(following)
        return jobs.count(b'"jobType"')

    async def cancel(self, number: int) -> int:
        """One POST."""
        async with self._session.post(self._url(number, "/cancel"), params=VERSION) as answer:
            await answer.read()
            assert answer.status == 202, answer.status
        return 1


async def measure(jobs: int, regions: int, concurrency: int) -> bool:
    """Run it. Returns whether hire, list and cancel reach the target."""
    config = configuration(regions, jobs)
    async with server(config) as (ready, process):
        environment = ready["environment"]
        base = environment["AZURE_AUTHORITY_HOST"]
        context = ssl.create_default_context(cafile=environment["REQUESTS_CA_BUNDLE"])
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            session.headers["Authorization"] = f"Bearer {await token(session, base, environment)}"
            work, client = Work(session, base, config, jobs), Client(session, process, concurrency)
            rates = [await client.run(f"hire in {regions} regions", jobs, work.hire)]
            await client.run("get", jobs, work.get)
            rates.append(await client.run(f"list, pages of {config.arm.page_size}", jobs // 4, work.list_page))
            rates.append(await client.run("cancel", jobs, work.cancel))
            memory = process.memory_info().rss / 2**20
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"server memory {memory:.0f} MB; {cores} cores, load {load:.1f} with client and server")
    return min(rates) > TARGET


def main() -> None:
    """Read the options, measure, and say whether the target was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--regions", type=int, default=84)
    parser.add_argument("--concurrency", type=int, default=32)
    options = parser.parse_args()
    reached = asyncio.run(measure(options.jobs, options.regions, options.concurrency))
    print(f"hire, list and cancel {'all' if reached else 'do not all'} exceed {TARGET} requests/s on this machine now")


if __name__ == "__main__":
    main()
