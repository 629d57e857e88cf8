"""Workforce objects, Secrets and the resource definition. See ``ports.kubernetes.WorkforceStore`` for the contract.

Each write carries the resourceVersion that was read, so that nothing is written over what somebody else wrote since.
For the same reason the answer can tell nothing of spec and status that is not known: only its metadata is asked for.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from workforce_operator.api.base import FINALIZER, GROUP, KIND, PLURAL, VERSION, requested_drains
from workforce_operator.api.status import WorkforceStatus, lenient_status
from workforce_operator.domain.errors import Conflict, Missing, OperatorError
from workforce_operator.ports.kubernetes import Key, StoredWorkforce

if TYPE_CHECKING:
    from workforce_operator.adapters.kubernetes.api import KubernetesApi  # large, and nothing is called in it here

PAGE = "500"
_API = f"/apis/{GROUP}/{VERSION}"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
_METADATA_LIST = _METADATA.replace("Metadata;", "MetadataList;")
_REMOVE_ATTEMPTS = 5

_log = structlog.get_logger(__name__)


class KubernetesWorkforceStore:
    """The port over the API server. ``namespaces`` empty = all of them."""

    def __init__(self, api: KubernetesApi, namespaces: Sequence[str] = ()) -> None:
        self._api = api
        self._namespaces = tuple(namespaces)

    async def get(self, key: Key) -> StoredWorkforce | None:
        """See ``ports.kubernetes.WorkforceStore``."""
        try:
            return stored_of(await self._api.get(_path(key)))
        except Missing:
            return None

    async def list_keys(self) -> tuple[Key, ...]:
        """See ``ports.kubernetes.WorkforceStore``. Only metadata is asked for."""
        paths = [f"{_API}/namespaces/{namespace}/{PLURAL}" for namespace in self._namespaces] or [f"{_API}/{PLURAL}"]
        return tuple([key for path in paths async for key in self._keys(path)])

    async def write_status(self, stored: StoredWorkforce, status: WorkforceStatus) -> StoredWorkforce:
        """See ``ports.kubernetes.WorkforceStore``."""
        key, content = stored.key, status.model_dump(mode="json", by_alias=True, exclude_none=True)
        metadata = {
            "name": key.name,
            "namespace": key.namespace,
            "uid": stored.uid,
            "resourceVersion": stored.resource_version,
        }
        # The server ignores the spec here, which it would refuse to miss.
        document = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": metadata,
            "spec": stored.spec,
            "status": content,
        }
        with _still_there(key):
            answer = await self._api.replace(f"{_path(key)}/status", document, accept=_METADATA)
        version = answer["metadata"]["resourceVersion"]
        return replace(stored, resource_version=version, status=_status(key, content))

    async def add_finalizer(self, stored: StoredWorkforce) -> StoredWorkforce:
        """See ``ports.kubernetes.WorkforceStore``."""
        if FINALIZER in stored.finalizers:
            return stored
        wanted = [*stored.finalizers, FINALIZER]
        patch = [_version(stored), {"op": "add", "path": "/metadata/finalizers", "value": wanted}]
        with _still_there(stored.key):
            answer = await self._api.patch(_path(stored.key), patch, accept=_METADATA)
        metadata = answer["metadata"]
        return replace(stored, resource_version=metadata["resourceVersion"], finalizers=tuple(metadata["finalizers"]))

    async def remove_finalizer(self, stored: StoredWorkforce) -> None:
        """See ``ports.kubernetes.WorkforceStore``. Other finalizers may come and go at the same time."""
        for _ in range(_REMOVE_ATTEMPTS):
            current = await self.get(stored.key)
            if current is None or current.uid != stored.uid or FINALIZER not in current.finalizers:
                return
            path = f"/metadata/finalizers/{current.finalizers.index(FINALIZER)}"
            patch = [
                {"op": "test", "path": "/metadata/uid", "value": stored.uid},
                {"op": "test", "path": path, "value": FINALIZER},
                {"op": "remove", "path": path},
            ]
            try:
                await self._api.patch(_path(stored.key), patch)
            except Missing:
                return
            except Conflict:
                continue
            return
        raise Conflict(f"the finalizers of {stored.key.namespace}/{stored.key.name} do not stand still")

    async def secret_value(self, namespace: str, name: str, key: str) -> str:
        """See ``ports.kubernetes.WorkforceStore``."""
        secret = await self._api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        encoded = (secret.get("data") or {}).get(key)
        if encoded is None:
            raise Missing(f"Secret {namespace}/{name} has no key {key}")
        try:
            return base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Missing(f"Secret {namespace}/{name}, key {key}: not text, so no environment variable") from error

    async def definition_is_going(self) -> bool:
        """See ``ports.kubernetes.WorkforceStore``."""
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURAL}.{GROUP}"
        try:
            definition = await self._api.get(path)
        except OperatorError:
            return False
        return bool(_mapping(definition.get("metadata")).get("deletionTimestamp"))

    async def _keys(self, path: str) -> AsyncIterator[Key]:
        token = ""
        while True:
            more = {"continue": token} if token else {}
            listed = await self._api.get(path, accept=_METADATA_LIST, limit=PAGE, **more)
            for item in listed.get("items") or ():
                yield Key(item["metadata"]["namespace"], item["metadata"]["name"])
            token = _mapping(listed.get("metadata")).get("continue") or ""
            if not token:
                return


def stored_of(document: Mapping[str, Any]) -> StoredWorkforce:
    """The object in the API server's document. A status that cannot be read is a lost one: it is rebuilt."""
    metadata = document["metadata"]
    key = Key(metadata["namespace"], metadata["name"])
    deletion, creation = metadata.get("deletionTimestamp"), metadata.get("creationTimestamp")
    return StoredWorkforce(
        key=key,
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 1)),
        resource_version=metadata["resourceVersion"],
        deletion_time=datetime.fromisoformat(deletion) if deletion else None,
        finalizers=tuple(metadata.get("finalizers") or ()),
        spec=_mapping(document.get("spec")),
        status=_status(key, document.get("status")),
        drain_requested=requested_drains(_mapping(metadata.get("annotations"))),
        creation_time=datetime.fromisoformat(creation) if creation else None,
    )


def _status(key: Key, content: Any) -> WorkforceStatus:
    status, problems = lenient_status(content)
    if problems:
        _log.error(
            "parts of the status cannot be read and are rebuilt from the jobs",
            namespace=key.namespace,
            workforce=key.name,
            why="; ".join(problems),
        )
    return status


def _path(key: Key) -> str:
    return f"{_API}/namespaces/{key.namespace}/{PLURAL}/{key.name}"


@contextmanager
def _still_there(key: Key) -> Iterator[None]:
    """Of an object that was read and is gone the write is late, as if somebody else had written."""
    try:
        yield
    except Missing as error:
        raise Conflict(f"{key.namespace}/{key.name} is gone") from error


def _version(stored: StoredWorkforce) -> dict[str, Any]:
    """A patch that says what version it was made for is refused with a conflict if that is no longer the one."""
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": stored.resource_version}


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
