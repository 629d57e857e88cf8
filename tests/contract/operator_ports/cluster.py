"""The Kubernetes side of the suites: objects made and changed behind the adapters' back."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workforce_operator.adapters.kubernetes.api import KubernetesApi, open_kubernetes
from workforce_operator.adapters.kubernetes.store import KubernetesWorkforceStore
from workforce_operator.adapters.memory import MemoryWorkforceStore
from workforce_operator.domain.errors import Conflict, Missing, OperatorError
from workforce_operator.ports.kubernetes import Key, WorkforceStore

CRD = Path(__file__).parents[3] / "crds" / "workforces.yaml"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SPEC: Mapping[str, Any] = {
    "replicas": 2,
    "queue": {"type": "Storage", "storage": {"account": "account1", "name": "tasks"}},
    "regions": [
        {
            "name": "uksouth",
            "subscriptionId": "00000000-0000-0000-0000-000000000001",
            "resourceGroup": "g",
            "workspace": "w",
            "compute": "c",
            "maxReplicas": 5,
        }
    ],
    "template": {"environment": {"type": "Image", "image": "x/y:1"}},
}


@dataclass
class StoreBench:
    """A `WorkforceStore` and what users do meanwhile."""

    store: WorkforceStore
    namespace: str
    apply: Callable[[Key, Mapping[str, Any]], Awaitable[None]]
    delete: Callable[[Key], Awaitable[None]]
    add_secret: Callable[[str, Mapping[str, bytes]], Awaitable[None]]

    def key(self, name: str = "md") -> Key:
        return Key(self.namespace, name)


def memory_store() -> StoreBench:
    store = MemoryWorkforceStore()

    async def apply(key: Key, spec: Mapping[str, Any]) -> None:
        store.apply(key, spec)

    async def delete(key: Key) -> None:
        store.delete(key)

    async def add_secret(name: str, data: Mapping[str, bytes]) -> None:
        store.secrets["chem", name] = {key: value.decode() for key, value in data.items()}

    return StoreBench(store, "chem", apply, delete, add_secret)


@asynccontextmanager
async def open_api(kubeconfig: Path) -> AsyncIterator[KubernetesApi]:
    async with open_kubernetes({"KUBECONFIG": str(kubeconfig)}) as api:
        yield api


async def install_definition(api: KubernetesApi) -> None:
    """Install the resource definition, and wait until objects can be made."""
    definition = yaml.safe_load(CRD.read_text())
    with suppress(Conflict):
        await api.create(DEFINITIONS, definition)
    async with asyncio.timeout(60):
        while True:
            try:
                await api.get("/apis/workforce.dev/v1alpha1/workforces")
            except OperatorError:
                await asyncio.sleep(0.1)
            else:
                return


def real_store(api: KubernetesApi, namespace: str) -> StoreBench:
    async def apply(key: Key, spec: Mapping[str, Any]) -> None:
        body = {
            "apiVersion": "workforce.dev/v1alpha1",
            "kind": "Workforce",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": dict(spec),
        }
        try:
            await api.create(_collection(key), body)
        except Conflict:
            await api.patch(f"{_collection(key)}/{key.name}", {"spec": dict(spec)})

    async def delete(key: Key) -> None:
        with suppress(Missing):
            await api._send("DELETE", f"{_collection(key)}/{key.name}")

    async def add_secret(name: str, data: Mapping[str, bytes]) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        await api.create(f"/api/v1/namespaces/{namespace}/secrets", body)

    return StoreBench(KubernetesWorkforceStore(api, [namespace]), namespace, apply, delete, add_secret)


def _collection(key: Key) -> str:
    return f"/apis/workforce.dev/v1alpha1/namespaces/{key.namespace}/workforces"
