"""Shrinking with a control channel: workers are told to leave, finish their tasks, and nobody else is told."""

import subprocess
import sys

import pytest

from tests.support.operator import OVER

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def drained(bench):
    """Sequences in the ledger's waves, by region and state."""
    return {
        (region["name"], wave["state"], number)
        for region in bench.status().get("regions", [])
        for wave in region.get("drains", [])
        for jobs in wave["jobs"]
        for number in range(jobs["first"], jobs["last"] + 1)
    }


def test_a_restart_in_the_middle_of_a_shrink_drains_nobody_else_and_growth_takes_drains_back(bench):
    """The jobs only sleep: they never leave, so that what was ordered stays to be seen."""
    bench.operator.start()
    bench.apply(bench.workforce(replicas=6, control=bench.control(), deletionPolicy="Cancel"))
    bench.until(lambda: len(bench.running()) == 6, "six running jobs")
    bench.until(lambda: bench.condition("ControlChannelReady")[0] == "True", "the control channel")

    bench.kubectl("scale", "wf/md", "--replicas=2")
    chosen = bench.until(lambda: drained(bench), "a drain in the ledger")
    assert len(chosen) == 4
    bench.operator.kill()
    bench.operator.start()
    bench.until(lambda: len(bench.operator.said("told to leave")) >= 4, "the orders")
    bench.until(lambda: bench.condition("Draining")[0] == "True", "that it is told")
    assert drained(bench) == chosen
    assert len(bench.running()) == 6

    bench.kubectl("scale", "wf/md", "--replicas=5")
    bench.until(lambda: len(bench.operator.said("told to stay")) >= 3, "three drains taken back")
    sent = {each for each in drained(bench) if each[1] == "Sent"}
    assert len(sent) == 1
    assert len(bench.jobs()) == 6
    bench.kubectl("delete", "wf/md", "--timeout=60s")
    bench.until(lambda: all(job["status"] in OVER for job in bench.jobs()), "the end of all jobs")


def test_real_workers_finish_their_tasks_and_leave(bench, tmp_path):
    record = tmp_path / "record"
    queue = f"wfdemo/{bench.namespace}-tasks"
    lines = "".join(f"sleep 1; echo {number} >> {record}\n" for number in range(20))
    subprocess.run(
        [sys.executable, "-m", "workforce_agent", "push", queue],
        input=lines,
        env={**bench.operator.environment, "PATH": "/usr/bin:/bin"},
        text=True,
        check=True,
        timeout=60,
    )
    bench.operator.start()
    template = {"slots": 2, "environment": {"type": "Image", "image": "worker:1"}}
    bench.apply(bench.workforce(replicas=4, control=bench.control(), template=template))
    bench.until(lambda: len(bench.running()) == 4, "four running workers")
    bench.until(record.exists, "the first task that was completed")

    bench.kubectl("scale", "wf/md", "--replicas=1")
    bench.until(lambda: len(bench.live()) == 1, "three workers gone")
    gone = [job for job in bench.jobs() if job["status"] in OVER]
    assert {job["status"] for job in gone} == {"Completed"}
    bench.until(lambda: len(record.read_text().splitlines()) == 20, "all tasks")
    assert sorted(map(int, record.read_text().split())) == list(range(20))

    bench.kubectl("delete", "wf/md", "--timeout=90s")
    assert {job["status"] for job in bench.jobs()} == {"Completed"}
    assert len(bench.jobs()) == 4
