"""How long the planner thinks: 200 regions, 50,000 jobs, at rest and when it lays off a tenth. Printed, never asserted.

    python bench/operator/planning.py [--regions N] [--jobs N]

The planner is a pure function, so nothing is started: the jobs are what the planner itself asked to hire. Each number
is the median of several calls on the same snapshot; half of the fleet beside it shows whether the time is linear.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from jobq.control import State
from workforce_operator.api.spec import WorkforceSpec
from workforce_operator.compose import COLLECT
from workforce_operator.domain.actions import Hire, Plan
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import Job, Known, LastReport, Observed, QueueDepth, RegionJobs
from workforce_operator.domain.plan import plan

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALLS = 7
GUID = "00000000-0000-4000-8000-000000000001"
GOAL_REST, GOAL_SHRINK = 50.0, 100.0


def desired(regions: int, replicas: int) -> Desired:
    """A Workforce with a control channel, and room for all replicas in every region."""
    document: dict[str, Any] = {
        "replicas": replicas,
        "queue": {"type": "Storage", "storage": {"account": "account", "name": "tasks"}},
        "regions": [
            {"name": f"region{number}", "subscriptionId": GUID, "resourceGroup": "group", "workspace": f"ws{number}",
             "compute": "cluster", "maxReplicas": replicas}
            for number in range(regions)
        ],
        "template": {"environment": {"type": "Image", "image": "worker:1"}},
        "control": {"serviceBus": {"subscriptionId": GUID, "resourceGroup": "group", "namespace": "bus"}},
    }  # fmt: skip
    return Desired("ns", "wf", "k3v9x2ab", 1, WorkforceSpec.model_validate(document))


def observed(jobs: Mapping[str, list[Job]]) -> Observed:
    """Everything could be read; every second worker has said that it is busy."""
    listed = [job for region in jobs.values() for job in region]
    reports = {
        job.name: LastReport.of(
            State(job=job.name, time=NOW, busy_slots=1, completed=3, failed=0, accepting=True, oldest_task_start=NOW)
        )
        for job in listed[::2]
    }
    return Observed(
        now=NOW + timedelta(hours=1),
        regions={name: Known(RegionJobs(jobs=tuple(region)), NOW) for name, region in jobs.items()},
        queue=Known(QueueDepth(100_000, has_visible=True), NOW),
        control=Known(value=True, at=NOW),
        reports=reports,
    )


def settled(want: Desired) -> tuple[Observed, Ledger]:
    """The world after everybody was hired and runs, and the ledger that goes with it."""
    jobs: dict[str, list[Job]] = {region.name: [] for region in want.spec.regions}
    ledger = Ledger()
    for _ in range(10):
        made = plan(want, observed(jobs), ledger)
        ledger = made.ledger
        hires = [action for action in made.actions if isinstance(action, Hire)]
        for hire in hires:
            jobs[hire.region].append(
                Job(hire.job, hire.sequence, "Running", "v1:x", created=NOW, started=NOW + timedelta(minutes=1))
            )
        if not hires and not made.actions and made.ledger == plan(want, observed(jobs), ledger).ledger:
            break
    return observed(jobs), ledger


def timed(want: Desired, world: Observed, ledger: Ledger) -> tuple[float, Plan]:
    """Median CPU time of a call in milliseconds, and its plan: other programs of the machine do not count."""
    times, made = [], plan(want, world, ledger)
    gc.collect()
    for _ in range(CALLS):
        began = time.process_time()
        made = plan(want, world, ledger)
        times.append(1000 * (time.process_time() - began))
    return statistics.median(times), made


def measure(regions: int, jobs: int) -> tuple[float, float]:
    """Times at rest and when a tenth leaves, in milliseconds."""
    want = desired(regions, jobs)
    world, ledger = settled(want)
    rest, made = timed(want, world, ledger)
    assert not made.actions, "a settled fleet is left alone"
    fewer = desired(regions, jobs - jobs // 10)
    shrink, made = timed(fewer, world, ledger)
    assert len(made.actions) == jobs // 10, f"{len(made.actions)} of {jobs // 10} are told to leave"
    return rest, shrink


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=50_000)
    options = parser.parse_args()
    # As in the operator's process.
    gc.freeze()
    gc.set_threshold(*COLLECT)
    print(f"{'plan()':<34}{'ms':>8}{'goal':>8}{'half of it':>12}{'ratio':>8}")
    half = measure(options.regions // 2, options.jobs // 2)
    full = measure(options.regions, options.jobs)
    size = f"{options.regions} regions, {options.jobs} jobs"
    for what, ours, small, goal in (
        (f"{size}, at rest", full[0], half[0], GOAL_REST),
        (f"{size}, -10 %", full[1], half[1], GOAL_SHRINK),
    ):
        print(f"{what:<34}{ours:>8.1f}{goal:>8.0f}{small:>12.1f}{ours / small:>8.2f}")


if __name__ == "__main__":
    main()
