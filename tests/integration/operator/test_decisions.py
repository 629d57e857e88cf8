"""Decision records and workers are served as JSON, to whoever may read the operator's Pods."""

from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import web

from workforce_operator.domain.decision import Record
from workforce_operator.domain.workers import Workers
from workforce_operator.edge.decisions import DecisionRing, add_routes
from workforce_operator.edge.probes import serve
from workforce_operator.ports.kubernetes import Key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("ns", "wf")
SEVEN = Record(generation=1, desired=7)


async def get(port: int, path: str) -> tuple[int, object]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await (answer.json() if answer.status == 200 else answer.text())


@pytest.fixture
async def served():
    ring, app = DecisionRing(), web.Application()
    add_routes(app, ring)
    async with serve(app, host="127.0.0.1", port=0) as port:
        yield ring, port


async def test_records_and_workers_are_served_by_name(served):
    ring, port = served
    ring.decided(KEY, SEVEN, NOW, lambda: Workers(time=NOW, workers=()))
    assert await get(port, "/debug/decisions") == (200, {"workforces": ["ns/wf"]})
    status, answer = await get(port, "/debug/decisions/ns/wf?last=1")
    assert (status, [document["decision"]["desired"] for document in answer["decisions"]]) == (200, [7])
    assert (await get(port, "/debug/workers/ns/wf"))[1]["workers"] == []


async def test_an_unknown_name_and_a_wrong_number_are_answered_with_what_to_do(served):
    ring, port = served
    status, text = await get(port, "/debug/decisions/ns/nobody")
    assert (status, text.startswith("no pass over Workforce ns/nobody was made here: ")) == (404, True)
    assert (await get(port, "/debug/workers/ns/nobody"))[0] == 404
    ring.decided(KEY, SEVEN, NOW)
    assert await get(port, "/debug/decisions/ns/wf?last=many") == (400, "last must be a number\n")
    assert (await get(port, "/debug/workers/ns/wf"))[0] == 404
