"""Events as telemetry of Application Insights, by OpenTelemetry and the exporter of Azure Monitor.

Every event of the log is a trace there; the end of a task's run is a request too, with its duration; and there are
metrics of how much is done. Imported only where telemetry is wanted, in a thread: it costs tens of megabytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from azure.monitor.opentelemetry.exporter import (
    AzureMonitorLogExporter,
    AzureMonitorMetricExporter,
    AzureMonitorTraceExporter,
)
from opentelemetry._logs import SeverityNumber
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from jobq.version import __version__
from workforce_agent.events import TASK_ENDS
from workforce_agent.sample import Sample

ROLE = "workforce-agent"
FLUSH_MILLISECONDS = 5000
_FAILED = frozenset({"task_failure", "task_lock_lost"})
_SEVERITY = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
_NOT_FIELDS = frozenset({"level", "timestamp"})


class AppInsights:
    """Sends to one resource of Application Insights.

    Args:
        connection_string: Of the resource.
        dimensions: What every record carries.
        sample: Says what the worker is doing; None while there is no worker.
        trust: PEM file of authorities to trust instead of the public ones.

    Raises:
        ValueError: The connection string is none.
    """

    def __init__(
        self,
        connection_string: str,
        dimensions: Mapping[str, str],
        sample: Callable[[], Sample | None],
        *,
        trust: str | None = None,
    ) -> None:
        options: dict[str, Any] = {"connection_string": connection_string, "disable_offline_storage": True}
        if trust is not None:
            options["connection_verify"] = trust
        self._dimensions = {name: value for name, value in dimensions.items() if value}
        self._sample = sample
        instance = dimensions.get("azureml_run_id") or os.uname().nodename
        resource = Resource(
            {"service.name": ROLE, "service.version": __version__, "service.instance.id": f"{instance}/{os.getpid()}"}
        )
        self._logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(AzureMonitorLogExporter(**options)))
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._traces.add_span_processor(BatchSpanProcessor(AzureMonitorTraceExporter(**options)))
        reader = PeriodicExportingMetricReader(AzureMonitorMetricExporter(**options))
        self._metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._logger = self._logs.get_logger(ROLE, __version__)
        self._tracer = self._traces.get_tracer(ROLE, __version__)
        self._make_instruments()

    def emit(self, at: int, event: Mapping[str, Any]) -> None:
        """See `telemetry.Pipeline`."""
        name = str(event.get("event", ""))
        attributes = {**self._dimensions, **_attributes(event)}
        context = self._end_of_task(at, name, event, attributes) if name in TASK_ENDS else None
        level = str(event.get("level", "info"))
        self._logger.emit(
            timestamp=at,
            observed_timestamp=at,
            context=context,
            severity_number=_SEVERITY.get(level, SeverityNumber.INFO),
            severity_text=level.upper(),
            body=_words(name, event),
            attributes=attributes,
        )

    def flush(self) -> None:
        """See `telemetry.Pipeline`."""
        self._logs.force_flush(FLUSH_MILLISECONDS)
        self._traces.force_flush(FLUSH_MILLISECONDS)

    def close(self) -> None:
        """See `telemetry.Pipeline`."""
        self._logs.shutdown()
        self._traces.shutdown()
        self._metrics.shutdown(FLUSH_MILLISECONDS)

    def _end_of_task(self, at: int, name: str, event: Mapping[str, Any], attributes: dict[str, Any]) -> Any:
        """The run of a task as a span that has just ended. Returns the context of its log record."""
        seconds = float(event.get("duration_s") or 0.0)
        self._durations.record(seconds, {"event": name})
        span = self._tracer.start_span(
            "task", kind=SpanKind.CONSUMER, attributes=attributes, start_time=at - round(seconds * 1e9)
        )
        if name in _FAILED:
            span.set_status(Status(StatusCode.ERROR, str(event.get("error", name))))
        span.end(at)
        return set_span_in_context(span)

    def _make_instruments(self) -> None:
        meter = self._metrics.get_meter(ROLE, __version__)
        self._durations = meter.create_histogram("workforce.agent.task.duration", "s", "How long runs of tasks took.")
        meter.create_observable_counter(
            "workforce.agent.tasks", [self._observe_outcomes], "1", "Messages, by how they ended."
        )
        meter.create_observable_gauge(
            "workforce.agent.slots.busy", [self._observe(lambda now: now.busy)], "1", "Tasks that run."
        )
        meter.create_observable_gauge(
            "workforce.agent.slots", [self._observe(lambda now: now.slots)], "1", "Tasks that may run at a time."
        )

    def _observe(self, value: Callable[[Sample], int]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            now = self._sample()
            return [] if now is None else [Observation(value(now), self._labels)]

        return observe

    def _observe_outcomes(self, _: CallbackOptions) -> Iterable[Observation]:
        now = self._sample()
        if now is None:
            return []
        return [Observation(count, {**self._labels, "outcome": name}) for name, count in now.outcomes.items()]

    @property
    def _labels(self) -> dict[str, str]:
        return {name: self._dimensions[name] for name in ("environment",) if name in self._dimensions}


def _attributes(event: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Fields of an event as attributes: what is no plain value becomes text, and what is None is left out."""
    return {
        name: value if isinstance(value, str | int | float | bool) else str(value)
        for name, value in event.items()
        if name not in _NOT_FIELDS and value is not None
    }


def _words(name: str, event: Mapping[str, Any]) -> str:
    task = event.get("task_id")
    return f"{name} {task}" if task else name
