"""The table "Signals to a worker process", cell by cell."""

import pytest

from workforce_agent.lifecycle import Mode, State, Stop, Trigger, step

W, F, R, E, P, I = (  # noqa: E741 - one letter per column
    Mode.WORKING, Mode.FINISHING, Mode.RETURNING, Mode.EVICTED, Mode.PREEMPTED, Mode.INTERRUPTED,
)  # fmt: skip
NOTHING, TERMINATE, HURRY, KILL = Stop.NOTHING, Stop.TERMINATE, Stop.HURRY, Stop.KILL

# For each trigger: what becomes of working, finishing, returning, evicted, preempted and interrupted, and what tasks
# are told.
TABLE = {
    Trigger.DRAIN_FINISH: [(F, NOTHING), (F, NOTHING), (R, NOTHING), (R, NOTHING), (R, NOTHING), (I, NOTHING)],
    Trigger.SIGUSR1: [(F, NOTHING), (F, NOTHING), (R, NOTHING), (R, NOTHING), (R, NOTHING), (I, NOTHING)],
    Trigger.QUEUE_EMPTY: [(F, NOTHING), (F, NOTHING), (R, NOTHING), (R, NOTHING), (R, NOTHING), (I, NOTHING)],
    Trigger.IDLE_TIMEOUT: [(F, NOTHING), (F, NOTHING), (R, NOTHING), (R, NOTHING), (R, NOTHING), (I, NOTHING)],
    Trigger.DRAIN_CHECKPOINT: [(R, TERMINATE), (R, TERMINATE), (R, NOTHING), (R, NOTHING), (R, NOTHING), (I, NOTHING)],
    Trigger.SIGUSR2: [(R, TERMINATE), (R, TERMINATE), (R, NOTHING), (R, NOTHING), (R, NOTHING), (I, NOTHING)],
    Trigger.DRAIN_DEADLINE: [(R, TERMINATE), (R, TERMINATE), (R, NOTHING), (R, NOTHING), (R, NOTHING), (I, NOTHING)],
    Trigger.TIME_LIMIT: [(R, TERMINATE), (R, TERMINATE), (R, NOTHING), (R, NOTHING), (R, NOTHING), (I, NOTHING)],
    Trigger.TOO_MANY_FAILURES: [(R, TERMINATE), (R, TERMINATE), (R, NOTHING), (R, NOTHING), (R, NOTHING), (I, NOTHING)],
    Trigger.SIGTERM: [(E, TERMINATE), (R, TERMINATE), (R, HURRY), (E, HURRY), (E, HURRY), (I, HURRY)],
    Trigger.SIGINT: [(I, TERMINATE), (I, TERMINATE), (I, TERMINATE), (I, TERMINATE), (I, TERMINATE), (I, KILL)],
    Trigger.EVICTION_TIMEOUT: [(W, NOTHING), (F, NOTHING), (R, NOTHING), (W, NOTHING), (P, NOTHING), (I, NOTHING)],
    Trigger.PREEMPTION: [(P, TERMINATE), (R, TERMINATE), (R, NOTHING), (P, NOTHING), (P, NOTHING), (I, NOTHING)],
    Trigger.PREEMPTION_WITHDRAWN: [(W, NOTHING), (F, NOTHING), (R, NOTHING), (E, NOTHING), (W, NOTHING), (I, NOTHING)],
    Trigger.ACCEPT: [(W, NOTHING), (W, NOTHING), (R, NOTHING), (E, NOTHING), (P, NOTHING), (I, NOTHING)],
    Trigger.DO_NOT_ACCEPT: [(W, NOTHING), (F, NOTHING), (R, NOTHING), (E, NOTHING), (P, NOTHING), (I, NOTHING)],
}


def test_the_table_has_a_row_for_every_trigger():
    assert set(TABLE) == set(Trigger)


@pytest.mark.parametrize("accepting", [True, False])
@pytest.mark.parametrize("trigger", TABLE)
def test_every_cell_of_the_table(trigger, accepting):
    answers = [step(State(mode, accepting), trigger) for mode in (W, F, R, E, P, I)]
    assert [(answer.state.mode, answer.stop) for answer in answers] == TABLE[trigger]
    kept = {Trigger.ACCEPT: True, Trigger.DO_NOT_ACCEPT: False}.get(trigger, accepting)
    assert {answer.state.accepting for answer in answers} == {kept}


@pytest.mark.parametrize("trigger", [Trigger.SIGUSR2, Trigger.DRAIN_CHECKPOINT])
def test_the_same_checkpoint_trigger_a_second_time_hurries(trigger):
    once = step(State(), trigger).state
    assert step(once, trigger).stop is HURRY


def test_a_second_finish_trigger_hurries_nobody():
    once = step(State(), Trigger.DRAIN_FINISH).state
    assert step(once, Trigger.DRAIN_FINISH) == step(once, Trigger.SIGUSR1)
    assert step(once, Trigger.DRAIN_FINISH).stop is NOTHING


def test_only_a_working_and_accepting_worker_pulls():
    pulling = [(mode, accepting) for mode in Mode for accepting in (True, False) if State(mode, accepting).pulls]
    assert pulling == [(W, True)]


def test_an_evicted_or_preempted_worker_stays_and_one_that_does_not_accept_stays_too():
    assert not State(E).leaves_when_idle
    assert not State(P).leaves_when_idle
    assert not State(W, accepting=False).leaves_when_idle
    assert all(State(mode).leaves_when_idle for mode in (F, R, I))


def test_an_eviction_that_does_not_come_gives_back_what_was_before():
    paused = step(State(), Trigger.DO_NOT_ACCEPT).state
    resumed = step(step(paused, Trigger.SIGTERM).state, Trigger.EVICTION_TIMEOUT).state
    assert resumed.mode is W
    assert not resumed.pulls


def test_a_preemption_that_is_withdrawn_gives_back_what_was_before():
    paused = step(State(), Trigger.DO_NOT_ACCEPT).state
    resumed = step(step(paused, Trigger.PREEMPTION).state, Trigger.PREEMPTION_WITHDRAWN).state
    assert (resumed.mode, resumed.pulls) == (W, False)


def test_a_finish_drain_is_taken_back_and_a_checkpoint_drain_is_not():
    finishing = step(State(), Trigger.DRAIN_FINISH).state
    returning = step(State(), Trigger.DRAIN_CHECKPOINT).state
    assert step(finishing, Trigger.ACCEPT).state.pulls
    assert not step(returning, Trigger.ACCEPT).state.pulls


def test_only_too_many_failures_end_with_an_error():
    codes = {trigger: step(State(), trigger).state.exit_code for trigger in Trigger}
    assert [trigger for trigger, code in codes.items() if code] == [Trigger.TOO_MANY_FAILURES]
