"""Shrinking with a control channel: workers are told to leave, finish their tasks, and nobody else is told."""

import json
import time
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.operator import OTHER_BUS, OVER

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


def lost_seconds(bench):
    """What shrinking has cost so far, by cause."""
    families = text_string_to_metric_families(bench.operator.fetch("/metrics"))
    (found,) = [family for family in families if family.name == "workforce_lost_task_seconds"]
    return {each.labels["cause"]: each.value for each in found.samples if each.name.endswith("_total")}


WORKER = {"slots": 2, "environment": {"type": "Image", "image": "worker:1"}}


def test_real_workers_that_checkpoint_return_their_tasks_which_run_once_more_to_their_end(bench, tmp_path):
    """Tasks have no retries: one whose return had counted as an attempt would be in the dead letters."""
    started, record = tmp_path / "started", tmp_path / "record"
    task = "trap 'exit 7' TERM; echo {0} >> {1}; sleep {2} & wait $! && echo {0} >> {3}\n"
    bench.push(task.format(number, started, 15, record) for number in range(6))
    bench.operator.start()
    drain = {"mode": "Checkpoint"}
    bench.apply(bench.workforce(replicas=3, control=bench.control(), template=WORKER, drain=drain))
    bench.until(lambda: started.exists() and len(started.read_text().split()) == 6, "six tasks that run")

    bench.kubectl("scale", "wf/md", "--replicas=1")
    bench.until(lambda: len(bench.live()) == 1, "two workers gone")
    assert not record.exists() or len(record.read_text().split()) < 6, "they were to leave before their tasks' end"
    gone = [job for job in bench.jobs() if job["status"] in OVER]
    assert {job["status"] for job in gone} == {"Completed"}
    bench.until(lambda: lost_seconds(bench)["returned"] > 0, "that the lost time is counted")
    assert lost_seconds(bench)["cancelled"] == 0
    bench.until(lambda: record.exists() and len(record.read_text().split()) == 6, "all tasks", patience=120)
    assert sorted(map(int, record.read_text().split())) == list(range(6))
    assert len(started.read_text().split()) == 10
    assert bench.agent("failed", "list", f"wfdemo/{bench.namespace}-tasks", "--json").strip() == ""


def test_workers_that_are_cancelled_at_work_cost_what_their_tasks_had_run(bench, tmp_path):
    started = tmp_path / "started"
    bench.push(f"trap '' TERM; echo {number} >> {started}; sleep 600\n" for number in range(2))
    bench.operator.start()
    bench.apply(bench.workforce(replicas=1, control=bench.control(), template=WORKER, deletionPolicy="Cancel"))
    bench.until(lambda: started.exists() and len(started.read_text().split()) == 2, "two tasks that run")
    bench.until(lambda: bench.condition("ControlChannelReady")[0] == "True", "the control channel")
    # A worker says within half a minute that it has become busy.
    bench.until(lambda: time.time() - started.stat().st_mtime > 35, "the worker's report")
    bench.kubectl("delete", "wf/md", "--timeout=60s")
    bench.until(lambda: lost_seconds(bench)["cancelled"] > 0, "that the lost time is counted")


def test_real_workers_finish_their_tasks_and_leave(bench, tmp_path):
    record = tmp_path / "record"
    bench.push(f"sleep 1; echo {number} >> {record}\n" for number in range(20))
    bench.operator.start()
    bench.apply(bench.workforce(replicas=4, control=bench.control(), template=WORKER))
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
    assert lost_seconds(bench) == {"returned": 0, "cancelled": 0}


def test_regions_are_shrunk_over_the_namespaces_that_their_workers_listen_in(bench, tmp_path):
    record = tmp_path / "record"
    bench.push(f"sleep 1; echo {number} >> {record}\n" for number in range(16))
    bench.operator.start()
    regions = [bench.region("uksouth"), bench.region("westeurope", control=bench.control(OTHER_BUS))]
    placement = {"strategy": "Spread"}
    bench.apply(
        bench.workforce(replicas=4, control=bench.control(), regions=regions, placement=placement, template=WORKER)
    )
    bench.until(lambda: len(bench.running()) == 4, "four running workers")
    bench.until(record.exists, "the first task that was completed")
    heard = Counter(job["environment"]["WORKFORCE_BACK_CHANNEL_FULLY_QUALIFIED_NAMESPACE"] for job in bench.jobs())
    assert heard == {f"{namespace}.servicebus.windows.net": 2 for namespace in ("wf-bus", OTHER_BUS)}

    moved = [bench.region(region["name"], control=bench.control(OTHER_BUS)) for region in regions]
    patch = json.dumps({"spec": {"regions": moved}})
    refused = bench.kubectl("patch", "wf", "md", "--type=merge", "-p", patch, check=False)
    assert "`spec.regions[].control` must not change while the region's worker jobs live" in refused

    bench.kubectl("scale", "wf/md", "--replicas=0")
    bench.until(lambda: not bench.live(), "all four gone", patience=120)
    assert {job["status"] for job in bench.jobs()} == {"Completed"}
    assert {line["region"] for line in bench.operator.said("told to leave")} == {"uksouth", "westeurope"}
    bench.until(lambda: bench.condition("Draining")[0] == "False", "that nobody is leaving any more")
    assert lost_seconds(bench) == {"returned": 0, "cancelled": 0}
