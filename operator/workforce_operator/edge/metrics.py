"""Prometheus metrics of the operator process, in a registry of their own.

Counters and histograms are told by the loop (`Telemetry`); gauges read the live objects when they are scraped. Labels
are bounded by enumerations: nothing here grows with the number of Workforces, regions or jobs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from jobq.version import __version__
from workforce_operator.reconcile.telemetry import ActionKind, ActionResult, PassResult

CONTENT_TYPE = CONTENT_TYPE_LATEST
PASS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """All metrics of the process; an implementation of `reconcile.telemetry.Telemetry`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        info = self._gauge("workforce_operator_info", "Version of the operator; always 1.", "version")
        info.labels(__version__).set(1)
        self._passes = Histogram(
            "workforce_reconcile_seconds",
            "Duration of passes over one Workforce.",
            ["result"],
            buckets=PASS_BUCKETS,
            registry=self.registry,
        )
        self._errors = self._counter("workforce_reconcile_errors", "Passes that did not end well.", "result")
        self._unread = self._counter("workforce_unread_sources", "Readings that were not possible.", "source")
        self._actions = self._counter("workforce_actions", "Actions of plans by kind and result.", "kind", "result")
        # Every series exists from the start: a rate over a counter that appears at 1 misses its first event.
        for result in PassResult:
            self._passes.labels(result.value)
            if result not in {PassResult.OK, PassResult.GONE}:
                self._errors.labels(result.value)
        for kind in ActionKind:
            for action_result in ActionResult:
                self._actions.labels(kind.value, action_result.value)
        for source in ("region", "queue", "control"):
            self._unread.labels(source)

    def pass_ended(self, result: PassResult, seconds: float) -> None:
        """See `Telemetry`."""
        self._passes.labels(result.value).observe(seconds)
        if result not in {PassResult.OK, PassResult.GONE}:
            self._errors.labels(result.value).inc()

    def read_failed(self, source: str) -> None:
        """See `Telemetry`."""
        self._unread.labels(source).inc()

    def acted(self, kind: ActionKind, result: ActionResult) -> None:
        """See `Telemetry`."""
        self._actions.labels(kind.value, result.value).inc()

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
