"""The policy TasksPerReplica."""

from __future__ import annotations

from tests.support.tables import table
from workforce_operator.domain.observed import QueueDepth
from workforce_operator.domain.scaling.backlog import Fleet
from workforce_operator.domain.scaling.tasks_per_replica import propose

NOBODY = Fleet(0, 0, 0)


@table(("tasks", "each", "wanted"), [(0, 4, 0), (1, 4, 1), (4, 4, 1), (5, 4, 2), (1600, 4, 400)])
def test_as_many_replicas_are_wanted_as_the_tasks_fill(tasks, each, wanted):
    assert propose(QueueDepth(tasks, tasks > 0), NOBODY, tasks_per_replica=each, current=0).number == wanted


@table(("tasks", "wanted"), [(90, 100), (110, 100), (100, 100), (89, 89), (111, 111), (0, 0), (1000, 1000)])
def test_a_backlog_off_the_target_by_a_tenth_changes_nothing(tasks, wanted):
    fleet = Fleet(100, 100, 100)
    assert propose(QueueDepth(tasks, tasks > 0), fleet, tasks_per_replica=1, current=100).number == wanted


def test_tasks_that_are_being_run_count_and_hire_nobody():
    running = Fleet(3, 3, 3)
    assert propose(QueueDepth(6, has_visible=False), running, tasks_per_replica=2, current=3).number == 3
    assert propose(QueueDepth(6, has_visible=False), Fleet(1, 1, 1), tasks_per_replica=2, current=1).number == 1
    assert propose(QueueDepth(7, has_visible=True, visible=1), running, tasks_per_replica=1, current=1).number == 4


@table("tasks", [36, 40, 44])
def test_whoever_would_find_nothing_to_do_is_not_wanted_within_the_tolerance_either(tasks):
    depth = QueueDepth(tasks, has_visible=False, visible=0)
    assert propose(depth, Fleet(3, 3, 10), tasks_per_replica=4, current=10).number == 3


def test_a_proposal_tells_its_arithmetic():
    told = propose(QueueDepth(105, has_visible=True), NOBODY, tasks_per_replica=1, current=100).why
    assert told == "105 tasks / 1 per replica = 105, within 10 % of 100"
