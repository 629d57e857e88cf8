"""How long the steps of jobs take on one compute.

Pure: the times come from the configuration, and the same seed draws the same time for the same step of the same job.
Invariant: a span of no width is exactly its number, whatever the seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from workforce_local.azureml.states import Status
from workforce_local.config import LocalConfig, TimingConfig

Step = Literal[
    "not_started", "starting", "provisioning", "preparing", "allocation", "running", "finalizing", "canceling",
    "not_responding",
]  # fmt: skip
STEPS: tuple[Step, ...] = (
    "not_started", "starting", "provisioning", "preparing", "allocation", "running", "finalizing", "canceling",
    "not_responding",
)  # fmt: skip
_OPENING: tuple[tuple[Status, Step], ...] = (
    (Status.NOT_STARTED, "not_started"),
    (Status.STARTING, "starting"),
    (Status.PROVISIONING, "provisioning"),
    (Status.PREPARING, "preparing"),
)
_USUAL = frozenset({Status.STARTING, Status.PREPARING})
"""What a job passes through even if it takes no time."""


@dataclass
class Pace:
    """The times of one compute."""

    timing: TimingConfig = field(default_factory=TimingConfig)
    spans: dict[Step, tuple[float, float]] = field(default_factory=dict)
    seed: str = "0"
    _usual: dict[Step, tuple[float, float]] = field(init=False, repr=False)
    """The spans of steps that the compute has no times of its own for."""

    def __post_init__(self) -> None:
        timing = self.timing
        usual: dict[Step, float] = {
            "not_started": 0.0,
            "starting": timing.starting_seconds,
            "provisioning": 0.0,
            "preparing": timing.preparing_seconds,
            "allocation": timing.node_start_seconds,
            "running": 0.0,
            "finalizing": timing.finalizing_seconds,
            "canceling": timing.canceling_seconds,
            "not_responding": timing.not_responding_seconds,
        }
        self._usual = {step: (seconds, seconds) for step, seconds in usual.items()}

    @classmethod
    def of(cls, config: LocalConfig, workspace: str, compute: str) -> Pace:
        """What a configuration says of a compute."""
        spans: dict[Step, tuple[float, float]] = {}
        for entry in config.scenario.times:
            if entry.matches(workspace, compute):
                spans |= {step: span for step in STEPS if (span := getattr(entry, step)) is not None}
        return cls(config.timing, spans, f"{config.scenario.seed}/{workspace}/{compute}")

    def change(self, spans: Mapping[Step, tuple[float, float]]) -> None:
        """Other times from now on."""
        self.spans |= spans

    def seconds(self, step: Step, key: str = "") -> float:
        """How long a step takes; `key` names the job, or whatever takes it."""
        low, high = self.spans.get(step) or self._usual[step]
        if low == high:
            return low
        # It makes tests repeatable and decides nothing secret.
        return random.Random(f"{self.seed}/{step}/{key}").uniform(low, high)  # noqa: S311

    def running(self, key: str) -> float | None:
        """How long a simulated job runs; None is until somebody ends it."""
        return self.seconds("running", key) if "running" in self.spans else None

    def first(self, job: str) -> Status:
        """The state that a job begins in: the first of its opening."""
        return Status.NOT_STARTED if self.seconds("not_started", job) else Status.STARTING

    def opening(self, job: str) -> list[tuple[Status, float]]:
        """The states of a job before it is queued, and how long it is in each."""
        steps = [(status, self.seconds(step, job)) for status, step in _OPENING]
        return [(status, seconds) for status, seconds in steps if seconds or status in _USUAL]
