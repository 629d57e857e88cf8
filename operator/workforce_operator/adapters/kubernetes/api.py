"""Requests to the Kubernetes API as plain JSON, with its errors in the operator's words.

The official client brings configuration and credentials (kubeconfig, a Pod's token that rotates, exec plugins); its
generated models are not used: they drop what they do not know. Measured beside the rest of the daemon it costs 5 MB
and 0.1 s. It is loaded where a client is opened: whoever asks a verb for its help, or gives an address, does not wait
for it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

from jobq.connect import proxied
from workforce_operator.adapters.arm.errors import retry_after
from workforce_operator.domain.errors import Conflict, Denied, Missing, OperatorError, Throttled, Unavailable

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

REQUEST_SECONDS = 20.0
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
KUBECONFIG_VARIABLE = "KUBECONFIG"
_IN_CLUSTER_VARIABLE = "KUBERNETES_SERVICE_HOST"
_DEFAULT_PAUSE = 1.0
_MESSAGE_LENGTH = 500


class KubernetesApi:
    """One client of one API server."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def get(self, path: str, *, accept: str = JSON, **query: str) -> dict[str, Any]:
        """Read. Raises ``Missing`` for a 404."""
        return await self._send("GET", path, query=query, headers={"Accept": accept})

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create. Raises ``Conflict`` if it exists."""
        return await self._send("POST", path, body=dict(body))

    async def replace(self, path: str, body: Mapping[str, Any], *, accept: str = JSON) -> dict[str, Any]:
        """Replace under the resourceVersion in the body. Raises ``Conflict``."""
        return await self._send("PUT", path, body=dict(body), headers={"Accept": accept})

    async def patch(
        self, path: str, body: Sequence[Mapping[str, Any]] | Mapping[str, Any], *, accept: str = JSON
    ) -> dict[str, Any]:
        """Patch: a list is a JSON patch, an object a merge patch. Raises ``Conflict``, also if a test in it fails."""
        if isinstance(body, Mapping):
            return await self._send(
                "PATCH", path, body=dict(body), headers={"Content-Type": MERGE_PATCH, "Accept": accept}
            )
        return await self._send("PATCH", path, body=list(body), headers={"Content-Type": JSON_PATCH, "Accept": accept})

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> dict[str, Any]:
        what = f"{method} {path}"
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                status, received, text = await self._exchange(method, path, query, headers, body)
        except _no_answer() as error:
            raise Unavailable(f"{what}: {str(error) or 'no answer in time'}") from error
        if status >= 300:
            raise _error(status, received, text, what=what, path=path, patch=method == "PATCH")
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise Unavailable(f"{what}: the answer is not an object of Kubernetes") from error

    async def _exchange(
        self, method: str, path: str, query: Mapping[str, str] | None, headers: Mapping[str, str] | None, body: Any
    ) -> tuple[int, Mapping[str, str], str]:
        defaults = {"Accept": JSON} | ({"Content-Type": JSON} if body is not None else {})
        # Not given the body, which it would copy value by value to make JSON of what is JSON already.
        _, url, prepared, *_ = await self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=list((query or {}).items()),
            header_params={**defaults, **(headers or {})},
            auth_settings=["BearerToken"],
        )
        response = _untyped(await self._client.call_api(method, url, prepared, body, _request_timeout=REQUEST_SECONDS))
        content = await response.read()
        return response.status, response.headers, content.decode(errors="replace")


@asynccontextmanager
async def open_kubernetes(environ: Mapping[str, str] = os.environ) -> AsyncIterator[KubernetesApi]:
    """Open the API server: ``$KUBECONFIG`` if it is set, else the Pod's own account, else the user's kubeconfig.

    Raises:
        Unavailable: None of them can be read.
    """
    from kubernetes.aio import config  # noqa: PLC0415 - see above
    from kubernetes.aio.client import ApiClient, Configuration  # noqa: PLC0415 - the same
    from kubernetes.aio.config import ConfigException  # noqa: PLC0415 - the same

    configuration, load = Configuration(), _untyped(config)
    explicit = environ.get(KUBECONFIG_VARIABLE)
    try:
        if not explicit and environ.get(_IN_CLUSTER_VARIABLE):
            load.load_incluster_config(client_configuration=configuration)
        else:
            await load.load_kube_config(config_file=explicit, client_configuration=configuration)
    except (ConfigException, OSError) as error:
        raise Unavailable(f"no way to Kubernetes: {error}; set {KUBECONFIG_VARIABLE}") from error
    # The loop retries; a retry in here would hide how the API server is, and repeat what is no longer wanted.
    configuration.retries = None
    _untyped(configuration).client_session_kwargs = {"trust_env": proxied()}
    async with ApiClient(configuration) as client:
        yield KubernetesApi(client)


def _no_answer() -> tuple[type[Exception], ...]:
    """What it means that no answer was had."""
    from kubernetes.aio.client.exceptions import ApiException  # noqa: PLC0415 - who asks has a client
    from kubernetes.aio.config import ConfigException  # noqa: PLC0415 - the same

    return aiohttp.ClientError, ApiException, ConfigException, OSError, TimeoutError


def _untyped(thing: Any) -> Any:
    """The client is declared to be typed, and is not everywhere."""
    return thing


def _error(status: int, headers: Mapping[str, str], text: str, *, what: str, path: str, patch: bool) -> OperatorError:
    message = f"{what}: HTTP {status} {_message(text)}".rstrip()
    if status in {401, 403}:
        return Denied(message, scope=path)
    if status == 404:
        return Missing(message)
    if status in {409, 412} or (status == 422 and patch and _test_failed(text)):
        return Conflict(message)
    if status == 429:
        return Throttled(message, retry_after=retry_after(headers) or _DEFAULT_PAUSE)
    return Unavailable(message)


def _status(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) and document.get("kind") == "Status" else {}


def _message(text: str) -> str:
    return str(_status(text).get("message", ""))[:_MESSAGE_LENGTH]


def _test_failed(text: str) -> bool:
    """A JSON patch whose ``test`` fails is answered like an invalid object, but for the causes, which it lacks."""
    details = _status(text).get("details")
    return not (isinstance(details, Mapping) and details.get("causes"))
