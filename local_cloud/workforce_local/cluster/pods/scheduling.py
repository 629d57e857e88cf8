"""Which Pods belong on this node, and giving them to it.

A scheduler for one node without limits: only the node selector counts; resources, taints and affinity do not.

Invariant: a Pod that does not fit says why in its condition `PodScheduled`, once per reason.
"""

from __future__ import annotations

import logging

from workforce_local.cluster.kube_client import STRATEGIC_MERGE_PATCH, TRANSIENT, ApiError, Json, KubeClient
from workforce_local.cluster.pods.pod import is_over, pod_path
from workforce_local.cluster.pods.status import timestamp

log = logging.getLogger(__name__)


def wants_node(pod: Json) -> bool:
    """Whether the Pod waits for the default scheduler."""
    spec = pod["spec"]
    return not (
        spec.get("nodeName")
        or spec.get("schedulingGates")
        or pod["metadata"].get("deletionTimestamp")
        or is_over(pod)
        or spec.get("schedulerName", "default-scheduler") != "default-scheduler"
    )


def misfit(pod: Json, labels: Json) -> str:
    """Why the Pod cannot run on a node with these labels; empty if it can."""
    wrong = {
        name: value for name, value in (pod["spec"].get("nodeSelector") or {}).items() if labels.get(name) != value
    }
    if not wrong:
        return ""
    pairs = ", ".join(f"{name}={value}" for name, value in sorted(wrong.items()))
    return f"0/1 nodes are available: 1 node(s) didn't match Pod's node selector ({pairs})"


async def bind(client: KubeClient, pod: Json, node: str) -> None:
    """Give the Pod to the node; somebody else may have been faster, or the Pod may be gone."""
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]}, "target": target}
    try:
        await client.create(f"{pod_path(pod)}/binding", body)
    except ApiError as error:
        if error.status not in {404, 409}:
            log.warning("%s: not bound: %s", pod["metadata"]["name"], error)


async def refuse(client: KubeClient, pod: Json, reason: str) -> None:
    """Say why the Pod stays pending, if it does not say so already."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    if any(c["type"] == "PodScheduled" and c.get("message") == reason for c in conditions):
        return
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": reason,
        "lastTransitionTime": timestamp(),
    }
    try:
        body = {"status": {"conditions": [condition]}}
        await client.patch(f"{pod_path(pod)}/status", body, kind=STRATEGIC_MERGE_PATCH)
    except (ApiError, *TRANSIENT) as error:
        log.warning("%s: condition not written: %s", pod["metadata"]["name"], error)
