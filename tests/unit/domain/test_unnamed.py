"""Shrinking ai4s-jobq's workers: so many are told to leave, and nobody knows which (``control.dialect: JobQ``)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support import workforces
from tests.support.planning import (
    MINUTE,
    NOW,
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
    resumed,
    running,
    wave,
)
from workforce_operator.api.spec import DrainMode
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.actions import SendToAny
from workforce_operator.domain.ledger import read_ledger, write_ledger
from workforce_operator.domain.plan import plan
from workforce_operator.domain.waves import add, unanswered, withdrawn


def jobq(replicas, **spec):
    control = workforces.spec()["control"] | {"dialect": "JobQ"}
    return desired(replicas=replicas, control=control, **spec)


def told(count, *, revision=100, **fields):
    return wave(revision=revision, count=count, **fields)


def messages(decided):
    return [action for action in decided.actions if isinstance(action, SendToAny)]


def left(*numbers, minutes_ago=0.5):
    return [job(number, "Completed", started=50, ended=minutes_ago) for number in numbers]


def test_so_many_messages_are_sent_as_workers_are_to_leave_and_the_ledger_counts_them():
    decided = plan(jobq(2), observed(one=jobs(*running(6))), ledger(one=entry(6, filled=6)))
    (sent,) = decided.ledger.regions["one"].waves
    assert (sent.count, sent.jobs) == (4, frozenset())
    assert len({message.message_id for message in messages(decided)}) == 4
    assert {message.order.operation.value for message in messages(decided)} == {"do-not-accept-new-tasks"}
    assert orders(decided) == {}
    numbers = decided.regions["one"]
    assert (numbers.supply, numbers.running, numbers.draining, numbers.live) == (2, 2, 4, 6)


def test_mode_checkpoint_speaks_of_a_graceful_downscale():
    wanted = jobq(0, drain={"mode": "Checkpoint"})
    decided = plan(wanted, observed(one=jobs(*running(1))), ledger(one=entry(1)))
    assert [message.order.operation.value for message in messages(decided)] == ["graceful-downscale"]
    assert decided.ledger.regions["one"].waves[0].mode is DrainMode.CHECKPOINT


def test_no_message_is_ever_sent_again():
    first = plan(jobq(2), observed(one=jobs(*running(6))), ledger(one=entry(6, filled=6)))
    for minutes in (0, 1, 30, 600):
        later = plan(jobq(2), observed(now=NOW + minutes * MINUTE, one=jobs(*running(6))), first.ledger)
        assert later.actions == ()
        assert later.ledger == first.ledger


def test_jobs_that_never_ran_are_cancelled_first_and_get_no_message():
    here = [*running(3), job(3, "Queued"), job(4, "Queued")]
    decided = plan(jobq(2), observed(one=jobs(*here)), ledger(one=entry(5, filled=5)))
    assert pending_cancels(decided) == [name_of(4), name_of(3)]
    assert len(messages(decided)) == 1


def test_the_entry_closes_when_so_many_have_ended_since():
    known = ledger(one=entry(6, filled=2, waves=(told(4),)))
    some = plan(jobq(2), observed(one=jobs(*running(3), *left(3, 4, 5))), known)
    assert some.regions["one"].draining == 1
    assert some.ledger.regions["one"].waves[0].count == 4
    all_of_them = plan(jobq(2), observed(one=jobs(*running(2), *left(2, 3, 4, 5))), known)
    assert all_of_them.ledger.regions["one"].waves == ()
    assert (all_of_them.actions, all_of_them.regions["one"].supply) == ((), 2)


def test_who_ended_before_or_never_ran_has_not_answered():
    known = ledger(one=entry(4, filled=2, waves=(told(1),)))
    never_ran = job(3, "Canceled", ended=0.5)
    decided = plan(jobq(1), observed(one=jobs(*running(2), *left(2, minutes_ago=5), never_ran)), known)
    assert decided.regions["one"].draining == 1
    # Nobody is told anew: the message is still on its way to one of them.
    assert (messages(decided), decided.ledger.regions["one"].waves) == ([], known.regions["one"].waves)


def test_who_ends_in_the_moment_of_the_message_has_answered():
    known = ledger(one=entry(3, filled=2, waves=(told(1, sent=NOW - MINUTE),)))
    decided = plan(jobq(2), observed(one=jobs(*running(2), *left(2, minutes_ago=1))), known)
    assert decided.regions["one"].draining == 0


def test_who_had_ended_when_the_message_was_sent_has_not_answered_it_whatever_its_clock_says():
    """A service whose clock is ahead tells of ends that are still to come."""
    for minutes_ago in (0, -0.5):
        here = jobs(*running(4), *left(4, minutes_ago=minutes_ago))
        first = plan(jobq(2), observed(one=here), ledger(one=entry(5, filled=5)))
        assert len(messages(first)) == 2
        again = plan(jobq(2), observed(one=here), first.ledger)
        assert (messages(again), again.regions["one"].draining) == ([], 2)
        gone = jobs(*running(2), *left(4, minutes_ago=minutes_ago), *left(2, 3, minutes_ago=minutes_ago - 1))
        answered = plan(jobq(2), observed(one=gone, now=NOW + 2 * MINUTE), first.ledger)
        assert answered.ledger.regions["one"].waves == ()


def test_an_ended_worker_answers_one_wave_only_the_oldest_first():
    old, young = told(2, revision=1, sent=NOW - 10 * MINUTE), told(1, revision=2, sent=NOW - MINUTE)
    assert unanswered([old, young], left(0, minutes_ago=5)) == {"w1": 1, "w2": 1}
    assert unanswered([old, young], left(0, 1, minutes_ago=0.5)) == {"w1": 0, "w2": 1}
    assert unanswered([old, young], left(0, 1, 2, minutes_ago=0.5)) == {"w1": 0, "w2": 0}


def test_who_has_answered_one_wave_never_becomes_an_answer_to_the_next_one():
    """The first wave is answered long before the second one: its answer is still its own then."""
    old, young = told(1, revision=1, sent=NOW - 10 * MINUTE), told(2, revision=2, sent=NOW - 9 * MINUTE)
    first = left(3, minutes_ago=5)
    one_left = plan(
        jobq(1), observed(one=jobs(*running(3), *first)), ledger(one=entry(4, filled=1, waves=(old, young)))
    )
    two_left = plan(jobq(1), observed(one=jobs(*running(2), *first, *left(2))), one_left.ledger)
    assert two_left.actions == ()
    assert (two_left.regions["one"].supply, two_left.regions["one"].draining) == (1, 1)
    all_left = plan(jobq(1), observed(one=jobs(*running(1), *first, *left(1, 2))), two_left.ledger)
    assert (all_left.actions, all_left.ledger.regions["one"].waves) == ((), ())


def test_ends_that_are_far_ahead_answer_nothing_that_was_said_later():
    """The operator's clock is slow: planning again on the same reading tells nobody else."""
    world = observed(one=jobs(*running(6), *left(6, minutes_ago=-15)))
    first = plan(jobq(5), world, ledger(one=entry(7, filled=6)))
    second = plan(jobq(5), world, first.ledger)
    assert (len(messages(first)), messages(second)) == (1, [])


