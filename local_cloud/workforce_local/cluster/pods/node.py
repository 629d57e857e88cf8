"""The Node object of this runner, and its heartbeat.

It makes the node appear Ready and keeps it so; it runs nothing. Capacity is what the machine has: nothing is enforced.

Invariant: the Lease is renewed several times within its duration, or the controllers would evict every Pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime

from workforce_local.cluster.kube_client import TRANSIENT, ApiError, Json, KubeClient
from workforce_local.cluster.pods.status import timestamp

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_LEASE_SECONDS = 40
_HEARTBEAT = 10.0
_RETRY = 1.0
_PODS = 1000
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Node:
    """This machine as a node of the cluster."""

    client: KubeClient
    name: str
    log_port: int
    """Where the API server reads logs; 0 if nowhere."""
    mode: str
    """How containers see their volumes; shown as an annotation."""

    @property
    def labels(self) -> dict[str, str]:
        """What node selectors see."""
        return {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        }

    async def register(self) -> None:
        """Make the Node Ready; it may be there from an earlier run. Waits until the API server can be reached."""
        while True:
            try:
                await self._register()
            except (ApiError, *TRANSIENT) as error:
                log.warning("node not registered: %s", error)
                await asyncio.sleep(_RETRY)
            else:
                return

    async def keep_alive(self) -> None:
        """Renew the Lease for ever, and register again if somebody deleted the Node."""
        while True:
            await asyncio.sleep(_HEARTBEAT)
            try:
                await self._renew_lease()
                node = await self.client.get(f"/api/v1/nodes/{self.name}")
                if not _is_ready(node):
                    await self._register()
            except ApiError as error:
                if error.status == 404:
                    await self.register()
                else:
                    log.warning("heartbeat refused: %s", error)
            except TRANSIENT as error:
                log.warning("no heartbeat: %s", error)

    async def _register(self) -> None:
        annotations = {"local/volumes": self.mode}
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": self.labels, "annotations": annotations},
        }
        with contextlib.suppress(_Exists):
            await self._create("/api/v1/nodes", body)
        await self.client.patch(f"/api/v1/nodes/{self.name}/status", {"status": self._status()})
        # Admission taints every new node "not ready", and only a minute later a controller would notice that it is.
        await self.client.patch(f"/api/v1/nodes/{self.name}", {"metadata": body["metadata"], "spec": {"taints": None}})
        await self._renew_lease()

    async def _create(self, path: str, body: Json) -> None:
        try:
            await self.client.create(path, body)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise _Exists from error
            raise

    def _status(self) -> Json:
        now = timestamp()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        resources = {"cpu": str(os.cpu_count() or 1), "memory": f"{memory >> 10}Ki", "pods": str(_PODS)}
        conditions = [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
            for kind, status, reason in (
                ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                ("PIDPressure", "False", "KubeletHasSufficientPID"),
                ("Ready", "True", "KubeletReady"),
            )
        ]
        return {
            "capacity": resources,
            "allocatable": resources,
            "conditions": conditions,
            # No host name: the API server would rather ask that one for logs, and nobody resolves it.
            "addresses": [{"type": "InternalIP", "address": ADDRESS}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.log_port}},
            "nodeInfo": {
                "architecture": self.labels["kubernetes.io/arch"],
                "bootID": "",
                "containerRuntimeVersion": "process://1",
                "kernelVersion": platform.release(),
                "kubeProxyVersion": "",
                "kubeletVersion": "local",
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "Linux",
                "systemUUID": "",
            },
        }

    async def _renew_lease(self) -> None:
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        try:
            await self.client.patch(f"{_LEASES}/{self.name}", {"spec": spec})
        except ApiError as error:
            if error.status != 404:
                raise
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
            with contextlib.suppress(_Exists):
                await self._create(_LEASES, {**lease, "metadata": {"name": self.name}, "spec": spec})


class _Exists(Exception):
    pass


def _is_ready(node: Json) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not (node["spec"].get("taints") or [])
