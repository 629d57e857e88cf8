"""Metrics for Prometheus, on a port of the worker's own. Imported only where one is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import HTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from workforce_agent.events import TASK_ENDS
from workforce_agent.sample import Sample

BUCKETS = (0.1, 1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600)
"""Seconds; tasks take anything from milliseconds to days."""


class PrometheusMetrics:
    """Serves metrics, and counts events as a sink of the log.

    Args:
        sample: Says what the worker is doing; None while there is no worker.
    """

    def __init__(self, sample: Callable[[], Sample | None]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Worker(sample))
        self._events = Counter(
            "workforce_agent_events", "Events of the log, such as control_unavailable.", ["event"],
            registry=self.registry,
        )  # fmt: skip
        self._durations = Histogram(
            "workforce_agent_task_duration_seconds", "How long runs of tasks took.", ["event"],
            buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._served: tuple[HTTPServer, threading.Thread] | None = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take an event of the log."""
        name = str(event.get("event", ""))
        self._events.labels(name).inc()
        if name in TASK_ENDS:
            self._durations.labels(name).observe(float(event.get("duration_s") or 0.0))

    def serve(self, port: int) -> None:
        """Answer on a port of all interfaces, from a thread.

        Raises:
            OSError: The port is in use, or not ours to use.
        """
        self._served = start_http_server(port, registry=self.registry)

    def close(self) -> None:
        """Stop answering."""
        if self._served is not None:
            server, thread = self._served
            server.shutdown()
            server.server_close()
            thread.join()


class _Worker(Collector):
    """What the worker says of itself when it is asked."""

    def __init__(self, sample: Callable[[], Sample | None]) -> None:
        self._sample = sample

    @override
    def collect(self) -> Iterable[Metric]:
        now = self._sample()
        if now is None:
            return
        tasks = CounterMetricFamily("workforce_agent_tasks", "Messages, by how they ended.", labels=["outcome"])
        for outcome, count in now.outcomes.items():
            tasks.add_metric([outcome], count)
        yield tasks
        yield GaugeMetricFamily("workforce_agent_slots", "Tasks that may run at a time.", value=now.slots)
        yield GaugeMetricFamily("workforce_agent_slots_busy", "Tasks that run.", value=now.busy)
        yield GaugeMetricFamily("workforce_agent_accepting", "Whether it takes new tasks.", value=int(now.accepting))
        if now.queue_size is not None:
            yield GaugeMetricFamily("workforce_agent_queue_messages", "Messages of the queue.", value=now.queue_size)
        mode = GaugeMetricFamily("workforce_agent_mode", "What it is up to: 1 for the one mode.", labels=["mode"])
        mode.add_metric([now.mode], 1)
        yield mode
