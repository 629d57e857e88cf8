"""The ancestor's `Workforce`: one experiment on one cluster of the local AzureML, hired and laid off."""

from __future__ import annotations

from collections import Counter

from tests.interop.conftest import NAMESPACE, Ancestor, LocalCloud, unique, wait_until

NODES = 4


def statuses(cloud: LocalCloud, experiment: str) -> Counter[str]:
    return Counter(job["status"] for job in cloud.jobs(experiment))


def settled(cloud: LocalCloud, experiment: str, **wanted: int) -> None:
    """Wait until an experiment has so many jobs of each status, and no other ones."""
    wait_until(lambda: statuses(cloud, experiment) == Counter(wanted), f"{wanted} of {experiment}")


def test_jobs_are_hired_and_laid_off_one_after_the_other(ancestor: Ancestor, local_cloud: LocalCloud) -> None:
    """ai4s-jobq 3.13.1: `hire`, the states that count, and the order of `lay_off`: queued ones before running ones."""
    experiment = unique("exp")
    call = ancestor.manager({"workspace": "ws-uksouth", "experiment": experiment})
    assert call(0, "get_current_state") == {"num_pending": 0, "num_running": 0}
    call(0, "hire", NODES + 2)
    settled(local_cloud, experiment, Running=NODES, Queued=2)
    assert call(0, "get_current_state") == {"num_pending": 2, "num_running": NODES}
    # Greatest number of nodes, less the nodes that are wanted now, less pending ones: may be negative.
    assert call(0, "get_available_to_hire") == -2
    listed = call(0, "list_jobs")
    assert sorted(job["name"] for job in listed) == sorted(job["name"] for job in local_cloud.jobs(experiment))
    assert {job["cluster"] for job in listed} == {"cluster"}
    call(0, "lay_off", 2)
    settled(local_cloud, experiment, Running=NODES, Canceled=2)
    call(0, "lay_off", NODES)
    settled(local_cloud, experiment, Canceled=NODES + 2)
    assert call(0, "get_current_state") == {"num_pending": 0, "num_running": 0}


def test_jobs_are_hired_and_laid_off_side_by_side(ancestor: Ancestor, local_cloud: LocalCloud) -> None:
    """ai4s-jobq 3.13.1: the parallel forms; they log what fails instead of raising it, so jobs are counted here."""
    experiment = unique("exp")
    call = ancestor.manager({"workspace": "ws-westeurope", "experiment": experiment})
    call(0, "parallel_hire", 3)
    call(0, "parallel_hire_in_batches", 3, batch_size=2, delay=0)
    settled(local_cloud, experiment, Running=NODES, Queued=2)
    detailed = call(0, "get_detailed_state")
    assert (detailed["num_running"], detailed["num_queued"]) == (NODES, 2)
    call(0, "parallel_lay_off", NODES + 2)
    settled(local_cloud, experiment, Canceled=NODES + 2)


def test_scaling_hires_and_lays_off_the_difference(ancestor: Ancestor, local_cloud: LocalCloud) -> None:
    """ai4s-jobq 3.13.1: `scale_to(n)` takes n less running less pending, and lays off only if it is allowed to."""
    experiment = unique("exp")
    call = ancestor.manager({"workspace": "ws-eastus", "experiment": experiment})
    call(0, "scale_to", 3)
    settled(local_cloud, experiment, Running=3)
    call(0, "scale_to", 3)
    call(0, "scale_to", 1, with_layoffs=False)
    settled(local_cloud, experiment, Running=3)
    call(0, "scale_to", 1)
    settled(local_cloud, experiment, Running=1, Canceled=2)
    call(0, "scale_to", 0)
    settled(local_cloud, experiment, Canceled=3)


def test_paused_jobs_are_resumed(ancestor: Ancestor, local_cloud: LocalCloud) -> None:
    """ai4s-jobq 3.13.1: a paused job counts as pending, and is resumed by the studio's execution service."""
    experiment = unique("exp")
    call = ancestor.manager({"workspace": "ws-canadacentral", "experiment": experiment})
    call(0, "hire", 2)
    settled(local_cloud, experiment, Running=2)
    local_cloud.inspect("pause", {"job": local_cloud.jobs(experiment)[0]["name"]})
    settled(local_cloud, experiment, Running=1, Paused=1)
    assert call(0, "get_current_state") == {"num_pending": 1, "num_running": 1}
    call(0, "parallel_resume", 2)
    settled(local_cloud, experiment, Running=2)
    call(0, "parallel_lay_off", 2)
    settled(local_cloud, experiment, Canceled=2)


def test_the_cluster_is_read_with_exactly_the_fields_that_are_allowed(ancestor: Ancestor) -> None:
    """ai4s-jobq 3.13.1: the ancestor's model of a cluster forbids any other field and wants all of these."""
    call = ancestor.manager({"workspace": "ws-eastus", "experiment": unique("exp")})
    cluster = call(0, "get_compute_infos")
    assert cluster["properties"]["properties"]["scaleSettings"]["maxNodeCount"] == NODES


def test_the_control_topic_is_made_once(ancestor: Ancestor) -> None:
    """ai4s-jobq 3.13.1: the constructor asks `az` for topic and subscription, and makes what is not there."""
    topic = unique("topic")
    given = {
        "workspace": "ws-eastus", "experiment": unique("exp"), "servicebus_resource_group": "workforce",
        "servicebus_namespace": NAMESPACE, "servicebus_topic": topic,
    }  # fmt: skip
    ancestor.manager(given, given)
    assert ancestor.waiting_orders(topic) == 0
