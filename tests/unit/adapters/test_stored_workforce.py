"""Reading the API server's documents."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from workforce_operator.adapters.kubernetes.store import stored_of
from workforce_operator.api.status import WorkforceStatus


def document(**changes):
    metadata = {"name": "md", "namespace": "chem", "uid": "u", "resourceVersion": "7", "generation": 3}
    return {"metadata": metadata | changes.pop("metadata", {}), "spec": {"replicas": 1}, **changes}


def test_a_document_is_read():
    stored = stored_of(
        document(
            metadata={"deletionTimestamp": "2026-01-02T03:04:05Z", "finalizers": ["a", "b"]}, status={"replicas": 4}
        )
    )
    assert stored.deletion_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (stored.generation, stored.resource_version, stored.finalizers) == (3, "7", ("a", "b"))
    assert stored.status.replicas == 4


def test_a_status_that_cannot_be_read_is_a_lost_one_and_is_told():
    with structlog.testing.capture_logs() as logs:
        stored = stored_of(document(status={"regions": [{"name": "uksouth", "nextSequence": "many"}]}))
    assert stored.status == WorkforceStatus()
    assert [entry["workforce"] for entry in logs] == ["md"]


PLACE = {
    "subscriptionId": "s", "resourceGroup": "g", "workspace": "w", "compute": "c", "experiment": "e", "topic": "t",
}  # fmt: skip


def region(name, **changes):
    return {"name": name, "coordinates": PLACE, "nextSequence": 3} | changes


def regions_of(*entries, **changes):
    with structlog.testing.capture_logs() as logs:
        stored = stored_of(document(status={"installationId": "inst1234", "regions": list(entries)} | changes))
    assert len(logs) == 1
    assert stored.status.installation_id == "inst1234"
    return {each.name: each for each in stored.status.regions}


def test_a_region_that_cannot_be_read_has_lost_its_ledger_and_the_others_keep_theirs():
    regions = regions_of(region("one"), region("two", drains=[{"id": "w1", "mode": "Unheard"}]))
    assert regions["one"].next_sequence == 3
    assert regions["two"].next_sequence is None
    assert regions["two"].coordinates.workspace == "w"


def test_a_region_without_a_legible_place_is_forgotten_alone():
    assert list(regions_of(region("one"), region("two", coordinates="there"), "three")) == ["one"]


def test_a_wrong_number_or_condition_costs_no_region_its_ledger():
    regions = regions_of(region("one"), queueLength="many", conditions=[{"type": "Ready"}])
    assert regions["one"].next_sequence == 3


def test_an_object_without_spec_and_status_is_read_all_the_same():
    stored = stored_of({"metadata": document()["metadata"]})
    assert (dict(stored.spec), stored.status) == ({}, WorkforceStatus())


def test_the_workers_that_somebody_wants_to_have_drained_are_read_from_the_annotation():
    annotations = {"workforce.dev/drain": " md-0, md-1,,"}
    assert stored_of(document(metadata={"annotations": annotations})).drain_requested == {"md-0", "md-1"}
    assert stored_of(document(metadata={"annotations": None})).drain_requested == frozenset()
