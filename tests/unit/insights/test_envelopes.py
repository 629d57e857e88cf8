"""What is accepted of a body, what is refused, and what is found again."""

import json
from datetime import UTC, datetime

import pytest

from tests.support.tables import table
from workforce_local.insights.envelopes import BodyError, read, select

KEY = "00000000-0000-4000-8000-0000000000ee"


def envelope(base="MessageData", at="2026-01-02T03:04:05Z", **content):
    return {
        "name": "Microsoft.ApplicationInsights.Message",
        "time": at,
        "iKey": KEY,
        "tags": {"ai.cloud.role": "agent", "ai.operation.id": "o1"},
        "data": {"baseType": base, "baseData": content or {"message": "hello"}},
    }


def array(*envelopes):
    return json.dumps(envelopes).encode()


def test_an_array_and_lines_mean_the_same():
    two = [envelope(), envelope("EventData", name="hired")]
    lines = "\n".join(map(json.dumps, two)).encode()
    assert read(array(*two), KEY) == read(lines, KEY)
    assert [item.type for item in read(lines, KEY).items] == ["traces", "customEvents"]


@table(
    ("base", "content", "table", "name"),
    [
        ("RequestData", {"name": "task"}, "requests", "task"),
        ("RemoteDependencyData", {"name": "GET /"}, "dependencies", "GET /"),
        ("MessageData", {"message": "hello"}, "traces", "hello"),
        ("ExceptionData", {"exceptions": [{"typeName": "ValueError"}]}, "exceptions", "ValueError"),
        ("MetricData", {"metrics": [{"name": "depth", "value": 1}]}, "customMetrics", "depth"),
        ("EventData", {"name": "hired"}, "customEvents", "hired"),
    ],
)
def test_each_kind_of_telemetry_has_its_table_and_name(base, content, table, name):
    (item,) = read(array(envelope(base, **content)), KEY).items
    assert (item.type, item.name, item.role, item.operation) == (table, name, "agent", "o1")


def test_a_good_body_is_answered_200_with_its_numbers():
    batch = read(array(envelope(), envelope()), KEY)
    assert batch.status == 200
    assert batch.document() == {"itemsReceived": 2, "itemsAccepted": 2, "errors": []}


def test_a_body_that_is_good_in_part_is_answered_206_with_the_index_of_what_is_not():
    """The exporter reads status 206 and sends again, or drops, the envelopes of `errors[].index`."""
    batch = read(array(envelope(), {**envelope(), "time": ""}, envelope()), KEY)
    assert batch.status == 206
    answer = batch.document()
    assert (answer["itemsReceived"], answer["itemsAccepted"]) == (3, 2)
    assert [(error["index"], error["statusCode"]) for error in answer["errors"]] == [(1, 400)]


@table(
    ("change", "word"),
    [
        ({"iKey": "another"}, "Invalid instrumentation key"),
        ({"name": None}, "'name'"),
        ({"time": "yesterday"}, "not a time"),
        ({"data": {"baseType": "MessageData"}}, "'baseData'"),
        ({"data": {"baseType": "Gossip", "baseData": {}}}, "Gossip"),
        ({"data": []}, "'data'"),
    ],
)
def test_an_envelope_that_cannot_be_used_is_refused_with_its_reason(change, word):
    batch = read(array({**envelope(), **change}), KEY)
    assert batch.status == 400
    assert word in batch.refusals[0].message


def test_an_envelope_that_is_no_object_is_refused_alone():
    assert read(array(envelope(), 7), KEY).status == 206


@table("body", [b"", b"   ", b"{", b"[1", b"hello"])
def test_a_body_that_is_not_json_is_refused_as_a_whole(body):
    with pytest.raises(BodyError):
        read(body, KEY)


def test_items_are_selected_by_table_name_role_and_time():
    items = read(
        array(
            envelope(at="2026-01-01T00:00:00Z"),
            envelope("EventData", at="2026-01-02T00:00:00Z", name="hired a worker"),
            envelope("EventData", at="2026-01-03T00:00:00.0000000Z", name="laid off"),
        ),
        KEY,
    ).items
    assert len(select(items)) == 3
    assert [item.name for item in select(items, type_="customevents", name="hired")] == ["hired a worker"]
    assert len(select(items, type_="EventData")) == 2
    assert [item.name for item in select(items, since=datetime(2026, 1, 3, tzinfo=UTC))] == ["laid off"]
    assert select(items, role="operator") == []
