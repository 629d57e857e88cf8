"""What the demonstration stands on: a running local cloud, the tools of a user, and questions to ARM.

Everything is done through the commands and endpoints that a user has; nothing here imports the operator or the agent.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from jobq.cloud import load_cloud
from jobq.connect import open_credential
from workforce_local.state import StateError, StateFolder

_POLL_SECONDS = 0.5
_REMAINS = ("azure", "demo", "kubernetes", "logs", "storage")
"""What a local cloud leaves in its state folder. Nothing else is removed from it: other things may be there, too."""


class DemoError(Exception):
    """A step of the story failed. The text says which command or wait, and what it said."""


class Bench:
    """Runs commands in the environment of ``workforce local env`` and asks ARM for jobs.

    Args:
        state_dir: State folder of the local cloud.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir

    def begin_anew(self) -> None:
        """Take away what an earlier demonstration left: its release, its Workforce and its tasks would spoil this one.

        Raises:
            DemoError: It still runs, or its remains cannot be removed.
        """
        folder = StateFolder.at(self.state_dir)
        try:
            running = folder.holder()
        except StateError as error:
            raise DemoError(str(error)) from error
        if running:
            down = f"workforce local down --state-dir {shlex.quote(str(self.state_dir))}"
            raise DemoError(f"an earlier demonstration still runs; to end it:\n{down}")
        if folder.read() is None:
            return
        self.down()  # What a killed supervisor has left may still write there.
        for name in _REMAINS:
            try:
                shutil.rmtree(folder.root / name)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise DemoError(f"{folder.root / name} cannot be removed: remove it by hand ({error})") from error

    def up(self, *arguments: str) -> None:
        """Start the local cloud, detached, and take over its environment, as a user's shell would."""
        self.local("up", "--detach", *arguments)
        for line in self.local("env").splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            os.environ[name] = os.path.expandvars("".join(shlex.split(value)))

    def down(self) -> None:
        """Stop it."""
        self.local("down")

    def local(self, *words: str) -> str:
        """Run ``workforce local``, any verb of it."""
        program = [sys.executable, "-m", "workforce_local.cli"]
        return self.run(*program, *words, "--state-dir", str(self.state_dir), timeout=600)

    def run(self, *command: str, stdin: str | None = None, timeout: float = 180, check: bool = True) -> str:
        """Run a command to its end and return what it printed.

        Raises:
            DemoError: It failed or took too long.
        """
        try:
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"{' '.join(command[:4])} … took longer than {timeout:.0f} s") from error
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()[-8:]
            raise DemoError(f"{' '.join(command[:4])} … ended with {done.returncode}:\n" + "\n".join(said))
        return done.stdout

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """Run kubectl against the local cluster."""
        return self.run("kubectl", *arguments, check=check)

    def get_json(self, *arguments: str) -> Any:
        """``kubectl get … -o json``, parsed."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    async def jobs(self, region: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Every job of a region's workspace, as ARM lists them."""
        cloud = load_cloud()
        trust = ssl.create_default_context(cafile=str(cloud.ca_bundle) if cloud.ca_bundle else None)
        url: str | None = (
            f"{cloud.resource_manager}/subscriptions/{region['subscriptionId']}/resourceGroups/{region['resourceGroup']}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{region['workspace']}/jobs?api-version=2024-04-01"
        )
        found: list[dict[str, Any]] = []
        async with open_credential(cloud) as credential, aiohttp.ClientSession() as session:
            token = await credential.get_token(f"{cloud.audiences.resource_manager}/.default")
            while url:
                headers = {"Authorization": f"Bearer {token.token}"}
                async with session.get(url, headers=headers, ssl=trust) as answer:
                    answer.raise_for_status()
                    page = await answer.json()
                found += page["value"]
                url = page.get("nextLink")
        return found

    @staticmethod
    def wait(what: str, probe: Callable[[], str | None], *, timeout: float, tell: Callable[[str], None]) -> None:
        """Wait until ``probe`` returns None; what it returns otherwise is told as progress.

        Raises:
            DemoError: It took longer than ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while (pending := probe()) is not None:
            if time.monotonic() > deadline:
                raise DemoError(f"{what}: still waiting after {timeout:.0f} s ({pending})")
            tell(pending)
            time.sleep(_POLL_SECONDS)
