"""Ids, durations, bindings, token buckets and the request log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.tables import table
from workforce_local.azureml.bindings import expand, folders, names_used, resolve
from workforce_local.azureml.durations import format_duration, parse_duration
from workforce_local.azureml.errors import ArmError, throttled, unauthorized, user_error
from workforce_local.azureml.fleet import node_address
from workforce_local.azureml.ids import WorkspaceId, parse, pattern
from workforce_local.azureml.request_log import RequestLog
from workforce_local.azureml.throttle import TokenBuckets

WORKSPACE = WorkspaceId("s", "g", "w")


def test_an_id_is_read_in_any_case():
    child = parse(str(WORKSPACE).upper() + "/COMPUTES/Cluster")
    assert child is not None
    assert child.workspace.key == WORKSPACE.key
    assert child.named("computes") == ("Cluster",)


def test_an_id_of_another_kind_has_no_such_names():
    child = parse(f"{WORKSPACE}/environments/e/versions/1")
    assert child is not None
    assert child.named("environments", "versions") == ("e", "1")
    assert child.named("computes") is None
    assert child.named("computes", "versions") is None


@table("text", ["", "cluster", "/subscriptions/s", f"x{WORKSPACE}"])
def test_what_is_no_id_is_none(text):
    assert parse(text) is None


def test_a_route_matches_in_any_case_and_keeps_the_names_as_written():
    match = pattern("/Workspaces/{workspace}/jobs").match("/workspaces/MyWs/JOBS")
    assert match is not None
    assert match.groupdict() == {"workspace": "MyWs"}
    assert pattern("/a/{b}").match("/a/b/c") is None


@table(
    ("text", "expected"),
    [
        ("PT1H", timedelta(hours=1)),
        ("PT90S", timedelta(seconds=90)),
        ("P14D", timedelta(days=14)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
    ],
)
def test_durations_are_read(text, expected):
    assert parse_duration(text) == expected


@table("text", ["", "P", "PT", "1h", "PT1.5S", "PT1", "P1W"])
def test_other_texts_are_no_durations(text):
    with pytest.raises(ValueError, match="ISO 8601"):
        parse_duration(text)


def test_a_duration_is_written_in_seconds():
    assert format_duration(120.0) == "PT120S"


def test_bindings_are_found_and_replaced():
    command = "run ${{inputs.a}} --to ${{ outputs.b }}"
    assert names_used(command) == [("inputs", "a"), ("outputs", "b")]
    assert expand(command, {("inputs", "a"): "x y", ("outputs", "b"): "/o"}) == "run x y --to /o"


def test_literals_are_values_and_data_are_folders():
    properties = {
        "inputs": {"n": {"jobInputType": "literal", "value": "3"}, "f": {"uri": "file:///data/in"}},
        "outputs": {"same": {"uri": "wasbs://c@a/d/"}, "own": None, "default": {"uri": "azureml://x"}},
    }
    shared, own = Path("/shared"), Path("/own")
    values = resolve(properties, shared=shared, own=own)
    assert values["inputs", "n"] == "3"
    assert values["inputs", "f"] == "/data/in"
    assert values["outputs", "own"] == "/own/own"
    assert values["outputs", "default"] == "/own/default"
    assert Path(values["outputs", "same"]).parent == shared
    assert Path("/data/in") not in folders(values, shared=shared, own=own)
    again = resolve({"inputs": {"x": {"uri": "wasbs://c@a/d"}}}, shared=shared, own=Path("/other"))
    assert again["inputs", "x"] == values["outputs", "same"], "one address is one folder for every job"


def test_a_bucket_refills_over_time_and_says_when():
    now = 0.0
    buckets = TokenBuckets(lambda: now)
    taken = [buckets.take("p", "s", "PUT") for _ in range(201)]
    assert [allowance.remaining for allowance in taken[:2]] == [199, 198]
    assert taken[199].retry_after is None
    assert taken[200].retry_after == 1
    now = 1.0
    assert buckets.take("p", "s", "POST").remaining == 9, "ten writes come back per second"


def test_reads_writes_principals_and_subscriptions_have_buckets_of_their_own():
    buckets = TokenBuckets(lambda: 0.0)
    assert buckets.take("p", "s", "PUT").headers["x-ms-ratelimit-remaining-subscription-writes"] == "199"
    assert buckets.take("p", "S", "PUT").remaining == 198
    assert buckets.take("p", "s", "GET").headers["x-ms-ratelimit-remaining-subscription-reads"] == "249"
    assert buckets.take("q", "s", "PUT").remaining == 199
    assert buckets.take("p", "t", "DELETE").headers["x-ms-ratelimit-remaining-subscription-deletes"] == "199"


def test_the_log_counts_by_method_route_and_status():
    log = RequestLog(lambda: datetime(2026, 1, 1, tzinfo=UTC))
    for status in (201, 201, 400):
        log.add("PUT", "/jobs/{name}", "/jobs/a", status)
    assert (log.count("PUT", "/jobs/{name}"), log.count("PUT", "/jobs/{name}", 201)) == (3, 2)
    document = log.document()
    assert {"method": "PUT", "route": "/jobs/{name}", "status": 201, "count": 2} in document["counts"]
    assert document["requests"][0]["at"] == "2026-01-01T00:00:00+00:00"


def test_errors_have_the_shape_that_the_sdk_reads():
    body = user_error("no", "Outer", "Inner").body()["error"]
    assert (body["code"], body["message"]) == ("UserError", "no")
    assert {entry["type"] for entry in body["additionalInfo"]} == {"ComponentName", "Correlation", "InnerError"}


def test_errors_of_arm_itself_carry_no_details_and_their_headers():
    assert ArmError(404, "X", "gone").body() == {"error": {"code": "X", "message": "gone"}}
    assert throttled(7).headers == {"Retry-After": "7"}
    assert 'error="invalid_token"' in unauthorized("C", "m", "https://a").headers["WWW-Authenticate"]


def test_nodes_have_loopback_addresses_of_their_own():
    addresses = {node_address(cluster, position) for cluster in range(40) for position in (0, 1, 255, 4094)}
    assert len(addresses) == 160
    assert all(address.startswith("127.") and max(map(int, address.split("."))) < 256 for address in addresses)
