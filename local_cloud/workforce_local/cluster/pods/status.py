"""The status of a Pod, from what its containers are doing.

Pure: state in, the API's `status` out. It is level-based: the whole status is built anew each time.

Invariant: a condition's transition time changes only with its status, and conditions of others are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from workforce_local.cluster.kube_client import Json
from workforce_local.cluster.pods.environment import PodFacts


@dataclass(frozen=True)
class Waiting:
    """Not running, and why."""

    reason: str = "PodInitializing"
    message: str = ""


@dataclass(frozen=True)
class Running:
    """Running since."""

    since: str


@dataclass(frozen=True)
class Terminated:
    """Ended."""

    exit_code: int
    reason: str
    started: str
    finished: str
    message: str = ""


@dataclass
class ContainerState:
    """What one container is doing."""

    name: str
    image: str = ""
    state: Waiting | Running | Terminated = field(default_factory=Waiting)
    last: Terminated | None = None
    restarts: int = 0
    started: bool = False
    """It runs, and its startup probe has succeeded."""
    ready: bool = False
    over: bool = False
    """It has ended and will not be started again."""

    @property
    def succeeded(self) -> bool:
        """It is over, with exit code 0: so init containers count as ready."""
        return self.over and isinstance(self.state, Terminated) and self.state.exit_code == 0

    def as_json(self) -> Json:
        """The API's container status."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": _state(self.state),
            "lastState": _state(self.last) if self.last else {},
        }


def _state(state: Waiting | Running | Terminated) -> Json:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        case Running(since):
            return {"running": {"startedAt": since}}
        case Terminated():
            return {
                "terminated": {
                    "exitCode": state.exit_code,
                    "reason": state.reason,
                    "startedAt": state.started,
                    "finishedAt": state.finished,
                    **({"message": state.message} if state.message else {}),
                }
            }


def timestamp(moment: datetime | None = None) -> str:
    """A moment as the API writes it, by default now."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


Phase = Literal["Pending", "Running", "Succeeded", "Failed"]


def phase(containers: Sequence[ContainerState], init_containers: Sequence[ContainerState]) -> Phase:
    """The Pod's phase."""
    if containers and all(c.over for c in containers):
        codes = [c.state.exit_code for c in containers if isinstance(c.state, Terminated)]
        return "Failed" if any(codes) else "Succeeded"
    # Asked second: a side-car is ended by us when the others are over, and how it took that says nothing.
    if any(c.over and isinstance(c.state, Terminated) and c.state.exit_code for c in init_containers):
        return "Failed"
    seen = any(c.restarts or c.last or not isinstance(c.state, Waiting) for c in containers)
    return "Running" if seen else "Pending"


def build_status(
    pod: Json,
    *,
    facts: PodFacts,
    containers: Sequence[ContainerState],
    init_containers: Sequence[ContainerState],
    initialized: bool,
    old: Mapping[str, Json],
    start_time: str,
    now: str,
) -> Json:
    """The status to write; `old` are the conditions of the last one by type."""
    current = phase(containers, init_containers)
    over = current in {"Succeeded", "Failed"}
    unready = [c.name for c in containers if not c.ready]
    all_ready = not unready and not over
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []]
    closed = [gate for gate in gates if old.get(gate, {}).get("status") != "True"]
    why = ("PodCompleted", "") if over else ("ContainersNotReady", f"containers with unready status: {unready}")
    ready_why = why if not all_ready else ("ReadinessGatesNotReady", f"readiness gates not open: {closed}")
    verdicts = {
        "PodReadyToStartContainers": (not over, "", ""),
        "Initialized": (initialized, "" if initialized else "ContainersNotInitialized", ""),
        "ContainersReady": (all_ready, *(("", "") if all_ready else why)),
        "Ready": (all_ready and not closed, *(("", "") if all_ready and not closed else ready_why)),
        "PodScheduled": (True, "", ""),
    }
    return {
        "phase": current,
        "conditions": _conditions(verdicts, old, now),
        "hostIP": facts.node_address,
        "hostIPs": [{"ip": facts.node_address}],
        "podIP": facts.address,
        "podIPs": [{"ip": facts.address}],
        "startTime": start_time,
        "initContainerStatuses": [{**c.as_json(), "ready": c.ready or c.succeeded} for c in init_containers],
        "containerStatuses": [c.as_json() for c in containers],
        "observedGeneration": pod["metadata"].get("generation"),
    }


def _conditions(verdicts: Mapping[str, tuple[bool, str, str]], old: Mapping[str, Json], now: str) -> list[Json]:
    result = [condition for kind, condition in old.items() if kind not in verdicts]
    for kind, (value, reason, message) in verdicts.items():
        status = "True" if value else "False"
        before = old.get(kind, {})
        since = before.get("lastTransitionTime") if before.get("status") == status else None
        result.append(
            {
                "type": kind,
                "status": status,
                "lastTransitionTime": since or now,
                **({"reason": reason} if reason else {}),
                **({"message": message} if message else {}),
            }
        )
    return result
