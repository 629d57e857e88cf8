"""Metrics are counted, bounded, and valid exposition text; the pulse knows how old a pass is."""

import re
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from workforce_operator.adapters.arm.governor import Kind
from workforce_operator.api.status import Condition, WorkforceStatus
from workforce_operator.edge.metrics import Metrics
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.telemetry import ActionKind, ActionResult, LossCause, PassResult, Pulse, Source

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def families(metrics):
    return {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}


def value(found, family, sample, **labels):
    """One sample of ``families``."""
    (only,) = [s for s in found[family].samples if s.name == sample and s.labels == labels]
    return only.value


def test_passes_and_their_errors_are_counted():
    metrics = Metrics()
    metrics.pass_ended(PassResult.OK, 0.2)
    metrics.pass_ended(PassResult.TIMEOUT, 9.0)
    found = families(metrics)
    name = "workforce_reconcile_duration_seconds"
    assert value(found, name, f"{name}_count", result="ok") == 1
    assert value(found, "workforce_reconcile_errors", "workforce_reconcile_errors_total", result="timeout") == 1


def test_actions_are_counted_by_kind_and_result():
    metrics = Metrics()
    metrics.acted(ActionKind.HIRE, ActionResult.DONE)
    metrics.acted(ActionKind.HIRE, ActionResult.DONE)
    metrics.acted(ActionKind.CANCEL, ActionResult.FAILED)
    found, name, sample = families(metrics), "workforce_actions", "workforce_actions_total"
    assert value(found, name, sample, kind="hire", result="done") == 2
    assert value(found, name, sample, kind="cancel", result="failed") == 1


def test_lost_task_time_is_counted_by_its_cause():
    metrics = Metrics()
    name, sample = "workforce_lost_task_seconds", "workforce_lost_task_seconds_total"
    assert value(families(metrics), name, sample, cause="cancelled") == 0
    metrics.lost(LossCause.RETURNED, 12.5)
    metrics.lost(LossCause.RETURNED, 1.0)
    assert value(families(metrics), name, sample, cause="returned") == 13.5


def test_every_series_exists_before_its_first_event():
    found = families(Metrics())
    assert value(found, "workforce_actions", "workforce_actions_total", kind="order", result="done") == 0
    assert value(found, "workforce_reconcile_errors", "workforce_reconcile_errors_total", result="bug") == 0


def test_what_a_pass_could_not_read_has_a_series_for_every_source_before_its_first_event():
    metrics = Metrics()
    name, sample = "workforce_unread_sources", "workforce_unread_sources_total"
    for source in ("region", "capacity", "queue", "control"):
        assert value(families(metrics), name, sample, source=source) == 0
    metrics.read_failed(Source.CAPACITY)
    assert value(families(metrics), name, sample, source="capacity") == 1


def test_a_watched_gauge_reads_the_live_value():
    metrics, depth = Metrics(), [3]
    metrics.watch("workforce_workqueue_depth", "Keys that wait.", lambda: depth[0])
    assert value(families(metrics), "workforce_workqueue_depth", "workforce_workqueue_depth") == 3
    depth[0] = 5
    assert value(families(metrics), "workforce_workqueue_depth", "workforce_workqueue_depth") == 5


def told(metrics, name="md", **fields):
    status = WorkforceStatus(desired_replicas=5, running_replicas=3, pending_replicas=2, **fields)
    metrics.told(Key("chem", name), status)


def test_each_workforce_has_its_numbers_and_its_conditions():
    metrics = Metrics()
    ready = Condition(
        type="Ready", status="True", observed_generation=1, last_transition_time=NOW, reason="AsDesired", message=""
    )
    told(metrics, queue_length=40, conditions=[ready])
    found, about = families(metrics), {"namespace": "chem", "workforce": "md"}
    assert value(found, "workforce_replicas", "workforce_replicas", **about, state="running") == 3
    assert value(found, "workforce_desired_replicas", "workforce_desired_replicas", **about) == 5
    assert value(found, "workforce_queue_tasks", "workforce_queue_tasks", **about) == 40
    assert value(found, "workforce_condition", "workforce_condition", **about, type="Ready") == 1


def test_a_queue_that_cannot_be_read_has_no_sample_instead_of_a_zero():
    metrics = Metrics()
    told(metrics)
    assert families(metrics)["workforce_queue_tasks"].samples == []


def test_a_workforce_that_is_gone_has_no_numbers():
    metrics = Metrics()
    told(metrics)
    told(metrics, "other")
    metrics.told(Key("chem", "md"), None)
    metrics.told(Key("chem", "nobody"), None)
    assert {s.labels["workforce"] for s in families(metrics)["workforce_replicas"].samples} == {"other"}


def test_every_metric_is_documented_and_nothing_else_is():
    """Those of the process are registered where it is composed; its source names them."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `(workforce_[a-z_]+)`", page, re.MULTILINE))
    composed = (ROOT / "operator" / "workforce_operator" / "compose.py").read_text()
    watched = set(re.findall(r'"(workforce_[a-z_]+)"', composed))
    watched |= {f"workforce_arm_{kind.value}_waiting" for kind in Kind}
    found = {name: each for name, each in families(Metrics()).items() if not name.endswith("_created")}
    counted = {f"{name}_total" if each.type == "counter" else name for name, each in found.items()}
    assert documented == counted | watched


def test_the_pulse_knows_the_oldest_pass_under_way():
    now = [100.0]
    pulse = Pulse(clock=lambda: now[0])
    assert (pulse.oldest_seconds(), pulse.idle_seconds()) == (0.0, None)
    pulse.begin("a")
    now[0] = 110.0
    pulse.begin("b")
    now[0] = 115.0
    assert pulse.oldest_seconds() == 15.0
    assert pulse.end("a") == 15.0
    assert pulse.oldest_seconds() == 5.0
    pulse.end("b")
    now[0] = 120.0
    assert (pulse.oldest_seconds(), pulse.idle_seconds()) == (0.0, 5.0)
