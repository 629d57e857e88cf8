"""One container: its command as a local process, its logs, its probes, its restarts and its end.

It knows neither the API server nor other containers: what it needs is prepared for it, and it says when its state has
changed. The process itself is kept by a guard (`container_guard.py`), which ends with us.

Invariant: at any time at most one process of the container runs, and none once `stop` has returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp

from workforce_local.cluster.kube_client import Json
from workforce_local.cluster.pods.backoff import Backoff, restarts
from workforce_local.cluster.pods.environment import ConfigurationError, relocate
from workforce_local.cluster.pods.probes import Answer, Kind, Settings, Tally, ask
from workforce_local.cluster.pods.status import ContainerState, Running, Terminated, Waiting, timestamp
from workforce_local.cluster.pods.volumes import Mount

GUARD = Path(__file__).with_name("container_guard.py")
KILL_ALL = signal.SIGUSR1
_CONFIGURATION_RETRY = 2.0
_UNREADY_PERIOD = 0.5  # until a container was ready for the first time it is asked more often than its probe says
_OUTPUT_SHOWN = 500


log = logging.getLogger(__name__)


class Isolation(StrEnum):
    """How a container sees its volumes."""

    ROOT = "root"
    """At their mount paths, in a mount namespace; the runner is root."""
    USER = "user"
    """At their mount paths, in a user and mount namespace."""
    NONE = "none"
    """In the runner's folders: mount paths in commands and variables are rewritten."""


@dataclass(frozen=True)
class Launch:
    """All that a run of a container needs."""

    command: Sequence[str]
    variables: Mapping[str, str]
    folder: Path
    """Working folder."""
    mounts: Sequence[Mount]
    places: Mapping[str, str] = field(default_factory=dict)
    """Without a mount namespace: where each mount path really is."""


@dataclass(frozen=True)
class Surroundings:
    """What a container is given by its Pod and by the runner."""

    isolation: Isolation
    address: str
    host_name: str
    folder: Path
    """For the container's root folder and working folder."""
    logs: Path
    policy: str
    """Restart policy."""
    grace: float
    first_backoff: float
    session: aiohttp.ClientSession
    prepare: Callable[[], Awaitable[Launch]]
    """Raises ConfigurationError while something is missing."""
    changed: Callable[[], None]


def guard_command(what: str, answer: int) -> list[str]:
    """How the guard is called."""
    return [sys.executable, "-ISs", str(GUARD), what, str(answer), str(os.getpid())]


def log_file(logs: Path, run: int) -> Path:
    """Where the output of the n-th run is."""
    return logs / f"{run}.log"


