"""Capacity from a compute's document: what is missing makes it unknown, never zero and never endless."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.support.tables import table
from workforce_operator.adapters.azureml.capacity import capacity_of
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.errors import Unavailable

DOCUMENT: dict[str, Any] = {
    "name": "cluster",
    "properties": {
        "computeType": "AmlCompute",
        "somethingNew": {"a": 1},
        "properties": {
            "scaleSettings": {"maxNodeCount": 100, "minNodeCount": 0},
            "currentNodeCount": 3,
            "targetNodeCount": 5,
            "nodeStateCounts": {"preparingNodeCount": 1, "runningNodeCount": 2, "idleNodeCount": 0},
            "errors": None,
        },
    },
}


def changed(**inner: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    document["properties"]["properties"] |= inner
    return document


def test_node_counts_are_read_and_unknown_fields_are_no_matter():
    assert capacity_of(DOCUMENT, "x") == ClusterCapacity(most=100, target=5, running=2, idle=0)


def test_a_cluster_that_shrinks_still_has_its_nodes():
    assert capacity_of(changed(currentNodeCount=8), "x") == ClusterCapacity(most=100, target=8, running=2, idle=0)


@pytest.mark.parametrize(
    "errors",
    [
        [{"error": {"code": "ClusterCoreQuotaReached", "message": "m"}}],
        [{"error": {"code": "Other"}}, {"code": "QuotaExceeded"}],
    ],
)
def test_a_refused_quota_is_seen_by_its_code(errors: list[Any]):
    found = capacity_of(changed(errors=errors), "x")
    assert found is not None
    assert found.quota


@table("errors", [[], [{"error": {"code": "AllocationFailed"}}], ["text"], "text", {}])
def test_other_errors_are_no_quota(errors: Any):
    found = capacity_of(changed(errors=errors), "x")
    assert found is not None
    assert not found.quota


@table(
    "inner",
    [
        {"scaleSettings": None},
        {"scaleSettings": {"maxNodeCount": "100"}},
        {"currentNodeCount": None},
        {"targetNodeCount": -1},
        {"targetNodeCount": True},
        {"nodeStateCounts": {}},
        {"nodeStateCounts": {"runningNodeCount": 1}},
    ],
)
def test_counts_that_are_missing_or_strange_are_not_taken_for_nothing(inner: dict[str, Any]):
    with pytest.raises(Unavailable):
        capacity_of(changed(**inner), "x")


@table("document", [None, [], {}, {"properties": None}])
def test_an_answer_that_is_no_compute_is_not_taken_for_one(document: Any):
    with pytest.raises(Unavailable):
        capacity_of(document, "x")


def test_a_compute_that_is_no_cluster_does_not_tell():
    assert capacity_of({"properties": {"computeType": "Kubernetes", "properties": {}}}, "x") is None
