"""What ARM's error answers mean: decided by status and codes."""

from __future__ import annotations

import json

from azure.core.utils import case_insensitive_dict

from tests.support.tables import table
from workforce_operator.adapters.arm.errors import Absent, Refused, error_of, retry_after
from workforce_operator.domain.errors import Conflict, Denied, Missing, SpecError, Throttled, Unavailable, request_of

HTML = "<html><head><title>503 Service Temporarily Unavailable</title></head></html>"


def document(code: str, *inner: str) -> str:
    nested = None
    for name in reversed(inner):
        nested = {"code": name, "innerError": nested}
    extra = [{"type": "InnerError", "info": {"value": nested}}]
    return json.dumps({"error": {"code": code, "message": "no", "additionalInfo": extra}})


def error(status: int, body: str = "", **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_of(status, case_insensitive_dict(named), body, what="hire job x", scope="/subscriptions/s")


@table(
    ("status", "body", "expected"),
    [
        (400, document("UserError"), Refused),
        (400, document("UserError", "Immutable", "JobPropertyImmutable"), Refused),
        (400, HTML, Unavailable),
        (401, "", Denied),
        (403, document("AuthorizationFailed"), Denied),
        (404, document("UserError", "NotFound"), Absent),
        (404, HTML, Unavailable),
        (404, "", Unavailable),
        (408, document("Timeout"), Unavailable),
        (409, document("Busy"), Conflict),
        (412, "", Conflict),
        (429, document("TooManyRequests"), Throttled),
        (429, "", Throttled),
        (302, "", Unavailable),
        (500, document("InternalError"), Unavailable),
        (503, HTML, Unavailable),
        (504, "", Unavailable),
    ],
)
def test_each_answer_means_one_thing(status, body, expected):
    assert type(error(status, body)) is expected


def test_a_missing_workspace_is_told_from_a_missing_job():
    job = error(404, document("UserError", "NotFound", "RunNotFound"))
    workspace = error(404, document("ResourceNotFound"))
    group = error(404, document("ResourceGroupNotFound"))
    assert [job.parent, workspace.parent, group.parent] == [False, True, True]
    assert isinstance(job, Missing)


def test_a_refusal_carries_all_codes_however_deep():
    refused = error(400, document("UserError", "Immutable", "JobPropertyImmutable"))
    assert refused.codes == {"UserError", "Immutable", "JobPropertyImmutable"}
    assert isinstance(refused, SpecError)


def test_a_refusal_by_message_text_alone_is_not_taken_for_a_code():
    body = json.dumps({"error": {"code": "UserError", "message": "JobPropertyImmutable"}})
    assert error(400, body).codes == {"UserError"}


def test_denied_says_for_what():
    assert error(403, document("AuthorizationFailed")).scope == "/subscriptions/s"


@table(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "7"}, 7),
        ({"x-ms-retry-after-ms": "1500", "Retry-After": "7"}, 1.5),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "99999999"}, 3600),
        ({}, None),
    ],
)
def test_the_pause_is_read_from_either_header(headers, seconds):
    assert retry_after(case_insensitive_dict(headers)) == seconds


def test_a_throttled_answer_without_a_header_still_pauses():
    assert error(429).retry_after > 0


def test_a_busy_service_that_names_a_pause_is_left_alone_for_it():
    assert error(503, HTML, Retry_After="4").retry_after == 4


def test_the_message_is_for_people_and_bounded():
    long = json.dumps({"error": {"code": "UserError", "message": "x" * 10_000}})
    text = str(error(400, long))
    assert text.startswith("hire job x: HTTP 400")
    assert len(text) < 600


def test_the_id_of_the_request_is_kept_for_the_log_and_out_of_the_message():
    refused = error(400, document("UserError"), x_ms_request_id="4f1d-77")
    assert "4f1d-77" not in str(refused)
    told = SpecError(str(refused), reason="InvalidTemplate")
    told.__cause__ = refused
    assert request_of(told) == {"request_id": "4f1d-77"}
    assert request_of(error(503, HTML)) == {}