@dataclass
class Container:
    """One container of a Pod."""

    spec: Json
    around: Surroundings
    state: ContainerState
    _process: asyncio.subprocess.Process | None = None
    _launch: Launch | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _became_started: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def started(self) -> asyncio.Event:
        """Set once the container runs and its startup probe, if it has one, has succeeded."""
        return self._became_started

    async def run(self) -> None:
        """Run and restart until the restart policy says that it is over, or `stop` is called."""
        backoff = Backoff(first=self.around.first_backoff)
        while not self._stopping.is_set():
            launch = await self._prepared()
            if launch is None:
                break
            began = time.monotonic()
            end = await self._run_once(launch)
            self._set(end, ready=False)
            if self._stopping.is_set() or not restarts(self.around.policy, end.exit_code):
                break
            self.state.last = end
            pause = backoff.after(time.monotonic() - began)
            if pause:
                message = f"back-off {pause:g}s restarting failed container {self.state.name}"
                self._set(Waiting("CrashLoopBackOff", message), ready=False)
                await self._sleep(pause)
            self.state.restarts += 1
        self.state.over = True
        self.around.changed()

    async def stop(self, grace: float) -> None:
        """End the process: preStop hook, SIGTERM, after the grace SIGKILL. It is not started again."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        deadline = time.monotonic() + grace
        await self._pre_stop(grace)
        await self._end(process, max(deadline - time.monotonic(), 0.1))

    async def _end(self, process: asyncio.subprocess.Process, grace: float) -> None:
        for number, patience in ((signal.SIGTERM, grace), (KILL_ALL, 5.0), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience)
                return

    async def _prepared(self) -> Launch | None:
        """What the next run needs, as soon as nothing is missing; None if `stop` was called meanwhile."""
        while not self._stopping.is_set():
            try:
                self._launch = await self.around.prepare()
            except ConfigurationError as error:
                self._set(Waiting("CreateContainerConfigError", str(error)), ready=False)
                await self._sleep(_CONFIGURATION_RETRY)
            else:
                return self._launch
        return None

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not beyond `stop`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _set(self, state: Waiting | Running | Terminated, *, ready: bool) -> None:
        self.state.state = state
        self.state.ready = ready
        if not isinstance(state, Running):
            self.state.started = False
        self.around.changed()

    async def _run_once(self, launch: Launch) -> Terminated:
        began = timestamp()
        probes: asyncio.Task[None] | None = None
        try:
            process, failure = await self._spawn(launch)
            if failure:
                await process.wait()
                return Terminated(128, "StartError", began, timestamp(), failure)
            self._set(Running(began), ready=False)
            probes = asyncio.create_task(self._probe(process), name=f"probes of {self.state.name}")
            code = await process.wait()
        finally:
            await self._clean_up(probes)
        code = code if code >= 0 else 128 - code
        return Terminated(code, "Completed" if code == 0 else "Error", began, timestamp())

    async def _clean_up(self, probes: asyncio.Task[None] | None) -> None:
        process, self._process = self._process, None
        if process and process.returncode is None:
            # We were cancelled: nothing may be left behind.
            await self._end(process, 0.1)
        if probes:
            probes.cancel()
            await asyncio.wait({probes})
            if not probes.cancelled() and (error := probes.exception()):
                raise error

    async def _spawn(self, launch: Launch) -> tuple[asyncio.subprocess.Process, str]:
        """Start the guard; the second value says why the command could not be started."""
        root = self.around.folder / "root"
        root.mkdir(parents=True, exist_ok=True)
        self.around.logs.mkdir(parents=True, exist_ok=True)
        spec = {
            "argv": list(launch.command),
            "env": dict(launch.variables),
            "cwd": str(launch.folder),
            "isolation": self.around.isolation.value,
            "root": str(root),
            "hostname": self.around.host_name,
            "mounts": [mount.as_json() for mount in launch.mounts],
        }
        reader, writer = os.pipe()
        try:
            with log_file(self.around.logs, self.state.restarts).open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    *guard_command("run", writer),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env=dict(launch.variables),
                    pass_fds=(writer,),
                    start_new_session=True,
                )
        finally:
            os.close(writer)
        self._process = process
        await _send(process, spec)
        answer = await _read_all(reader)
        return process, str(answer["error"]) if "error" in answer else ""

    # Probes

    async def _probe(self, process: asyncio.subprocess.Process) -> None:
        """All probes of one run; the startup probe comes before the others."""
        if Kind.STARTUP in self.spec and not await self._until_started(process):
            return
        self.state.started = True
        self._became_started.set()
        self.state.ready = Kind.READINESS not in self.spec
        self.around.changed()
        async with asyncio.TaskGroup() as group:
            if Kind.READINESS in self.spec:
                group.create_task(self._watch_readiness())
            if Kind.LIVENESS in self.spec:
                group.create_task(self._watch_liveness(process))

    async def _until_started(self, process: asyncio.subprocess.Process) -> bool:
        tally = await self._begin(Kind.STARTUP)
        while True:
            answer = await self._ask(Kind.STARTUP)
            verdict = tally.add(success=answer.success)
            if verdict is not None:
                if not verdict:
                    await self._kill(process, "startup", answer)
                return verdict
            await asyncio.sleep(tally.settings.period)

    async def _watch_readiness(self) -> None:
        tally = await self._begin(Kind.READINESS)
        was_ready = False
        said = ""
        while True:
            answer = await self._ask(Kind.READINESS)
            if not answer.success and answer.message != said:
                said = answer.message
                log.info("%s, container %s is not ready: %s", self.around.host_name, self.state.name, said)
            ready = tally.add(success=answer.success) is True
            if ready != self.state.ready:
                self.state.ready = ready
                self.around.changed()
            was_ready = was_ready or ready
            period = tally.settings.period
            await asyncio.sleep(period if was_ready else min(period, _UNREADY_PERIOD))

    async def _watch_liveness(self, process: asyncio.subprocess.Process) -> None:
        tally = await self._begin(Kind.LIVENESS)
        while True:
            answer = await self._ask(Kind.LIVENESS)
            if tally.add(success=answer.success) is False:
                await self._kill(process, "liveness", answer)
                return
            await asyncio.sleep(tally.settings.period)

    async def _begin(self, kind: Kind) -> Tally:
        settings = Settings.of(self.spec[kind])
        await asyncio.sleep(settings.initial_delay)
        return Tally(settings)

    async def _ask(self, kind: Kind) -> Answer:
        return await ask(
            self.spec[kind], self.spec, self.around.address, session=self.around.session, execute=self._execute
        )

    async def _kill(self, process: asyncio.subprocess.Process, what: str, answer: Answer) -> None:
        note = f"\ncontainer {self.state.name} failed its {what} probe and is ended: {answer.message}\n"
        with log_file(self.around.logs, self.state.restarts).open("ab") as log:
            log.write(note.encode())
        await self._end(process, self.around.grace)

    async def _pre_stop(self, grace: float) -> None:
        hook = (self.spec.get("lifecycle") or {}).get("preStop") or {}
        if "sleep" in hook:
            await asyncio.sleep(min(hook["sleep"]["seconds"], grace))
        elif hook:
            await ask(
                {**hook, "timeoutSeconds": grace},
                self.spec,
                self.around.address,
                session=self.around.session,
                execute=self._execute,
            )

    async def _execute(self, command: Sequence[str], timeout: float) -> Answer:
        """Run a command in the running container."""
        process, launch = self._process, self._launch
        if process is None or process.returncode is not None or launch is None:
            return Answer(success=False, message="the container does not run")
        helper = await asyncio.create_subprocess_exec(
            *guard_command("enter", -1),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(launch.variables),
            start_new_session=True,
        )
        spec = {
            "pid": process.pid,
            "argv": [relocate(part, launch.places) for part in command],
            "env": dict(launch.variables),
            "cwd": str(launch.folder),
            "isolation": self.around.isolation.value,
        }
        try:
            output, _ = await asyncio.wait_for(helper.communicate(json.dumps(spec).encode()), timeout)
        except TimeoutError:
            return Answer(success=False, message=f"{command[0]} took longer than {timeout:g} s")
        finally:
            if helper.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(helper.pid, signal.SIGKILL)
                await helper.wait()
        return Answer(success=helper.returncode == 0, message=output.decode(errors="replace")[-_OUTPUT_SHOWN:])


async def _send(process: asyncio.subprocess.Process, content: dict[str, Any]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(json.dumps(content).encode())
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _read_all(descriptor: int) -> dict[str, Any]:
    """What the guard answers; it may end without a word, when it is killed while it starts."""
    stream = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        text = await stream.read()
    finally:
        transport.close()
    if not text:
        return {"error": "the container's guard was ended while it started"}
    answer: dict[str, Any] = json.loads(text)
    return answer
