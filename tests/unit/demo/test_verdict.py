"""The demonstration's verdict: counted from the tasks' record and ARM's jobs, and strict."""

import pytest

from tests.support.tables import table
from workforce_local.demo.verdict import busy_at, judge, parse_record

RECORD = """\
start 0 w-1 10.0
end 0 w-1 12.0
start 1 w-2 11.0
end 1 w-2 13.5
"""


def job(status, *, started=True):
    times = {"StartTimeUtc": "2026-11-23T10:00:00Z"} if started else {}
    return {"name": "j", "properties": {"status": status, "properties": times}}


def verdict(record=RECORD, jobs=(), enqueued=2, mid_task=2):
    jobs = jobs or [job("Completed"), job("Completed")]
    return judge(enqueued=enqueued, runs=parse_record(record), jobs=jobs, drained_mid_task=mid_task)


def test_a_story_that_kept_the_promise_has_no_faults():
    assert verdict().faults(least_mid_task=2) == []


def test_a_task_without_an_end_is_lost():
    counted = verdict(enqueued=3)
    assert counted.lost == 1
    assert "1 tasks lost" in counted.faults(least_mid_task=2)


def test_a_task_that_ended_twice_is_told_and_does_not_count_as_done_once():
    counted = verdict(RECORD + "start 1 w-3 20.0\nend 1 w-3 22.0\n")
    assert (counted.completed_once, counted.completed_twice, counted.started_twice) == (1, 1, 1)
    assert len(counted.faults(least_mid_task=2)) == 3


def test_a_job_cancelled_after_its_start_is_a_fault_and_a_pending_one_is_not():
    ran = verdict(jobs=[job("Completed"), job("Canceled")])
    never_ran = verdict(jobs=[job("Completed"), job("Canceled", started=False)])
    assert ran.cancelled_while_running == 1
    assert "1 workers cancelled while running" in ran.faults(least_mid_task=2)
    assert never_ran.faults(least_mid_task=2) == []


@table("state", ["Running", "Queued", "Starting", "CancelRequested", "Finalizing", "Whatever"])
def test_a_job_that_has_not_ended_is_left_behind(state):
    assert "1 jobs left behind" in verdict(jobs=[job("Completed"), job(state)]).faults(least_mid_task=2)


def test_a_failed_worker_is_a_fault():
    assert "1 workers failed" in verdict(jobs=[job("Failed")]).faults(least_mid_task=2)


def test_a_story_without_workers_in_the_middle_of_a_task_proves_nothing():
    assert verdict(mid_task=1).faults(least_mid_task=2) == [
        "only 1 of the drained workers were in the middle of a task"
    ]


def test_busy_workers_are_those_between_a_start_and_an_end():
    runs = parse_record(RECORD)
    assert busy_at(runs, 11.5) == {"w-1": {0}, "w-2": {1}}
    assert busy_at(runs, 12.5) == {"w-2": {1}}
    assert busy_at(runs, 14.0) == {}


def test_a_broken_line_in_the_record_stops_the_verdict():
    with pytest.raises(ValueError, match="line 1"):
        parse_record("start 0 w-1\n")
