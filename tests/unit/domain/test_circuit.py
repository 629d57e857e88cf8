"""A region's circuit: what opens it, how long it waits, and what closes it."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.support.planning import NOW, entry, ledger
from tests.support.tables import table
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.circuit import Circuit, after_pass
from workforce_operator.domain.errors import Denied, Throttled, Unavailable
from workforce_operator.domain.ledger import read_ledger, write_circuit, write_ledger
from workforce_operator.domain.outcomes import Failure

BUSY = Failure.of(Unavailable("no answer"))
FORBIDDEN = Failure.of(Denied("no role", scope="/s"))
SECOND = timedelta(seconds=1)


def failing(times: int, failure: Failure = BUSY, circuit: Circuit | None = None, now: datetime = NOW) -> Circuit:
    for _ in range(times):
        circuit = after_pass(circuit, failure, hired=False, now=now)
    assert circuit is not None
    return circuit


def wait_of(circuit: Circuit) -> float:
    assert circuit.retry_at is not None
    return (circuit.retry_at - NOW).total_seconds()


def test_a_few_failures_that_may_pass_leave_it_closed():
    assert failing(1).allowed(NOW) is None
    assert failing(4).allowed(NOW) is None
    assert not failing(4).is_open


def test_the_fifth_one_in_a_row_opens_it():
    circuit = failing(5)
    assert circuit.is_open
    assert circuit.allowed(NOW) == 0
    assert (circuit.reason, circuit.message) == ("Unavailable", "no answer")


def test_a_failure_that_does_not_pass_by_itself_opens_it_at_once():
    assert failing(1, FORBIDDEN).allowed(NOW) == 0


def test_after_the_back_off_one_hire_may_be_tried():
    circuit = failing(5)
    assert circuit.allowed(NOW + timedelta(seconds=29)) == 0
    assert circuit.allowed(NOW + timedelta(seconds=30)) == 1
    assert circuit.text(NOW) == "no answer (one hire is tried at 12:00:30Z)"
    assert circuit.text(NOW + timedelta(seconds=30)) == "no answer (one hire is tried)"


def test_each_trial_that_fails_doubles_the_wait_up_to_half_an_hour():
    waits = [wait_of(failing(times)) for times in (5, 6, 7, 8, 9, 10, 11, 12, 40)]
    assert waits == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]


def test_a_hire_that_works_closes_it():
    assert after_pass(failing(9), None, hired=True, now=NOW) is None


def test_a_pass_without_any_hire_leaves_it_as_it_is():
    circuit = failing(6)
    assert after_pass(circuit, None, hired=False, now=NOW + SECOND) is circuit
    assert after_pass(None, None, hired=False, now=NOW) is None


def test_a_pass_in_which_some_hires_worked_begins_counting_anew():
    """A quota that is used up in the middle of many hires is no outage yet."""
    circuit = after_pass(failing(4), BUSY, hired=True, now=NOW)
    assert circuit is not None
    assert (circuit.failures, circuit.is_open) == (1, False)


def test_throttling_says_nothing_about_a_region():
    slow = Failure.of(Throttled("slow", retry_after=9))
    assert after_pass(None, slow, hired=False, now=NOW) is None
    assert after_pass(failing(2), slow, hired=False, now=NOW) == failing(2)


def test_it_tells_since_when_hiring_has_stopped():
    opened = after_pass(failing(4), BUSY, hired=False, now=NOW + SECOND)
    assert opened is not None
    assert opened.changed == NOW + SECOND
    assert failing(2, circuit=opened, now=NOW + 9 * SECOND).changed == NOW + SECOND


@table("circuit", [None, failing(1), failing(4, Failure("Denied", "x" * 5000))])
def test_it_survives_the_way_through_the_api_server_bounded(circuit: Circuit | None):
    status = write_ledger(WorkforceStatus(), ledger(one=entry(2, circuit=circuit)))
    read = read_ledger(WorkforceStatus.model_validate(status.model_dump(mode="json", by_alias=True)))
    kept = read.regions["one"].circuit
    assert write_circuit(kept) == write_circuit(circuit)
    assert kept is None or len(kept.message) <= 500


def test_a_circuit_says_when_one_hire_is_tried():
    assert failing(4).text(NOW) == "no answer"
    circuit = failing(5)
    assert circuit.text(NOW).startswith("no answer (one hire is tried at ")
    assert circuit.retry_at is not None
    assert circuit.text(circuit.retry_at) == "no answer (one hire is tried)"
