"""Readings, job states and errors in the domain's words."""

from __future__ import annotations

from tests.support.planning import job
from tests.support.tables import table
from workforce_operator.domain import errors
from workforce_operator.domain.observed import Outcome, Phase, Unknown, phase_of
from workforce_operator.domain.outcomes import Failure


@table(
    ("states", "phase"),
    [
        ("NotStarted Provisioning Preparing Queued Waiting Starting Scheduled Validating queued", Phase.PENDING),
        ("Running Finalizing NotResponding SomethingNew", Phase.RUNNING),
        ("Paused", Phase.PAUSED),
        ("CancelRequested", Phase.ENDING),
        ("Completed Failed Canceled", Phase.ENDED),
    ],
)
def test_what_a_state_is_counted_as(states, phase):
    assert {phase_of(state) for state in states.split()} == {phase}


def test_states_may_be_written_with_a_space():
    assert phase_of("Not Started") is Phase.PENDING
    assert phase_of("Cancel Requested") is Phase.ENDING


def test_how_a_job_ended():
    assert job(0, "Failed").outcome is Outcome.FAILED
    assert job(0, "Running").outcome is None


@table(
    ("error", "reason", "lasting"),
    [
        (errors.SpecError("x", reason="InvalidTemplate"), "InvalidTemplate", True),
        (errors.Denied("x", scope="/s"), "AccessDenied", True),
        (errors.Missing("x"), "NotFound", True),
        (errors.Throttled("x", retry_after=3), "Throttled", False),
        (errors.Unavailable("x"), "Unavailable", False),
        (errors.Conflict("x"), "Conflict", False),
        (errors.Fenced("x"), "NotLeading", False),
    ],
)
def test_every_error_has_a_reason(error, reason, lasting):
    assert errors.reason_of(error) == reason
    assert Unknown.because(error) == Unknown(reason, "x")
    assert Failure.of(error) == Failure(reason, "x", lasting)
