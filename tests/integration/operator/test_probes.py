"""The HTTP endpoints answer what the callables say."""

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from workforce_operator.edge.metrics import Metrics
from workforce_operator.edge.probes import Health, build_app, serve


async def get(port, path):
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text(), answer.headers["Content-Type"]


async def test_a_healthy_process_answers_200_with_the_reason():
    app = build_app(alive=lambda: Health(True, "idle"), ready=lambda: Health(True, "leading"), metrics=Metrics())
    async with serve(app, host="127.0.0.1", port=0) as port:
        assert (await get(port, "/livez"))[:2] == (200, "idle\n")
        assert (await get(port, "/readyz"))[:2] == (200, "leading\n")


async def test_a_process_that_is_not_well_answers_503_with_the_reason():
    app = build_app(alive=lambda: Health(False, "stuck"), ready=lambda: Health(False, "starting"), metrics=Metrics())
    async with serve(app, host="127.0.0.1", port=0) as port:
        assert (await get(port, "/livez"))[:2] == (503, "stuck\n")
        assert (await get(port, "/readyz"))[:2] == (503, "starting\n")


async def test_metrics_are_served_as_prometheus_text():
    metrics = Metrics()
    app = build_app(alive=lambda: Health(True, ""), ready=lambda: Health(True, ""), metrics=metrics)
    async with serve(app, host="127.0.0.1", port=0) as port:
        status, text, kind = await get(port, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    assert "workforce_reconcile_duration_seconds" in {family.name for family in text_string_to_metric_families(text)}
