"""Workers that somebody names: they finish and leave, others take their place, and they are not taken back."""

from dataclasses import replace

import pytest

from jobq.control import Exit
from tests.support.planning import NOW, desired, entry, job, jobs, ledger, name_of, observed, regions, running, wave
from tests.support.workforces import CONTROL
from workforce_operator.api.status import DrainState
from workforce_operator.domain.actions import Hire, SendOrder
from workforce_operator.domain.plan import plan
from workforce_operator.domain.waves import MAX_WAVES, REQUESTED, add


def wanting(*numbers, **spec):
    spec = {"replicas": 3, "control": CONTROL} | spec
    return replace(desired(**spec), drain_requested=frozenset(name_of(number) for number in numbers))


def before(**fields):
    return ledger(one=entry(3, filled=3, share=3, **fields))


def orders(made):
    return [action.job for action in made.actions if isinstance(action, SendOrder)]


def hires(made):
    return [action for action in made.actions if isinstance(action, Hire)]


def test_a_named_worker_is_told_to_leave_and_nobody_else():
    made = plan(wanting(1), observed(one=jobs(*running(3))), before())
    assert orders(made) == [name_of(1)]
    (sent,) = made.ledger.regions["one"].waves
    assert (sent.reason, sent.jobs) == (REQUESTED, frozenset({1}))
    assert "laying off 1 (Requested)" in " ".join(note.message for note in made.notes)


def test_another_worker_takes_its_place_and_it_is_not_taken_back():
    leaving = before(waves=(wave(1, reason=REQUESTED),))
    made = plan(wanting(1), observed(one=jobs(*running(3))), leaving)
    assert len(hires(made)) == 1
    assert [each.reason for each in made.ledger.regions["one"].waves] == [REQUESTED]


def test_another_worker_takes_its_place_at_once_though_one_completed_before_and_no_task_waits():
    earlier = job(3, "Completed", started=120, ended=60)
    known = ledger(one=entry(4, filled=3, share=3))
    world = observed(visible=False, one=jobs(*running(3), earlier))
    first = plan(wanting(1), world, known)
    assert first.ledger.regions["one"].filled == 2
    assert [each.sequence for each in hires(plan(wanting(1), world, first.ledger))] == [4]


def test_another_worker_takes_its_place_at_once_though_others_others_were_laid_off_soon_after_their_start():
    """Their wave is forgotten; their last words say that their ends are no sign of a queue that runs dry."""
    gone = [job(number, "Completed", started=3, ended=0) for number in (3, 4, 5)]
    words = {each.name: Exit(job=each.name, time=NOW, why="drain-finish", exit_code=0) for each in gone}
    known = ledger(one=entry(6, filled=3, share=3, waves=(wave(1, reason=REQUESTED),)))
    world = observed(one=jobs(*running(3), *gone), last_words=words)
    assert len(hires(plan(wanting(1), world, known))) == 1
    assert not hires(plan(wanting(1), replace(world, last_words={}), known))


def test_planning_again_tells_nobody_else():
    world = observed(one=jobs(*running(3)))
    first = plan(wanting(1), world, before())
    again = plan(wanting(1), world, first.ledger)
    assert [each.jobs for each in again.ledger.regions["one"].waves] == [frozenset({1})]


def test_a_name_of_nobody_and_a_job_that_never_ran_change_nothing():
    world = observed(one=jobs(*running(2), job(2, "Queued")))
    made = plan(wanting(2, 77), world, before())
    assert made.ledger.regions["one"].waves == ()
    assert not made.actions


def test_without_a_channel_or_with_workers_that_cannot_be_named_nobody_leaves():
    world = observed(one=jobs(*running(3)))
    assert not plan(wanting(1, control=None), observed(control=False, one=jobs(*running(3))), before()).actions
    assert not plan(wanting(1, control=CONTROL | {"dialect": "JobQ"}), world, before()).actions
    assert not plan(wanting(1), observed(control=None, one=jobs(*running(3))), before()).actions


def test_nothing_is_done_while_suspend_is_hold():
    made = plan(wanting(1, suspend="Hold"), observed(one=jobs(*running(3)), now=NOW), before())
    assert not made.actions


def crowded(*named):
    """As many waves as a region holds, and one more; those of these jobs were named by somebody."""
    waves = ()
    for number in range(MAX_WAVES + 1):
        waves = add(waves, wave(number, revision=100 + number, reason=REQUESTED if number in named else "ScaleDown"))
    return waves


@pytest.mark.parametrize("named", [0, MAX_WAVES - 1, MAX_WAVES])
def test_of_more_waves_than_a_region_holds_all_are_taken_back_but_the_workers_that_somebody_named(named):
    """The waves that were merged are the youngest: the named worker's is among them, beside them, or far from them."""
    everybody = MAX_WAVES + 1
    leaving = ledger(one=entry(everybody, filled=0, share=0, waves=crowded(named)))
    wanted = wanting(named, replicas=everybody, regions=regions(one=40))
    made = plan(wanted, observed(one=jobs(*running(everybody))), leaving)
    (recalled,) = [each for each in made.ledger.regions["one"].waves if each.state is DrainState.RECALLED]
    assert recalled.jobs == frozenset(range(everybody)) - {named}
    assert len(hires(made)) == 1
