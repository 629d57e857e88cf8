"""How errors are told: one steady line each, a reason that Kubernetes accepts, and whether trying again may help."""

from __future__ import annotations

import re

from tests.support.tables import table
from workforce_operator.domain.errors import (
    Conflict,
    Denied,
    Fenced,
    Missing,
    OperatorError,
    SpecError,
    Throttled,
    Unavailable,
    reason_of,
)
from workforce_operator.domain.observed import Unknown
from workforce_operator.domain.outcomes import Failure, why_unknown

ERRORS = [
    (SpecError("no such compute", reason="ComputeNotFound"), "ComputeNotFound", True),
    (SpecError("wrong"), "Invalid", True),
    (Denied("no role", scope="/s"), "AccessDenied", True),
    (Missing("no workspace"), "NotFound", True),
    (Throttled("too many", retry_after=3), "Throttled", False),
    (Unavailable("no answer"), "Unavailable", False),
    (Conflict("written meanwhile"), "Conflict", False),
    (Fenced("no lease"), "NotLeading", False),
    (OperatorError("else"), "Unavailable", False),
]


@table(("error", "reason", "lasting"), ERRORS)
def test_an_error_says_its_reason_and_whether_time_alone_can_help(error, reason, lasting):
    failure = Failure.of(error)
    assert (failure.reason, failure.message, failure.lasting) == (reason, str(error), lasting)
    assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", reason_of(error))
    assert Unknown.because(error) == Unknown(reason, str(error))


def test_the_same_failure_reads_the_same_each_time():
    one, other = (Unavailable(f"<Connection object at 0x{address:x}>\n  refused") for address in (0xABC0, 0xDEF0))
    assert str(one) == str(other) == "<Connection object> refused"


@table(
    ("said", "told"),
    [
        (
            "AuthorizationFailure. RequestId:d3d999db-0580-4ed3-85c0-79328d0c394b\nTime:2026-03-01T12:00:00.1234567Z",
            "AuthorizationFailure.",
        ),
        (
            (
                "('AADSTS7000112: Application 'a' is disabled. Trace ID: 52ce91cc-9550 Correlation ID: 9b-1 "
                "Timestamp: 2026-03-01 12:00:00Z')"
            ),
            "('AADSTS7000112: Application 'a' is disabled.')",
        ),
        (
            (
                "entity 'q' not found. TrackingId:9f8-b_G12, SystemTracker:ns:Queue:q, Timestamp:2026-03-01T12:00:00 "
                "Error condition: amqp:not-found"
            ),
            "entity 'q' not found. Error condition: amqp:not-found",
        ),
        (
            "HTTP 429 The limit of 'reads' is exceeded. Please try again after '6' seconds.",
            "HTTP 429 The limit of 'reads' is exceeded.",
        ),
        (
            "too many requests. Please retry after 12 seconds. See the documentation.",
            "too many requests. See the documentation.",
        ),
    ],
    ids=["Storage", "Entra ID", "Service Bus", "a limit of storage behind ARM", "ARM"],
)
def test_which_request_failed_and_when_is_no_part_of_what_is_told(said, told):
    assert str(Unavailable(said)) == told


def test_words_that_only_look_like_a_request_s_id_stay():
    text = "the time: now; Timestamp of none; set requestId, or a trace id"
    assert str(Unavailable(text)) == text


@table(
    ("reading", "reason", "message"),
    [
        (None, "NotRead", "it was not read"),
        (Unknown("Throttled", "too many"), "Throttled", "too many"),
        (Unknown("Throttled"), "Throttled", "Throttled"),
        (Unknown("the host is gone"), "Unavailable", "the host is gone"),
        (Unknown("the host is gone", "no route"), "Unavailable", "no route"),
    ],
)
def test_what_is_unknown_has_a_reason_that_a_condition_may_have(reading, reason, message):
    assert why_unknown(reading) == Failure(reason, message)
