"""Runs the Pods of a cluster as local processes: `python -m workforce_local.cluster.pod_runner --kubeconfig FILE ...`.

One Node without containers and images: a Pod's command is started as it is, beside the runner's own interpreter. What
is real: the Pod's life cycle, environment, volumes, ServiceAccount token, probes, restarts, logs and address. What is
not: images, resource limits, and any network of Pods and Services but loopback.

Invariant: when the runner has ended, in whatever way, no process of a Pod runs any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import aiohttp
import click

from workforce_local.cluster.kube_client import TRANSIENT, Access, ApiError, Changed, Deleted, Json, KubeClient, Listed
from workforce_local.cluster.pods.addresses import AddressPool
from workforce_local.cluster.pods.container import Isolation, guard_command
from workforce_local.cluster.pods.log_endpoint import LogEndpoint
from workforce_local.cluster.pods.node import ADDRESS, Node
from workforce_local.cluster.pods.pod import LocalPod, NodeServices, is_over
from workforce_local.cluster.pods.scheduling import bind, misfit, refuse, wants_node
from workforce_local.processes import STATE_VARIABLE

log = logging.getLogger("pod-runner")

_PROBE_TIMEOUT = 20.0
_AFTER_BUG = 5.0
_DESCRIPTIONS = {
    Isolation.ROOT: "at their mount paths (mount namespaces)",
    Isolation.USER: "at their mount paths (user and mount namespaces)",
    Isolation.NONE: "by environment: the system allows no mount namespaces, so mount paths are rewritten",
}


def detect_isolation(folder: Path) -> Isolation:
    """The best isolation that works here; it is tried, because no setting says it."""
    candidates = [Isolation.ROOT, Isolation.USER] if os.geteuid() == 0 else [Isolation.USER]
    for candidate in candidates:
        with tempfile.TemporaryDirectory(dir=folder) as root:
            done = subprocess.run(
                guard_command("probe", -1),
                input=json.dumps({"isolation": candidate.value, "root": str(Path(root).resolve())}),
                capture_output=True,
                text=True,
                timeout=_PROBE_TIMEOUT,
                check=False,
            )
        if done.returncode == 0:
            return candidate
        log.info("isolation %s does not work here: %s", candidate, done.stderr.strip())
    return Isolation.NONE


class PodRunner:
    """All Pods of one node."""

    def __init__(self, services: NodeServices, labels: dict[str, str], pool: AddressPool) -> None:
        self._services = services
        self._labels = labels
        self._pool = pool
        self._pods: dict[str, LocalPod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._binding: dict[str, asyncio.Task[None]] = {}

    def find(self, namespace: str, name: str) -> LocalPod | None:
        """The Pod of this name, if it runs here."""
        wanted = f"{namespace}/{name}"
        return next((pod for pod in self._pods.values() if pod.name == wanted), None)

    async def run(self) -> None:
        """Follow the cluster's Pods until cancelled."""
        async with contextlib.aclosing(self._services.client.watch("/api/v1/pods")) as events:
            async for event in events:
                match event:
                    case Listed(objects):
                        self._relist(objects)
                    case Changed(pod):
                        self._see(pod)
                    case Deleted(pod):
                        self._lose(str(pod["metadata"]["uid"]))

    async def stop(self) -> None:
        """End all Pods' processes; the objects stay."""
        tasks = [*self._binding.values(), *self._tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _relist(self, objects: tuple[Json, ...]) -> None:
        there = {pod["metadata"]["uid"] for pod in objects}
        for uid in set(self._pods) - there:
            self._lose(uid)
        for pod in objects:
            self._see(pod)

    def _lose(self, uid: str) -> None:
        if uid in self._pods:
            self._pods[uid].vanished()

    def _see(self, pod: Json) -> None:
        uid = str(pod["metadata"]["uid"])
        if uid in self._pods:
            self._pods[uid].update(pod)
        elif wants_node(pod):
            self._schedule(uid, pod)
        elif pod["spec"].get("nodeName") == self._services.node_name:
            self._admit(uid, pod)

    def _schedule(self, uid: str, pod: Json) -> None:
        if uid in self._binding:
            return
        reason = misfit(pod, self._labels)
        client = self._services.client
        step = refuse(client, pod, reason) if reason else self._bind(pod)
        task = asyncio.create_task(step, name=f"schedule {uid}")
        self._binding[uid] = task
        task.add_done_callback(lambda _: self._binding.pop(uid, None))

    async def _bind(self, pod: Json) -> None:
        while True:
            try:
                await bind(self._services.client, pod, self._services.node_name)
            except TRANSIENT:
                await asyncio.sleep(1.0)
            else:
                return

    def _admit(self, uid: str, pod: Json) -> None:
        if is_over(pod) and not pod["metadata"].get("deletionTimestamp"):
            return
        wanted = (pod.get("status") or {}).get("podIP") or ""
        local = LocalPod(pod, self._pool.take(uid, wanted), self._services)
        self._pods[uid] = local
        log.info("%s starts at %s", local.name, local.address)
        self._tasks[uid] = asyncio.create_task(self._live(uid, local), name=local.name)

    async def _live(self, uid: str, pod: LocalPod) -> None:
        """A Pod's whole life. This is the boundary of one Pod: a fault in it must not end the others."""
        try:
            await pod.run()
        except Exception:
            log.exception("%s: fault of the pod runner; the Pod is started again", pod.name)
            await asyncio.sleep(_AFTER_BUG)
        finally:
            self._pool.give_back(uid)
            self._pods.pop(uid, None)
            self._tasks.pop(uid, None)
        log.info("%s has ended", pod.name)
        await self._again(uid, pod)

    async def _again(self, uid: str, pod: LocalPod) -> None:
        """An object that is still there and not over after its run is seen anew."""
        with contextlib.suppress(ApiError, *TRANSIENT):
            metadata = pod.pod["metadata"]
            found = await self._services.client.get(
                f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
            )
            if found["metadata"]["uid"] == uid and not found["metadata"].get("deletionTimestamp"):
                self._see(found)


async def serve(
    access: Access, folder: Path, *, node_name: str, mode: Isolation, backoff: float, ready_file: Path | None
) -> None:
    """Run the node until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        KubeClient(access) as client,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        services = NodeServices(
            client=client,
            session=session,
            isolation=mode,
            folder=folder / "pods",
            logs=folder / "logs" / "pods",
            tag=os.environ.get(STATE_VARIABLE) or str(folder),
            node_name=node_name,
            node_address=ADDRESS,
            first_backoff=backoff,
        )
        await _serve(services, stop, ready_file)


async def _serve(services: NodeServices, stop: asyncio.Event, ready_file: Path | None) -> None:
    node = Node(services.client, services.node_name, 0, services.isolation.value)
    runner = PodRunner(services, node.labels, AddressPool(services.tag))
    endpoint = LogEndpoint(runner.find, services.client.access.authority)
    node = Node(services.client, services.node_name, await endpoint.start(ADDRESS), services.isolation.value)
    stopped = asyncio.create_task(stop.wait(), name="stop")
    registered = asyncio.create_task(node.register(), name="registration")
    side = [registered, stopped]
    try:
        await asyncio.wait({registered, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            log.info("node %s is ready", node.name)
            _say_ready(ready_file, node)
            follow = asyncio.create_task(runner.run(), name="follow")
            side += [follow, asyncio.create_task(node.keep_alive(), name="heartbeat")]
            done, _ = await asyncio.wait({stopped, *side[2:]}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a side task that ended is a fault, and the runner ends with it
    finally:
        for task in side:
            task.cancel()
        await asyncio.wait(side)
        await runner.stop()
        await endpoint.stop()


def _say_ready(path: Path | None, node: Node) -> None:
    if path is not None:
        scratch = path.with_name(f".{path.name}.new")
        scratch.write_text(json.dumps({"node": node.name, "volumes": node.mode}), encoding="utf-8")
        scratch.replace(path)


@click.command()
@click.option("--kubeconfig", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=True)
@click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), required=True, help="Volumes and logs.")
@click.option("--node-name", default="local", show_default=True)
@click.option(
    "--isolation",
    type=click.Choice([kind.value for kind in Isolation]),
    help="How containers see their volumes; by default the best that works.",
)
@click.option("--restart-backoff", type=float, default=10.0, show_default=True, help="Seconds before a second restart.")
@click.option("--ready-file", type=click.Path(path_type=Path, dir_okay=False), help="Written when the node is Ready.")
def main(
    *,
    kubeconfig: Path,
    state_dir: Path,
    node_name: str,
    isolation: str | None,
    restart_backoff: float,
    ready_file: Path | None,
) -> None:
    """Run the Pods of a cluster as local processes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        access = Access.from_file(kubeconfig)
        folder = state_dir.resolve()
        (folder / "pods").mkdir(parents=True, exist_ok=True, mode=0o700)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    mode = Isolation(isolation) if isolation else detect_isolation(folder)
    log.info("volumes are shown %s", _DESCRIPTIONS[mode])
    asyncio.run(serve(access, folder, node_name=node_name, mode=mode, backoff=restart_backoff, ready_file=ready_file))


if __name__ == "__main__":
    main()