def test_what_was_not_answered_at_the_deadline_is_told_anew():
    known = ledger(one=entry(4, filled=2, waves=(told(2, deadline=NOW),)))
    decided = plan(jobq(2), observed(one=jobs(*running(4))), known)
    (again,) = decided.ledger.regions["one"].waves
    assert (again.count, again.sent, len(messages(decided))) == (2, NOW, 2)
    waiting = plan(jobq(2), observed(now=NOW - MINUTE, one=jobs(*running(4))), known)
    assert (waiting.actions, waiting.retry_at) == ((), NOW)


def test_nobody_is_taken_back_because_nobody_is_known():
    known = ledger(one=entry(4, filled=2, waves=(told(2),)))
    decided = plan(jobq(4), observed(one=jobs(*running(4))), known)
    assert hires(decided) == [4, 5]
    assert decided.ledger.regions["one"].waves == known.regions["one"].waves


def test_caps_count_those_who_were_told_to_leave():
    known = ledger(one=entry(4, filled=2, waves=(told(2),)))
    wanted = jobq(4, regions=[workforces.region("one", maxReplicas=5)])
    assert hires(plan(wanted, observed(one=jobs(*running(4))), known)) == [4]


def test_no_more_are_counted_as_leaving_than_run():
    """Two were told and have lost their nodes since."""
    known = ledger(one=entry(3, filled=3, waves=(told(3),)))
    here = jobs(*running(1), job(1, "Queued", started=50), job(2, "Queued", started=50))
    numbers = plan(jobq(3), observed(one=here), known).regions["one"]
    assert (numbers.supply, numbers.running, numbers.pending, numbers.draining) == (2, 0, 2, 1)


