"""Prometheus metrics of the operator process, in a registry of their own.

Counters and histograms are told by the loop (`Telemetry`); gauges read the live objects when they are scraped. Labels
are bounded by enumerations, but for the few gauges of each Workforce: those grow with the number of Workforces, and
nothing grows with regions or jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from typing_extensions import override

from jobq.version import __version__
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.telemetry import ActionKind, ActionResult, LossCause, PassResult, Source

CONTENT_TYPE = CONTENT_TYPE_LATEST
PASS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """All metrics of the process; an implementation of `reconcile.telemetry.Telemetry`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._fleet = _Fleet()
        self.registry.register(self._fleet)
        info = self._gauge("workforce_operator_info", "Version of the operator; always 1.", "version")
        info.labels(__version__).set(1)
        self._passes = Histogram(
            "workforce_reconcile_duration_seconds",
            "Duration of passes over one Workforce.",
            ["result"],
            buckets=PASS_BUCKETS,
            registry=self.registry,
        )
        self._errors = self._counter("workforce_reconcile_errors", "Passes that did not end well.", "result")
        self._unread = self._counter("workforce_unread_sources", "Readings that were not possible.", "source")
        self._actions = self._counter("workforce_actions", "Actions of plans by kind and result.", "kind", "result")
        self._lost = self._counter(
            "workforce_lost_task_seconds", "Time that tasks had run which did not complete, by shrinking.", "cause"
        )
        # Every series exists from the start: a rate over a counter that appears at 1 misses its first event.
        for result in PassResult:
            self._passes.labels(result.value)
            if result not in {PassResult.OK, PassResult.GONE}:
                self._errors.labels(result.value)
        for kind in ActionKind:
            for action_result in ActionResult:
                self._actions.labels(kind.value, action_result.value)
        for cause in LossCause:
            self._lost.labels(cause.value)
        for source in Source:
            self._unread.labels(source.value)

    def pass_ended(self, result: PassResult, seconds: float) -> None:
        """See `Telemetry`."""
        self._passes.labels(result.value).observe(seconds)
        if result not in {PassResult.OK, PassResult.GONE}:
            self._errors.labels(result.value).inc()

    def read_failed(self, source: Source) -> None:
        """See `Telemetry`."""
        self._unread.labels(source.value).inc()

    def acted(self, kind: ActionKind, result: ActionResult) -> None:
        """See `Telemetry`."""
        self._actions.labels(kind.value, result.value).inc()

    def told(self, key: Key, status: WorkforceStatus | None) -> None:
        """See `Telemetry`."""
        if status is None:
            self._fleet.statuses.pop(key, None)
        else:
            self._fleet.statuses[key] = status

    def lost(self, cause: LossCause, seconds: float) -> None:
        """See `Telemetry`."""
        self._lost.labels(cause.value).inc(seconds)

    def watch(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """A gauge without labels that calls ``read`` at each scrape."""
        Gauge(name, help_text, registry=self.registry).set_function(read)

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        """A further counter in this registry."""
        return self._counter(name, help_text, *labels)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str, **options: Any) -> Gauge:
        return Gauge(name, help_text, labels, registry=self.registry, **options)


class _Fleet(Collector):
    """Gauges of every Workforce, from the status that its last pass told."""

    def __init__(self) -> None:
        self.statuses: dict[Key, WorkforceStatus] = {}

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family per number; what is not known has no sample."""
        names = ["namespace", "workforce"]
        replicas = GaugeMetricFamily(
            "workforce_replicas", "Worker jobs of a Workforce by what they are counted as.", labels=[*names, "state"]
        )
        desired = GaugeMetricFamily("workforce_desired_replicas", "Worker jobs wanted.", labels=names)
        tasks = GaugeMetricFamily("workforce_queue_tasks", "Tasks in the queue, where it can be read.", labels=names)
        condition = GaugeMetricFamily(
            "workforce_condition", "1 if the condition is True, 0 if it is not.", labels=[*names, "type"]
        )
        for key, status in list(self.statuses.items()):
            for state, number in _replicas(status).items():
                replicas.add_metric([*key, state], number)
            desired.add_metric(list(key), status.desired_replicas)
            if status.queue_length is not None:
                tasks.add_metric(list(key), status.queue_length)
            for each in status.conditions:
                condition.add_metric([*key, each.type], each.status == "True")
        yield from (replicas, desired, tasks, condition)


def _replicas(status: WorkforceStatus) -> dict[str, int]:
    return {
        "pending": status.pending_replicas,
        "running": status.running_replicas,
        "paused": status.paused_replicas,
        "draining": status.draining_replicas,
    }
