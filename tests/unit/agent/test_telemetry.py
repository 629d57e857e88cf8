"""Telemetry beside the worker: nothing of it can stop or delay task work."""

import sys
import threading
import time

from jobq.cloud import load_cloud
from workforce_agent.telemetry import FLUSH_AFTER, Telemetry, dimensions, open_telemetry


class Kept:
    """A pipeline that keeps what it is given."""

    def __init__(self):
        self.names = []
        self.flushed = []
        self.closed = False

    def emit(self, at, event):
        assert abs(at - time.time_ns()) < 60e9
        self.names.append(event["event"])

    def flush(self):
        self.flushed.append(self.names[-1])

    def close(self):
        self.closed = True


def test_events_arrive_in_order_and_the_end_waits_for_them():
    pipeline = Kept()
    telemetry = Telemetry(lambda: pipeline)
    telemetry.start()
    for number in range(100):
        telemetry({"event": f"e{number}"})
    telemetry.close()
    assert pipeline.names == [f"e{number}" for number in range(100)]
    assert pipeline.closed


def test_events_are_kept_while_the_exporter_is_being_imported():
    pipeline, imported = Kept(), threading.Event()

    def open_late():
        imported.wait(30)
        return pipeline

    telemetry = Telemetry(open_late)
    telemetry.start()
    telemetry({"event": "early"})
    imported.set()
    telemetry.close()
    assert pipeline.names == ["early"]


def test_what_is_told_before_the_machine_may_vanish_is_sent_at_once():
    for name in sorted(FLUSH_AFTER):
        pipeline = Kept()
        telemetry = Telemetry(lambda kept=pipeline: kept)
        telemetry({"event": "task_start"})
        telemetry({"event": name})
        telemetry.start()
        telemetry.close()
        assert pipeline.flushed == [name]


def test_an_exporter_that_cannot_be_used_costs_the_telemetry_and_nothing_else():
    def fail():
        raise ValueError("no connection string")

    telemetry = Telemetry(fail)
    telemetry.start()
    telemetry({"event": "lost"})
    telemetry.close()
    assert not telemetry._thread.is_alive()


def test_a_full_queue_drops_events_and_never_blocks():
    telemetry = Telemetry(Kept)
    for _ in range(10_005):
        telemetry({"event": "much"})
    assert telemetry.dropped == 5
    telemetry.close(0.01)


def test_without_the_variable_nothing_of_it_is_imported():
    assert open_telemetry({}, load_cloud(), lambda: None) is None
    assert "workforce_agent.app_insights" not in sys.modules


def test_records_carry_what_the_ancestors_dashboards_ask_for():
    environ = {
        "JOBQ_ENVIRONMENT_NAME": "blue",
        "AZUREML_RUN_ID": "run-1",
        "AZUREML_WORKSPACE_SCOPE": "/subscriptions/s/resourceGroups/g/x",
        "AZUREML_ARM_SUBSCRIPTION": "s",
        "AZUREML_ARM_RESOURCEGROUP": "g",
        "AZUREML_ARM_WORKSPACE_NAME": "w",
        "AZUREML_ARM_PROJECT_NAME": "p",
    }
    assert dimensions(environ) == {
        "environment": "blue",
        "azureml_workspace_name": "w",
        "azureml_run_id": "run-1",
        "azureml_subscription_id": "s",
        "azureml_resource_group": "g",
        "azureml_project_name": "p",
        "azureml_url": "https://ml.azure.com/runs/run-1?wsid=/subscriptions/s/resourceGroups/g/x",
        "job_url": "https://ml.azure.com/runs/run-1?wsid=/subscriptions/s/resourcegroups/g/workspaces/w",
    }
    elsewhere = dimensions({"AZUREML_JOB_URL": "https://jobs/1"})
    assert elsewhere == {"environment": "", "azureml_workspace_name": "", "job_url": "https://jobs/1"}
