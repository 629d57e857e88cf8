"""Capacity of clusters over ARM: one GET of the compute. See ``ports.azure.Capacity`` for the contract.

Read straight from the document: azure-ai-ml's own entity drops the node counts. A field that is missing or strange
makes the capacity unknown, never zero and never endless.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from workforce_operator.adapters.arm.client import ArmClient
from workforce_operator.adapters.azureml.worker_jobs import API_VERSION, workspace_path
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.errors import Unavailable
from workforce_operator.ports.azure import Workplace

_CLUSTER = "AmlCompute"
_QUOTA = "quota"


class ArmCapacity:
    """The port over one ARM pipeline."""

    def __init__(self, arm: ArmClient) -> None:
        self._arm = arm

    async def read(self, place: Workplace) -> ClusterCapacity | None:
        """See ``ports.azure.Capacity``."""
        compute = place.coordinates.compute
        if compute.startswith("/"):
            # A virtual cluster: its nodes are not counted in any answer that is on record.
            return None
        what = f"read compute {compute}"
        path = f"{workspace_path(place)}/computes/{quote(compute, safe='')}"
        reply = await self._arm.get(path, api_version=API_VERSION, what=what, turn=place.owner)
        return capacity_of(reply.body, what)


def capacity_of(document: Any, what: str) -> ClusterCapacity | None:
    """The capacity in a compute's document; None for a compute that is no cluster.

    Raises:
        Unavailable: It is a cluster, and its counts are not there.
    """
    outer = _mapping(_mapping(document).get("properties"))
    if outer.get("computeType", _CLUSTER) != _CLUSTER:
        return None
    inner = _mapping(outer.get("properties"))
    states = _mapping(inner.get("nodeStateCounts"))
    most = _count(_mapping(inner.get("scaleSettings")).get("maxNodeCount"))
    current, target = _count(inner.get("currentNodeCount")), _count(inner.get("targetNodeCount"))
    running, idle = _count(states.get("runningNodeCount")), _count(states.get("idleNodeCount"))
    if most is None or current is None or target is None or running is None or idle is None:
        raise Unavailable(f"{what}: the answer does not tell its nodes")
    quota = any(_QUOTA in code.lower() for code in _codes(inner.get("errors")))
    return ClusterCapacity(most=most, target=max(current, target), running=running, idle=idle, quota=quota)


def _codes(errors: Any) -> list[str]:
    found = [_mapping(each) for each in errors] if isinstance(errors, list) else []
    return [str(_mapping(each.get("error")).get("code") or each.get("code") or "") for each in found]


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
