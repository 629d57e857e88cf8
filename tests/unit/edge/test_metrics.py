"""Metrics are counted, bounded, and valid exposition text; the pulse knows how old a pass is."""

from prometheus_client.parser import text_string_to_metric_families

from workforce_operator.edge.metrics import Metrics
from workforce_operator.reconcile.telemetry import ActionKind, ActionResult, PassResult, Pulse


def families(metrics):
    return {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}


def value(metrics, family, sample, **labels):
    (found,) = [s for s in families(metrics)[family].samples if s.name == sample and s.labels == labels]
    return found.value


def test_passes_and_their_errors_are_counted():
    metrics = Metrics()
    metrics.pass_ended(PassResult.OK, 0.2)
    metrics.pass_ended(PassResult.TIMEOUT, 9.0)
    assert value(metrics, "workforce_reconcile_seconds", "workforce_reconcile_seconds_count", result="ok") == 1
    assert value(metrics, "workforce_reconcile_errors", "workforce_reconcile_errors_total", result="timeout") == 1


def test_actions_are_counted_by_kind_and_result():
    metrics = Metrics()
    metrics.acted(ActionKind.HIRE, ActionResult.DONE)
    metrics.acted(ActionKind.HIRE, ActionResult.DONE)
    metrics.acted(ActionKind.CANCEL, ActionResult.FAILED)
    name, sample = "workforce_actions", "workforce_actions_total"
    assert value(metrics, name, sample, kind="hire", result="done") == 2
    assert value(metrics, name, sample, kind="cancel", result="failed") == 1


def test_every_series_exists_before_its_first_event():
    metrics = Metrics()
    assert value(metrics, "workforce_actions", "workforce_actions_total", kind="order", result="done") == 0
    assert value(metrics, "workforce_reconcile_errors", "workforce_reconcile_errors_total", result="bug") == 0


def test_a_watched_gauge_reads_the_live_value():
    metrics, depth = Metrics(), [3]
    metrics.watch("workforce_queue_depth", "Keys that wait.", lambda: depth[0])
    assert value(metrics, "workforce_queue_depth", "workforce_queue_depth") == 3
    depth[0] = 5
    assert value(metrics, "workforce_queue_depth", "workforce_queue_depth") == 5


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
