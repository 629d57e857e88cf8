"""How a verb reaches Kubernetes and the operator: whoever may read the operator's Pods may ask it for its decisions.

The operator is asked through the API server's proxy to its Pods, with the caller's own rights; where the API server
cannot pass that on, at the Pod's own address, which works within the cluster's network. Several replicas are asked in
turn: only the one that leads knows.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import click
import yaml

from workforce_operator.adapters.kubernetes.api import KUBECONFIG_VARIABLE, KubernetesApi, open_kubernetes
from workforce_operator.domain.errors import Denied, Missing, OperatorError

T = TypeVar("T")

SECONDS = 10.0
SELECTOR = "app.kubernetes.io/name=workforce-operator"
_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a verb is about.

    Attributes:
        namespace: Of the Workforce.
        name: Of the Workforce.
        operator_namespace: Where the operator's Pods are; None = look in all namespaces.
        url: The operator's own HTTP address, instead of looking for its Pods.
    """

    namespace: str
    name: str
    operator_namespace: str | None = None
    url: str | None = None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a verb; what is expected to go wrong ends it with one line and exit code 1."""
    try:
        return asyncio.run(work)
    except OperatorError as error:
        raise click.ClickException(str(error)) from error


def default_namespace(environ: Mapping[str, str] = os.environ) -> str:
    """The namespace that kubectl would use: the kubeconfig's current context, else the Pod's own, else `default`."""
    paths = environ.get(KUBECONFIG_VARIABLE) or str(Path("~/.kube/config").expanduser())
    for path in paths.split(os.pathsep):
        namespace = _context_namespace(Path(path))
        if namespace:
            return namespace
    return _ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip() if _ACCOUNT_NAMESPACE.exists() else "default"


async def ask(target: Target, path: str) -> dict[str, Any]:
    """What the operator that leads answers.

    Args:
        target: Whom to ask.
        path: Absolute path of its HTTP endpoint.

    Raises:
        Missing: Nobody who could be asked knows.
        OperatorError: Kubernetes could not be asked.
    """
    if target.url is not None:
        return await _ask_url(target.url, path)
    async with open_kubernetes() as api:
        pods = await _pods(api, target.operator_namespace)
        if not pods:
            raise Missing(f"no Pod of the operator ({SELECTOR}) was found: is it installed? See --operator-namespace")
        said: list[str] = []
        for pod in pods:
            try:
                return await _ask_pod(api, pod, path)
            except OperatorError as error:
                said.append(f"{pod['metadata']['name']}: {error}")
    raise Missing("; ".join(said))


async def _pods(api: KubernetesApi, namespace: str | None) -> list[dict[str, Any]]:
    path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
    try:
        found = await api.get(path, labelSelector=SELECTOR)
    except Denied as error:
        hint = "" if namespace else "; name the operator's namespace with --operator-namespace"
        raise Denied(f"{error}{hint}", scope=path) from error
    return [pod for pod in found.get("items", []) if pod.get("status", {}).get("phase") == "Running"]


async def _ask_pod(api: KubernetesApi, pod: Mapping[str, Any], path: str) -> dict[str, Any]:
    name, namespace, port = pod["metadata"]["name"], pod["metadata"]["namespace"], _port(pod)
    try:
        return await api.get(f"/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy{path}")
    except (Denied, Missing):
        raise
    except OperatorError:
        return await _ask_url(f"http://{_host(pod['status'].get('podIP', ''))}:{port}", path)


def _port(pod: Mapping[str, Any]) -> int:
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports", []))
    return next((int(port["containerPort"]) for port in ports if port.get("name") == "http"), 8080)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


async def _ask_url(url: str, path: str) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url.rstrip('/')}{path}") as answer:
            text = await answer.text()
            if answer.status != 200:
                raise Missing(f"HTTP {answer.status} {text.strip()[:500]}")
            return dict(json.loads(text))
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Missing(f"{url} gives no answer: {str(error) or 'no answer in time'}") from error


def _context_namespace(path: Path) -> str | None:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError):
        return None
    current = content.get("current-context")
    context: Mapping[str, Any] = next(
        (each.get("context", {}) for each in content.get("contexts", []) if each.get("name") == current), {}
    )
    namespace = context.get("namespace")
    return str(namespace) if namespace else None
