"""The operator and its workers in a hostile cloud: nobody is hired twice, no task is lost, and the count is reached."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.support.operator import OVER

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SEED = int(os.environ.get("WORKFORCE_TEST_SEED", "7"))
HIRES = {"service": "arm", "method": "PUT", "path": "*/jobs/*"}


def struck(chaos):
    """How often each fault struck."""
    return Counter(each["fault"] for each in chaos.get("chaos/injected")["injected"])


def test_a_hire_of_twelve_in_a_storm_of_429_with_lost_answers_makes_twelve_jobs(bench, chaos):
    """ARM throttling, and azure-core's retries: 429 with Retry-After,
    and answers that are lost after the write was applied.
    """
    chaos.post(
        "chaos",
        {
            "seed": SEED,
            "faults": [
                {"kind": "throttle", "name": "storm", "where": HIRES, "share": 0.5, "times": 5},
                {"kind": "lostResponse", "name": "lost", "where": HIRES, "share": 0.5, "times": 6},
                {"kind": "lostResponse", "name": "late", "where": HIRES, "share": 0.2, "times": 3, "instead": "504"},
                {"kind": "duplicate", "name": "twice", "where": HIRES, "share": 0.2, "times": 3},
            ],
        },
    )
    bench.operator.start()
    bench.apply(bench.workforce(replicas=12, deletionPolicy="Cancel"))
    bench.wait_ready()
    hits = struck(chaos)
    assert hits["storm"] >= 1, hits
    assert hits["lost"] + hits["late"] >= 1, hits
    bench.until(lambda: len(bench.live()) == 12, f"twelve jobs (seed {SEED})")
    assert len(bench.jobs()) == 12, f"seed {SEED}: {hits}"


def test_a_shrink_without_a_steady_bus_or_storage_loses_no_task(bench, chaos, tmp_path):
    """Service Bus AMQP errors, and storage's ServerBusy: connections that are cut,
    and storage that answers 5xx now and then.
    """
    record = tmp_path / "record"
    tasks = 24
    subprocess.run(
        [sys.executable, "-m", "workforce_agent", "push", f"wfdemo/{bench.namespace}-tasks"],
        input="".join(f"sleep 1; echo {number} >> {record}\n" for number in range(tasks)),
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

    chaos.post(
        "chaos",
        {
            "seed": SEED,
            "faults": [
                {"kind": "dropConnections", "name": "cuts", "everySeconds": 2, "lastingSeconds": 10},
                # A session that lost its connection stays locked for five minutes: too long for a test.
                {"kind": "loseLocks", "name": "freed", "afterSeconds": 12},
                {"kind": "error", "name": "busy", "status": 503, "share": 0.2, "where": {"service": "queue"}},
                {"kind": "error", "name": "broken", "status": 500, "share": 0.1, "where": {"service": "queue"}},
            ],
        },
    )
    bench.kubectl("scale", "wf/md", "--replicas=1")
    bench.until(lambda: len(bench.live()) == 1, f"three workers gone (seed {SEED})")
    assert {job["status"] for job in bench.jobs() if job["status"] in OVER} == {"Completed"}
    bench.until(lambda: len(set(record.read_text().split())) == tasks, f"all tasks (seed {SEED})")
    assert len(bench.jobs()) == 4
    hits = struck(chaos)
    assert hits["cuts"] >= 1, hits
    assert hits["busy"] + hits["broken"] >= 1, hits
