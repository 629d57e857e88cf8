"""One Pod on this node: volumes, containers in order, status, end.

It reads and writes the API server for this one Pod; which Pods there are is decided elsewhere.

Invariants: a Pod's object is removed only after its last process has ended; a Pod that is over is never started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from workforce_local.cluster.kube_client import TRANSIENT, ApiError, Json, KubeClient
from workforce_local.cluster.pods.container import Container, Isolation, Surroundings
from workforce_local.cluster.pods.environment import ConfigurationError, PodFacts
from workforce_local.cluster.pods.provisions import Provisions
from workforce_local.cluster.pods.status import ContainerState, Terminated, Waiting, build_status, timestamp
from workforce_local.cluster.pods.volumes import changes

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 10.0
_RETRY = 1.0
_LAST_GRACE = 2.0
_SHUTDOWN_GRACE = 10.0


@dataclass(frozen=True)
class NodeServices:
    """What all Pods of this runner share."""

    client: KubeClient
    session: aiohttp.ClientSession
    """For probes."""
    isolation: Isolation
    folder: Path
    """Volumes, by Pod."""
    logs: Path
    tag: str
    node_name: str
    node_address: str
    first_backoff: float


@dataclass
class LocalPod:
    """One Pod."""

    pod: Json
    """As the API server last said."""
    address: str
    services: NodeServices
    _deletion: asyncio.Event = field(default_factory=asyncio.Event)
    _dirty: asyncio.Event = field(default_factory=asyncio.Event)
    _initialized: bool = False
    _conditions: dict[str, Json] = field(default_factory=dict)
    _start_time: str = ""

    def __post_init__(self) -> None:
        status = self.pod.get("status") or {}
        self._start_time = status.get("startTime") or timestamp()
        self._conditions = {c["type"]: c for c in status.get("conditions") or []}
        services = self.services
        self._provisions = Provisions(
            self.pod, self._facts, services.client, services.isolation, self._folder, services.tag
        )
        spec, grace = self.pod["spec"], self._grace
        self._init = [self._container(c, init=True, grace=grace) for c in spec.get("initContainers") or []]
        self._main = [self._container(c, init=False, grace=grace) for c in spec["containers"]]
        self.update(self.pod)

    # What others see

    @property
    def uid(self) -> str:
        """The Pod's uid."""
        return str(self.pod["metadata"]["uid"])

    @property
    def name(self) -> str:
        """Namespace and name."""
        return f"{self.pod['metadata']['namespace']}/{self.pod['metadata']['name']}"

    @property
    def logs(self) -> Path:
        """The folder with one folder of logs per container."""
        return logs_folder(self.services.logs, self.pod)

    def container_state(self, name: str) -> ContainerState | None:
        """What the container of this name is doing, or None if the Pod has none."""
        return next((c.state for c in (*self._init, *self._main) if c.state.name == name), None)

    def update(self, pod: Json) -> None:
        """Take note of a newer object."""
        self.pod = self._provisions.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deletion.set()

    def vanished(self) -> None:
        """The object is gone: what runs must end, soon."""
        self.pod["metadata"]["deletionGracePeriodSeconds"] = _LAST_GRACE
        self._deletion.set()

    async def run(self) -> None:
        """Live until the Pod is deleted. If cancelled, end the processes and leave the object as it is."""
        if self._deletion.is_set():
            # It was deleted while nobody ran it: there is nothing to end.
            await self._remove()
            return
        tasks = [
            asyncio.create_task(step, name=f"{self.name} {name}")
            for name, step in (("work", self._work()), ("refresh", self._refresh()), ("status", self._report()))
        ]
        work, refresh, report = tasks
        deletion = asyncio.create_task(self._deletion.wait(), name=f"{self.name} deletion")
        try:
            await _first_failure(deletion, tasks)
            await self.stop(self._grace)
            await asyncio.wait({work}, timeout=_LAST_GRACE)
            await _cancelled([refresh, report])
            await self._say_goodbye()
        finally:
            # The report first: that a runner ends is not the end of the Pod.
            await _cancelled([report, refresh])
            await self.stop(min(self._grace, _SHUTDOWN_GRACE))
            await _cancelled([work, deletion])
            shutil.rmtree(self._folder, ignore_errors=True)

    async def stop(self, grace: float) -> None:
        """End all processes: containers first, then what init containers left running beside them."""
        await asyncio.gather(*(c.stop(grace) for c in self._main))
        await asyncio.gather(*(c.stop(grace) for c in self._init))

    # Life

    async def _work(self) -> None:
        """Init containers one after the other, then all containers at once."""
        async with asyncio.TaskGroup() as group:
            for container in self._init:
                task = group.create_task(container.run(), name=f"{self.name} {container.state.name}")
                if container.spec.get("restartPolicy") == "Always":
                    await _either(container.started.wait(), task)
                    continue
                await task
                if isinstance(container.state.state, Terminated) and container.state.state.exit_code:
                    return
            self._initialized = True
            self._dirty.set()
            running = [group.create_task(c.run(), name=f"{self.name} {c.state.name}") for c in self._main]
            await asyncio.gather(*running)
            # Side-cars do not keep a finished Pod alive.
            await asyncio.gather(*(c.stop(self._grace) for c in self._init))

    @property
    def _grace(self) -> float:
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        grace = metadata.get("deletionGracePeriodSeconds")
        return float(grace if grace is not None else spec.get("terminationGracePeriodSeconds", 30))

    @property
    def _folder(self) -> Path:
        return self.services.folder / self.uid

    @property
    def _facts(self) -> PodFacts:
        return PodFacts(self.address, self.services.node_name, self.services.node_address)

    def _container(self, spec: Json, *, init: bool, grace: float) -> Container:
        name = spec["name"]
        policy = self.pod["spec"].get("restartPolicy", "Always")
        if init:
            # An init container that has succeeded is done, whatever the Pod's policy.
            policy = spec.get("restartPolicy") or ("Never" if policy == "Never" else "OnFailure")
        around = Surroundings(
            isolation=self.services.isolation,
            address=self.address,
            host_name=self.pod["spec"].get("hostname") or self.pod["metadata"]["name"],
            folder=self._folder / "containers" / name,
            logs=self.logs / name,
            policy=policy,
            grace=grace,
            first_backoff=self.services.first_backoff,
            session=self.services.session,
            prepare=lambda: self._provisions.launch(spec),
            changed=self._dirty.set,
        )
        return Container(spec=spec, around=around, state=_initial_state(spec, self.pod))

    async def _refresh(self) -> None:
        """Follow changed ConfigMaps and Secrets, and renew tokens before they expire."""
        while changes(self.pod) and not is_over(self.pod):
            await asyncio.sleep(_REFRESH_SECONDS)
            if self._provisions.filled:
                # Whatever is missing now stays in the volumes as it was, as with any kubelet.
                with contextlib.suppress(ConfigurationError):
                    await self._provisions.fetch()

    # Status

    def status(self) -> Json:
        """The status to write now."""
        others = {c["type"]: c for c in (self.pod.get("status") or {}).get("conditions") or []}
        status = build_status(
            self.pod,
            facts=self._facts,
            containers=[c.state for c in self._main],
            init_containers=[c.state for c in self._init],
            initialized=self._initialized,
            old={**others, **self._conditions},
            start_time=self._start_time,
            now=timestamp(),
        )
        self._conditions = {c["type"]: c for c in status["conditions"]}
        return status

    async def _report(self) -> None:
        """Write the status whenever it has changed, and again until it was written."""
        written: Json | None = None
        self._dirty.set()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            status = self.status()
            if status != written and await self._write(status):
                written = status

    async def _write(self, status: Json) -> bool:
        # The uid makes a patch of a successor of the same name fail.
        body = {"metadata": {"uid": self.uid}, "status": status}
        try:
            await self.services.client.patch(f"{pod_path(self.pod)}/status", body)
        except ApiError as error:
            if error.status in {404, 409}:
                return False
            log.warning("%s: status refused: %s", self.name, error)
        except TRANSIENT as error:
            log.warning("%s: status not written: %s", self.name, error)
        else:
            return True
        await asyncio.sleep(_RETRY)
        self._dirty.set()
        return False

    async def _say_goodbye(self) -> None:
        """Write how the containers ended, then let the object go."""
        with contextlib.suppress(ApiError, *TRANSIENT):
            await self.services.client.patch(
                f"{pod_path(self.pod)}/status", {"metadata": {"uid": self.uid}, "status": self.status()}
            )
        await self._remove()

    async def _remove(self) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        while True:
            try:
                await self.services.client.delete(pod_path(self.pod), options)
            except ApiError as error:
                if error.status not in {404, 409}:
                    log.warning("%s: not removed: %s", self.name, error)
                    await asyncio.sleep(_RETRY)
                    continue
            except TRANSIENT:
                await asyncio.sleep(_RETRY)
                continue
            return


