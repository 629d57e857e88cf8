"""The generated definition on the real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes.client import ApiClient, ApiException, CustomObjectsApi
from kubernetes.config import new_client_from_config

from tests.support.kubernetes import Cluster, await_definition, wait_until
from workforce_operator.api.base import GROUP, PLURAL, VERSION
from workforce_operator.api.crd import definition


@dataclass(frozen=True)
class Workforces:
    """The objects of one namespace, with strict field validation as kubectl asks for it."""

    client: ApiClient
    namespace: str

    @property
    def _objects(self) -> CustomObjectsApi:
        return CustomObjectsApi(self.client)

    def create(self, body: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        options = {"dry_run": "All"} if dry_run else {}
        return dict(
            self._objects.create_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, body, field_validation="Strict", **options
            )
        )

    def refusal(self, body: Mapping[str, Any]) -> str:
        """Why the API server refuses an object; empty if it takes it."""
        try:
            self.create(body, dry_run=True)
        except ApiException as error:
            return str(json.loads(error.body)["message"])
        return ""

    def get(self, name: str) -> dict[str, Any]:
        return dict(self._objects.get_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name))

    def patch(self, name: str, patch: Any) -> str:
        """Merge-patch an object; the refusal, or nothing."""
        return self._merge(self._objects.patch_namespaced_custom_object, name, patch)

    def patch_status(self, name: str, status: Mapping[str, Any]) -> str:
        return self._merge(self._objects.patch_namespaced_custom_object_status, name, {"status": status})

    def delete(self, name: str) -> None:
        self._objects.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name)

    def exists(self, name: str) -> bool:
        try:
            self.get(name)
        except ApiException as error:
            if error.status != 404:
                raise
            return False
        return True

    def _merge(self, call: Any, name: str, patch: Any) -> str:
        try:
            call(GROUP, VERSION, self.namespace, PLURAL, name, patch, _content_type="application/merge-patch+json")
        except ApiException as error:
            return str(json.loads(error.body)["message"])
        return ""


@pytest.fixture(scope="session")
def workforce_definition(kubernetes_cluster: Cluster) -> dict[str, Any]:
    """The definition, applied and established."""
    kubernetes_cluster.apply(definition())
    await_definition(kubernetes_cluster.kubectl)
    return definition()


@pytest.fixture
def workforces(
    kubernetes_cluster: Cluster, kubernetes_namespace: str, workforce_definition: dict[str, Any]
) -> Iterator[Workforces]:
    client = new_client_from_config(str(kubernetes_cluster.kubeconfig))
    objects = Workforces(client, kubernetes_namespace)

    def served() -> bool:
        try:
            objects._objects.list_namespaced_custom_object(GROUP, VERSION, kubernetes_namespace, PLURAL)
        except ApiException as error:
            if error.status != 404:
                raise
            return False
        return True

    wait_until(served, "the new resource being served")
    with client:
        yield objects
