"""The status machine behind AzureML's JobStatus."""

import itertools

import pytest

from tests.support.tables import table
from workforce_local.azureml.states import FOLLOWS, TERMINAL, IllegalTransitionError, Status, advance, outcome


def test_a_job_that_runs_goes_through_all_steps_in_order():
    steps = [Status.STARTING, Status.PREPARING, Status.QUEUED, Status.RUNNING, Status.FINALIZING, Status.COMPLETED]
    for current, target in itertools.pairwise(steps):
        assert advance(current, target) is target


@table("terminal", sorted(TERMINAL))
def test_a_terminal_status_is_never_left(terminal):
    for target in Status:
        with pytest.raises(IllegalTransitionError, match=str(terminal)):
            advance(terminal, target)


@table("current", [Status.STARTING, Status.PREPARING, Status.QUEUED, Status.RUNNING])
def test_every_step_before_the_end_can_be_cancelled(current):
    assert advance(advance(current, Status.CANCEL_REQUESTED), Status.CANCELED) is Status.CANCELED


def test_a_cancelled_job_does_not_complete():
    assert FOLLOWS[Status.CANCEL_REQUESTED] == {Status.CANCELED}


def test_a_job_whose_node_is_taken_away_queues_again():
    assert advance(Status.RUNNING, Status.QUEUED) is Status.QUEUED


def test_every_status_has_its_followers():
    assert set(FOLLOWS) == set(Status)


@table(("code", "status"), [(0, Status.COMPLETED), (1, Status.FAILED), (137, Status.FAILED)])
def test_the_exit_code_decides_between_completed_and_failed(code, status):
    assert outcome(code) is status