def pod_path(pod: Json) -> str:
    """The Pod's address in the API."""
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def logs_folder(logs: Path, pod: Json) -> Path:
    """Where the logs of a Pod are, one folder per container. They stay when the Pod is deleted."""
    metadata = pod["metadata"]
    return logs / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"


def is_over(pod: Json) -> bool:
    """Whether the Pod has ended for good."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def _initial_state(container: Json, pod: Json) -> ContainerState:
    """Fresh, but for the number of restarts if a runner before us ran it."""
    status = pod.get("status") or {}
    known: Mapping[str, Json] = {
        entry["name"]: entry
        for entry in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    }
    before = known.get(container["name"]) or {}
    restarts = int(before.get("restartCount") or 0)
    last = None
    if set(before.get("state") or {}) & {"running", "terminated"}:
        restarts += 1
        began = ((before["state"].get("running") or {}).get("startedAt")) or timestamp()
        last = Terminated(137, "ContainerStatusUnknown", began, timestamp(), "the node was restarted")
    return ContainerState(
        container["name"], container.get("image", ""), Waiting("ContainerCreating"), last=last, restarts=restarts
    )


async def _first_failure(awaited: asyncio.Task[Any], others: Sequence[asyncio.Task[Any]]) -> None:
    """Wait for one task, unless another fails before: then raise its error."""
    pending = {awaited, *others}
    while awaited in pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def _either(event: Any, task: asyncio.Task[Any]) -> None:
    waiting = asyncio.ensure_future(event)
    await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end; what they raise is of no interest any more."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
