"""Events as telemetry of Application Insights, by OpenTelemetry and the exporter of Azure Monitor.

Every event of the log is a trace there; the end of a task's run is a request too, with its duration, and a drain is a
dependency; and there are metrics of how much is done. An event that has a `traceparent`, which came with an order or a
task, belongs to that trace. Imported only where telemetry is wanted, in a thread: it costs tens of megabytes.
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
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from jobq.version import __version__
from workforce_agent.events import DRAIN_END, TASK_ENDS, TRACE_FIELD
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
        context = _trace_of(event)
        if name in TASK_ENDS:
            self._durations.record(_seconds(event), {"event": name})
            context = self._span("task", SpanKind.CONSUMER, at, event, attributes=attributes, parent=context)
        elif name == DRAIN_END:
            context = self._span("drain", SpanKind.INTERNAL, at, event, attributes=attributes, parent=context)
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

    def _span(
        self,
        name: str,
        kind: SpanKind,
        at: int,
        event: Mapping[str, Any],
        *,
        attributes: dict[str, Any],
        parent: Context | None,
    ) -> Context:
        """What has just ended, as a span. Returns the context of its log record."""
        begun = at - round(_seconds(event) * 1e9)
        span = self._tracer.start_span(name, parent, kind=kind, attributes=attributes, start_time=begun)
        if event.get("event") in _FAILED:
            span.set_status(Status(StatusCode.ERROR, str(event.get("error", event["event"]))))
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


def _trace_of(event: Mapping[str, Any]) -> Context | None:
    """The trace that an event says it belongs to; None if it says nothing that makes sense."""
    if not isinstance(carried := event.get(TRACE_FIELD), str):
        return None
    return TraceContextTextMapPropagator().extract({TRACE_FIELD: carried})


def _seconds(event: Mapping[str, Any]) -> float:
    return float(event.get("duration_s") or 0.0)


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
