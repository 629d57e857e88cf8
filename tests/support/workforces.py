"""Workforce objects as a person would write them, for tests."""

from __future__ import annotations

import copy
from typing import Any

REGION: dict[str, Any] = {
    "subscriptionId": "00000000-0000-0000-0000-000000000001",
    "resourceGroup": "rg",
    "workspace": "ws",
    "compute": "cpu",
    "maxReplicas": 10,
}

CONTROL: dict[str, Any] = {
    "serviceBus": {"subscriptionId": "00000000-0000-0000-0000-000000000001", "resourceGroup": "rg", "namespace": "bus"}
}

IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u"
"""ARM id of an identity."""


def spec(**changes: Any) -> dict[str, Any]:
    """A small valid spec with control channel; ``None`` as a value removes the key."""
    base: dict[str, Any] = {
        "replicas": 2,
        "queue": {"type": "Storage", "storage": {"account": "account", "name": "tasks"}},
        "regions": [region("one"), region("two")],
        "template": {"environment": {"type": "Image", "image": "worker:1"}},
        "control": copy.deepcopy(CONTROL),
    }
    return {key: value for key, value in (base | changes).items() if value is not None}


def region(name: str, **changes: Any) -> dict[str, Any]:
    """A valid region; ``None`` as a value removes the key."""
    return {key: value for key, value in ({"name": name} | REGION | changes).items() if value is not None}


def template(**changes: Any) -> dict[str, Any]:
    """A valid template."""
    return {"environment": {"type": "Image", "image": "worker:1"}} | changes


def workforce(name: str = "wf", **changes: Any) -> dict[str, Any]:
    """A valid object."""
    return {
        "apiVersion": "workforce.dev/v1alpha1",
        "kind": "Workforce",
        "metadata": {"name": name},
        "spec": spec(**changes),
    }
