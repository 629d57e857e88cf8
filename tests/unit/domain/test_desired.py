"""What is wanted, by whom and where."""

from __future__ import annotations

from datetime import timedelta

from tests.support.planning import NOW, coordinates, desired, entry, ledger
from tests.support.tables import table
from tests.support.workforces import REGION, region
from workforce_operator.domain.desired import moved_regions, region_places
from workforce_operator.domain.ledger import Ledger


def test_jobs_are_named_after_their_workforce_and_region():
    wanted = desired()
    assert wanted.job_name("one", 7) == f"wf-one-{wanted.hash10('one')}-7"
    assert wanted.job_name("one", 7) == f"{wanted.job_prefix('one')}-7"
    assert wanted.owner == "inst1234/ns/wf"


def test_coordinates_have_defaults_that_are_unique():
    one, two = (coordinates(name) for name in ("one", "two"))
    assert (one.experiment, one.topic) == ("ns-wf-one", "ns-wf-one")
    assert two.experiment == "ns-wf-two"


def test_coordinates_are_taken_from_the_spec():
    given = {
        "subscriptionId": "00000000-0000-0000-0000-000000000001",
        "resourceGroup": "g",
        "workspace": "w",
        "compute": "c",
        "experiment": "e",
        "topic": "t",
        "control": {"serviceBus": {"subscriptionId": REGION["subscriptionId"], "resourceGroup": "g", "namespace": "n"}},
    }
    wanted = desired(regions=[region("one", **given)])
    assert wanted.coordinates(wanted.spec.regions[0]).model_dump(by_alias=True) == given


@table(
    ("spec", "going", "policy"),
    [
        ({}, False, "Drain"),
        ({"control": None}, False, None),
        ({"deletionPolicy": "Cancel"}, False, "Cancel"),
        ({"deletionPolicy": "Orphan", "control": None}, False, "Orphan"),
        ({"deletionPolicy": "Cancel"}, True, "Orphan"),
    ],
)
def test_the_deletion_policy_in_force(spec, going, policy):
    assert desired(going=going, **spec).deletion_policy == policy


def test_a_deletion_deadline_counts_from_when_it_was_asked_for():
    assert desired().deletion_deadline is None
    wanted = desired(deletion_time=NOW, deletionDeadlineSeconds=60)
    assert wanted.deletion_deadline == NOW + timedelta(seconds=60)
    assert wanted.deleting
    assert not desired().deleting


def test_regions_are_looked_at_where_the_ledger_has_them():
    elsewhere = entry(1, coordinates=coordinates("one", workspace="old"))
    gone = entry(1, "gone")
    wanted = desired(regions=[region("one"), region("new")])
    known = ledger(one=elsewhere, gone=gone)
    places = region_places(wanted, known)
    assert set(places) == {"one", "new", "gone"}
    assert places["one"].workspace == "old"
    assert moved_regions(wanted, known) == ("one",)
    assert moved_regions(wanted, Ledger()) == ()
