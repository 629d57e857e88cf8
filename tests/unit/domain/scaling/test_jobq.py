"""The policy JobQ: every published number, and where it differs on purpose."""

from __future__ import annotations

from workforce_operator.domain.observed import QueueDepth
from workforce_operator.domain.scaling.backlog import Fleet
from workforce_operator.domain.scaling.jobq import propose, published, ramp, step

NO_LIMIT = 1_000_000

PUBLISHED = [
    # tasks, running, tasks per job, most, wanted
    (0, 5, 1, NO_LIMIT, 0),
    (1, 0, 1, NO_LIMIT, 1),
    (10, 0, 1, NO_LIMIT, 1),
    (11, 0, 1, NO_LIMIT, 5),
    (20, 3, 1, NO_LIMIT, 5),
    (21, 0, 1, NO_LIMIT, 10),
    (21, 3, 1, NO_LIMIT, 15),
    (100, 3, 1, NO_LIMIT, 15),
    (101, 0, 1, NO_LIMIT, 10),
    (101, 9, 1, NO_LIMIT, 50),
    (1000, 9, 1, NO_LIMIT, 50),
    (1001, 9, 1, NO_LIMIT, 100),
    (1001, 50, 1, NO_LIMIT, 400),
    (10_001, 99, 1, NO_LIMIT, 1000),
    (50_001, 300, 1, NO_LIMIT, 2000),
    (100_001, 0, 1, NO_LIMIT, 10),
    (100_001, 600, 1, NO_LIMIT, 5000),
    (100_001, 600, 8, NO_LIMIT, 1000),
    (5, 100, 1, NO_LIMIT, 1),
    (88, 0, 8, NO_LIMIT, 5),
    (89, 0, 8, NO_LIMIT, 5),
    (1_000_000, 1000, 1, 300, 300),
    # The two examples of its documentation.
    (1600, 0, 4, NO_LIMIT, 10),
    (1600, 3, 4, NO_LIMIT, 40),
    # What its runs over several regions wanted.
    (5000, 9, 1, NO_LIMIT, 100),
    (5000, 4, 1, NO_LIMIT, 50),
    (1, 12, 1, NO_LIMIT, 1),
    (20, 9, 1, NO_LIMIT, 5),
]


WANTED = {row: row[-1] for row in PUBLISHED}


def test_the_published_numbers():
    assert {row: published(*row[:-1]) for row in PUBLISHED} == WANTED


def test_what_is_proposed_is_what_was_published_as_long_as_the_ramp_takes_nobody_away():
    def proposed(tasks, running, each, most):
        return min(propose(depth(tasks), fleet(running), tasks_per_replica=each, current=0).number, most)

    assert {row: proposed(*row[:-1]) for row in PUBLISHED} == WANTED


def depth(tasks, *, visible=None, waits=True):
    return QueueDepth(tasks, has_visible=waits and tasks > 0, visible=visible)


def fleet(running, *, perhaps=None, supply=None):
    return Fleet(running, running if perhaps is None else perhaps, running if supply is None else supply)


def test_the_ramp_reaches_the_highest_step_in_four_ticks():
    """Ticks of a deep queue, if everybody who was hired runs by the next one."""
    running, reached = 0, []
    for _ in range(4):
        running = propose(depth(1_000_000), fleet(running), tasks_per_replica=1, current=running).number
        reached.append(running)
    assert reached == [10, 110, 1110, 5000]


def test_the_ramp_takes_nobody_away_when_many_workers_lose_their_nodes_at_once():
    """Published, it wanted 10 here, and 990 workers that wait for a new node were cancelled."""
    assert published(10_001, 0, 1, NO_LIMIT) == 10
    assert propose(depth(10_001), fleet(0, supply=1000), tasks_per_replica=1, current=1000).number == 1000


def test_tasks_that_are_being_run_have_their_workers():
    """Published, these 12 tasks wanted 5 workers, however few were left to run them and however idle the new ones."""
    assert published(12, 2, 1, NO_LIMIT) == 5
    proposal = propose(depth(12, waits=False), fleet(2), tasks_per_replica=1, current=5)
    assert proposal.number == 2
    assert proposal.why == "12 tasks / 1 per replica = 12: step 5 of the table; 0 wait and 2 run: 2"


def test_each_task_that_waits_calls_for_one_worker_at_most():
    """A thousand tasks are locked by workers that were lost; two wait."""
    assert published(1002, 9, 1, NO_LIMIT) == 100
    assert propose(depth(1002, visible=2), fleet(1), tasks_per_replica=1, current=0).number == 3


def test_a_region_that_cannot_be_read_may_hold_those_who_run_the_tasks():
    proposal = propose(depth(12, waits=False), fleet(1, perhaps=4), tasks_per_replica=1, current=5)
    assert proposal.number == 4


def test_whoever_may_run_the_tasks_never_raises_a_proposal():
    assert propose(depth(4, waits=False), fleet(0, perhaps=4), tasks_per_replica=1, current=1).number == 1


def test_running_workers_are_too_many_when_the_queue_has_become_short():
    """Published, running workers were never asked to leave; here the number falls, and a drain follows from it."""
    assert propose(depth(9), fleet(40), tasks_per_replica=1, current=40).number == 1


def test_a_proposal_tells_its_arithmetic():
    proposal = propose(depth(1600), fleet(3), tasks_per_replica=4, current=0)
    assert proposal.why == "1600 tasks / 4 per replica = 400: step 50 of the table, ramp 10 × (1 + 3 running) = 40"


def test_steps_begin_after_their_boundary():
    boundaries = [10, 20, 100, 1000, 10_000, 50_000, 100_000]
    assert [step(tasks, 1) for tasks in boundaries] == [1, 5, 15, 50, 400, 1000, 2000]
    assert [step(tasks + 1, 1) for tasks in boundaries] == [5, 15, 50, 400, 1000, 2000, 5000]
    assert [ramp(running) for running in (0, 1, 9)] == [10, 20, 100]
