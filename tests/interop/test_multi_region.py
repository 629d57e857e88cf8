"""The ancestor's `MultiRegionWorkforce.run`, tick by tick, over several regions of the local AzureML."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.interop.conftest import ACCOUNT, ANCESTOR, Ancestor, LocalCloud, OurAgent, unique, wait_until
from tests.interop.test_workforce import settled, statuses

REGIONS = ("northeurope", "swedencentral", "francecentral")
OTHER_REGIONS = ("japaneast", "koreacentral")
"""Nodes that have become idle count as taken until they are given back: each test has fresh ones."""


def regions(*names: str, **more: object) -> list[dict[str, object]]:
    """Workforces of a name of their own, one for each region."""
    fleet = unique("fleet")
    return [{"workspace": f"ws-{name}", "experiment": f"{fleet}-{name}", **more} for name in names]


def together(queue: str) -> dict[str, object]:
    return {"queue": queue, "account": ACCOUNT, "options": {"batched_delay_in_hiring": False}}


def test_ticks_hire_what_the_queue_asks_for_and_the_regions_can_hold(
    ancestor: Ancestor, our_agent: OurAgent, local_cloud: LocalCloud, queue: str
) -> None:
    """ai4s-jobq 3.13.1: the table of targets, the ramp of 10·(1+R), the shares of the regions,
    and what `run` returns.
    """
    fleet = regions(*REGIONS)
    experiments = [str(region["experiment"]) for region in fleet]
    ancestor.jobq(queue, "push", *(word for number in range(21) for word in ("-c", f"echo {number}")))
    call = ancestor.manager(*fleet, **together(queue))

    def running() -> list[int]:
        return [statuses(local_cloud, experiment)["Running"] for experiment in experiments]

    # (21, 0, 1) -> 10; three regions of 4 nodes get 1 + 10 // 3 = 4 each, the last one the rest.
    assert call("all", "run") is True
    wait_until(lambda: running() == [4, 4, 2], "ten jobs")
    # (21, 10, 1) -> 15, but only two nodes are left.
    assert call("all", "run") is False
    wait_until(lambda: running() == [4, 4, 4], "twelve jobs")
    our_agent("clear", f"{ACCOUNT}/{queue}", "--yes")
    # Running jobs are never laid off.
    assert call("all", "run") is False
    assert running() == [4, 4, 4]
    assert call("all", "run", scale_to_zero=True) is True
    for experiment, jobs in zip(experiments, (4, 4, 4), strict=True):
        settled(local_cloud, experiment, Canceled=jobs)
    # A number given by hand is for every region.
    assert call("all", "run", manual_hire=1) is True
    wait_until(lambda: running() == [1, 1, 1], "one job in each region")
    assert call("all", "run", scale_to_zero=True) is True
    wait_until(lambda: running() == [0, 0, 0], "the end of all jobs")


def test_what_it_hires_works_until_the_queue_is_empty(
    ancestor: Ancestor, local_cloud: LocalCloud, queue: str, tmp_path: Path, short_folder: Path
) -> None:
    """ai4s-jobq 3.13.1: a worker on a node is the node's managed identity, and leaves with 0 when nothing is left."""
    words = local_cloud.into_azure(
        ANCESTOR / "bin" / "ai4s-jobq", f"{ACCOUNT}/{queue}", "worker", trust=ancestor.certificates
    )
    environment = {"JOBQ_COPILOT_SKILL": "0", "TMPDIR": str(short_folder)}
    fleet = regions(*OTHER_REGIONS, command=shlex.join(words), environment=environment)
    experiments = [str(region["experiment"]) for region in fleet]
    results = tmp_path / "results"
    results.mkdir()
    # The first tasks wait for each other, so that every worker gets one.
    meet = f"touch {results}/$JOBQ_TASK_ID; until [ $(ls {results} | wc -l) -ge 5 ]; do sleep 0.2; done; : "
    ancestor.jobq(queue, "push", *(word for number in range(11) for word in ("-c", f"{meet}{number}")))
    call = ancestor.manager(*fleet, **together(queue))
    # (11, 0, 1) -> 5: in two regions 1 + 5 // 2 = 3 and the rest.
    assert call("all", "run") is True
    wait_until(lambda: len(list(results.iterdir())) == 11, "all tasks", patience=180)
    settled(local_cloud, experiments[0], Completed=3)
    settled(local_cloud, experiments[1], Completed=2)
    assert ancestor.jobq(queue, "size").strip() == "0"
    assert call("all", "run") is True
    assert sum(sum(statuses(local_cloud, experiment).values()) for experiment in experiments) == 5