def test_nobody_is_told_while_the_channel_does_not_work():
    decided = plan(jobq(1), observed(control=None, one=jobs(*running(3))), ledger(one=entry(3)))
    assert (decided.actions, decided.ledger.regions["one"].waves) == ((), ())
    assert decided.regions["one"].waiting == "2 workers cannot be told to leave: the control channel is not ready"


@pytest.mark.parametrize(("replicas", "number"), [(1, 0), (0, 3)])
def test_after_a_lost_status_nobody_is_told_before_the_old_deadline_unless_all_go(replicas, number):
    known = ledger(one=entry(3, restored=NOW - MINUTE))
    assert len(messages(plan(jobq(replicas), observed(one=jobs(*running(3))), known))) == number


def test_cohorts_of_those_who_answered_stay_open_until_the_entry_closes():
    known = ledger(one=entry(600, filled=2, waves=(told(2),), open_cohorts=frozenset({0, 2})))
    gone = [job(number, "Completed", started=50, ended=90) for number in range(1, 256)]
    here = observed(one=jobs(*running(1, first=598), job(599), *left(0), *gone))
    assert 0 in plan(jobq(1), here, known).ledger.regions["one"].open_cohorts


def test_counts_survive_the_way_through_the_status():
    books = ledger(one=entry(6, waves=(told(4),)))
    assert read_ledger(write_ledger(WorkforceStatus(), books)) == books


def test_waves_that_name_nobody_are_merged_among_themselves():
    waves = ()
    for number in range(20):
        waves = add(waves, told(1, revision=number + 1, sent=NOW + number * MINUTE))
    assert len(waves) == 16
    assert sum(each.count for each in waves) == 20
    assert max(each.sent for each in waves) == NOW + 15 * MINUTE


def test_messages_that_were_surely_not_sent_are_taken_off_the_count():
    assert withdrawn([told(4)], "w100", 3)[0].count == 1
    assert withdrawn([told(4)], "w100", 4) == ()
    assert withdrawn([told(4)], "w7", 3)[0].count == 4


def test_the_ends_of_others_bring_supply_back_to_what_is_desired():
    """One crash beside four that leave: five have ended, so that the wave is answered and one is missing."""
    known = ledger(one=entry(6, filled=2, waves=(told(4),)))
    decided = plan(jobq(2), observed(one=jobs(*running(1), *left(1, 2, 3, 4, 5))), known)
    assert decided.regions["one"].supply == 1
    assert decided.ledger.regions["one"].waves == ()
    assert len(hires(decided)) == 1


def test_a_deadline_is_as_long_as_the_spec_says():
    decided = plan(jobq(0, drain={"deadlineSeconds": 120}), observed(one=jobs(*running(1))), ledger(one=entry(1)))
    assert decided.ledger.regions["one"].waves[0].deadline == NOW + timedelta(seconds=120)


def test_a_paused_worker_is_resumed_before_anybody_is_hired_for_those_that_were_told():
    here = jobs(*running(4), job(4, "Paused", started=50))
    known = ledger(one=entry(5, filled=5, waves=(told(4),)))
    decided = plan(jobq(3), observed(one=here), known)
    assert resumed(decided) == [name_of(4)]
    assert hires(decided) == [5, 6]
