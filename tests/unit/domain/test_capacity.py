"""What is free in a cluster, counted once."""

from __future__ import annotations

from tests.support.planning import coordinates
from tests.support.tables import table
from workforce_operator.domain.capacity import ClusterCapacity, free_by_region


def cluster(most: int = 40, target: int = 0, running: int = 0, idle: int = 0, quota: bool = False) -> ClusterCapacity:
    return ClusterCapacity(most, target, running, idle, quota)


def test_an_empty_cluster_is_free_up_to_its_maximum():
    assert cluster().free(0) == 40


def test_o8_a_pending_job_whose_node_is_on_its_way_counts_once():
    """ai4s-jobq subtracts it from the maximum as a job and once more as a node."""
    assert cluster(target=5, running=2).free(pending=3) == 35


def test_o8_a_pending_job_that_no_node_was_asked_for_yet_counts_too():
    assert cluster(target=2, running=2).free(pending=3) == 35


def test_o8_what_other_experiments_wait_for_counts_by_the_target_of_the_cluster():
    assert cluster(target=30, running=2).free(pending=3) == 10


def test_nodes_that_other_experiments_use_are_not_free():
    assert cluster(target=40, running=40).free(0) == 0
    assert cluster(target=38, running=38).free(0) == 2


def test_idle_nodes_are_free_for_whom_they_are_not_waited_for():
    assert cluster(target=40, running=30, idle=10).free(0) == 10
    assert cluster(target=40, running=30, idle=10).free(4) == 6


@table(("idle", "pending", "free"), [(0, 0, 0), (3, 1, 2), (1, 5, 0)])
def test_beyond_a_refused_quota_only_idle_nodes_are_free(idle: int, pending: int, free: int):
    assert cluster(target=30, running=10, idle=idle, quota=True).free(pending) == free


def test_a_node_that_runs_a_job_of_ours_is_not_free_although_the_counts_are_older_than_the_job():
    assert cluster(most=1).free(pending=1) == 0
    assert cluster(most=1).free(pending=0, running=1) == 0
    assert cluster(most=3, target=1, running=1).free(pending=0, running=1) == 2
    assert cluster(target=30, running=10, idle=2, quota=True).free(pending=0, running=12) == 0


def test_what_is_free_is_never_less_than_nothing():
    assert cluster(most=2, target=5, running=5).free(9) == 0


def test_regions_that_share_a_cluster_divide_what_is_free_and_count_what_waits_in_both():
    places = {name: coordinates("x", compute=compute) for name, compute in (("a", "CPU"), ("b", "cpu"), ("c", "gpu"))}
    here = {"a": cluster(10), "b": cluster(10), "c": cluster(7)}
    assert free_by_region(here, places, {"a": 1, "b": 2}, {}) == {"a": 4, "b": 3, "c": 7}
    assert free_by_region(here, places, {"a": 1, "b": 2}, {"a": 3, "b": 2, "c": 7}) == {"a": 1, "b": 1, "c": 0}


def test_a_region_that_does_not_tell_is_not_in_the_answer():
    assert free_by_region({}, {"a": coordinates("a")}, {"a": 1}, {}) == {}
