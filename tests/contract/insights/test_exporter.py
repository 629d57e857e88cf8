"""Telemetry of Microsoft's own exporter arrives, and is found again."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from workforce_local.azure import LocalAzure

PROGRAM = """
    import logging, os
    from azure.monitor.opentelemetry.exporter import (
        AzureMonitorLogExporter, AzureMonitorMetricExporter, AzureMonitorTraceExporter,
    )
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.trace import SpanKind, set_tracer_provider

    options = {"disable_offline_storage": True}
    resource = Resource.create({"service.name": "exporter-test"})
    tracing = TracerProvider(resource=resource)
    set_tracer_provider(tracing)
    tracing.add_span_processor(SimpleSpanProcessor(AzureMonitorTraceExporter(**options)))
    with tracing.get_tracer("t").start_as_current_span("run a task", kind=SpanKind.SERVER):
        pass
    metering = MeterProvider([PeriodicExportingMetricReader(AzureMonitorMetricExporter(**options))], resource=resource)
    metering.get_meter("m").create_counter("tasks.done").add(3)
    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(SimpleLogRecordProcessor(AzureMonitorLogExporter(**options)))
    logger = logging.getLogger("agent")
    logger.addHandler(LoggingHandler(logger_provider=logs))
    logger.warning("the queue is empty")
    for provider in (tracing, metering, logs):
        provider.shutdown()
"""


@pytest_asyncio.fixture
async def session(local_azure: LocalAzure) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that knows the token."""
    context = ssl.create_default_context(cafile=str(local_azure.ca_file))
    headers = {"Authorization": f"Bearer {local_azure.admin_token}"}
    async with aiohttp.ClientSession(
        local_azure.base_url, connector=aiohttp.TCPConnector(ssl=context), headers=headers
    ) as session:
        yield session


async def ask(session, **query):
    async with session.get("/_local/insights", params=query) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_spans_metrics_and_logs_of_the_real_exporter_arrive(local_azure, session):
    environment = {
        "PATH": "/usr/bin:/bin",
        **local_azure.insights.environment(local_azure.base_url),
        "REQUESTS_CA_BUNDLE": str(local_azure.ca_file),
    }

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", textwrap.dedent(PROGRAM),
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()

    assert (await ask(session))["count"], said.decode()
    (request,) = (await ask(session, type="requests"))["items"]
    assert (request["name"], request["role"]) == ("run a task", "exporter-test")
    assert "tasks.done" in {item["name"] for item in (await ask(session, type="customMetrics"))["items"]}
    (trace,) = (await ask(session, name="queue is empty"))["items"]
    assert trace["type"] == "traces"
    later = await ask(session, since="2100-01-01T00:00:00+00:00")
    assert later == {"count": 0, "items": []}


def envelope(key, **changes):
    data = {"baseType": "EventData", "baseData": {"name": "hired"}}
    return {"name": "Event", "time": "2026-01-01T00:00:00Z", "iKey": key, "data": data, **changes}


@pytest.mark.parametrize("path", ["/v2.1/track", "/v2/track"])
async def test_compressed_lines_arrive_and_what_is_wrong_with_some_is_told(local_azure, session, path):
    """The ingestion contract: 206 with the index of each refused item; the others are accepted."""
    key = local_azure.insights.key
    lines = "\n".join(map(json.dumps, [envelope(key), envelope(key, time=None)])).encode()
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-json-stream"}
    async with session.post(path, data=gzip.compress(lines), headers=headers) as answer:
        assert answer.status == 206
        content = await answer.json()
    assert (content["itemsReceived"], content["itemsAccepted"]) == (2, 1)
    assert content["errors"][0]["index"] == 1
    assert (await ask(session))["count"] == 1


async def test_a_body_that_is_not_json_is_refused(session):
    async with session.post("/v2.1/track", data=b"hello") as answer:
        assert answer.status == 400


async def test_only_who_knows_the_token_sees_what_arrived(session):
    async with session.get("/_local/insights", headers={"Authorization": "Bearer no"}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("query", [{"since": "yesterday"}, {"limit": "0"}, {"limit": "x"}])
async def test_a_wrong_query_is_refused_with_its_field(session, query):
    async with session.get("/_local/insights", params=query) as answer:
        assert answer.status == 400
        assert next(iter(query)) in (await answer.json())["error"]
