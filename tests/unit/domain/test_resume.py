"""Paused jobs are resumed, the oldest first and before anybody is hired, and never more of them than are wanted."""

from __future__ import annotations

from tests.support.planning import (
    desired,
    entry,
    hires,
    job,
    jobs,
    ledger,
    name_of,
    observed,
    orders,
    pending_cancels,
    regions,
    resumed,
    running,
    wave,
)
from workforce_operator.api.status import DrainState
from workforce_operator.domain.actions import Hire, Resume
from workforce_operator.domain.plan import plan


def paused(sequence, age=60):
    return job(sequence, "Paused", created=age, started=age - 1)


def planned(*listed, replicas, filled=None, waves=(), visible=True, control=True, **spec):
    number = len(listed)
    here = entry(number, filled=number if filled is None else filled, waves=waves)
    wanted = desired(replicas=replicas, regions=regions(one=50), **spec)
    return plan(wanted, observed(visible=visible, control=control, one=jobs(*listed)), ledger(one=here))


def test_paused_jobs_are_resumed_the_oldest_first():
    answer = planned(paused(0, 10), paused(1, 90), paused(2, 50), replicas=3)
    assert resumed(answer) == [name_of(1), name_of(2), name_of(0)]
    assert hires(answer) == []
    assert answer.regions["one"].resumes == 3
    assert [(note.reason, note.message) for note in answer.notes] == [
        ("Resuming", "one: resuming 3 that were paused"),
    ]
    (note,) = planned(paused(0), replicas=1).notes
    assert note.message == "one: resuming 1 that was paused"


def test_only_what_is_missing_beyond_the_paused_ones_is_hired_and_after_they_are_resumed():
    answer = planned(*running(1), paused(1), paused(2), replicas=5, filled=3)
    assert len(resumed(answer)) == 2
    assert len(hires(answer)) == 2
    kinds = [type(action) for action in answer.actions]
    assert kinds == [Resume, Resume, Hire, Hire]


def test_drains_are_taken_back_before_paused_jobs_are_counted_as_missing():
    answer = planned(*running(2), paused(2), replicas=3, waves=(wave(0),))
    assert orders(answer) == {name_of(0): "accept-new-tasks"}
    assert resumed(answer) == [name_of(2)]
    assert hires(answer) == []


def test_a_paused_job_that_is_taken_back_is_resumed():
    answer = planned(*running(1), paused(1), replicas=2, waves=(wave(1),))
    assert answer.ledger.regions["one"].waves[-1].state is DrainState.RECALLED
    assert resumed(answer) == [name_of(1)]


def test_who_is_too_many_is_laid_off_and_not_resumed():
    answer = planned(*running(2), paused(2, 10), paused(3, 90), replicas=3)
    assert pending_cancels(answer) == [name_of(3)]
    assert resumed(answer) == [name_of(2)]


def test_without_a_control_channel_paused_jobs_that_are_too_many_are_cancelled_and_the_others_resumed():
    wanted = desired(replicas=2, regions=regions(one=50), control=None)
    for ages in (60, 60), (60, 90):
        here = jobs(*running(1), *(paused(number, age) for number, age in enumerate(ages, start=1)))
        answer = plan(wanted, observed(control=False, one=here), ledger(one=entry(3, filled=3)))
        assert pending_cancels(answer) == [name_of(2)]
        assert resumed(answer) == [name_of(1)]


def test_a_paused_job_is_not_resumed_while_more_run_than_are_wanted():
    answer = planned(*running(4), paused(4), replicas=2, control=None)
    assert resumed(answer) == []


def test_scaling_up_only_suspends_hires_and_not_what_stands():
    answer = planned(*running(1), paused(1), replicas=5, suspend="ScaleUpOnly")
    assert resumed(answer) == [name_of(1)]
    assert hires(answer) == []


def test_on_hold_and_while_nobody_is_wanted_nobody_is_resumed():
    assert resumed(planned(paused(0), replicas=1, suspend="Hold")) == []
    assert resumed(planned(paused(0), replicas=1, suspend="Drain")) == []


def test_an_idle_queue_does_not_keep_a_paused_job_from_being_resumed():
    assert resumed(planned(paused(0), replicas=1, visible=False)) == [name_of(0)]


def test_paused_jobs_are_supply_and_told_apart_from_running_ones():
    numbers = planned(*running(1), paused(1), replicas=2).regions["one"]
    assert (numbers.supply, numbers.running, numbers.paused) == (2, 1, 1)
