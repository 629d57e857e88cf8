"""Decisions of the election, without a cluster."""

from __future__ import annotations

from tests.support.tables import table
from workforce_operator.adapters.kubernetes.election import (
    DURATION,
    RENEW_DEADLINE,
    RETRY,
    SETTLED_AFTER,
    Decision,
    Record,
    Sighting,
    decide,
    observe,
    settles_after,
    still_held,
)
from workforce_operator.ports.azure import LATE_SECONDS


def test_without_a_lease_one_is_made():
    assert decide("a", None, 0) is Decision.CREATE


def test_our_own_lease_is_renewed():
    assert decide("a", Sighting(Record("a", "1"), 0), 999) is Decision.RENEW


def test_a_lease_that_was_given_back_is_taken_at_once():
    assert decide("a", Sighting(Record("", "1"), 0), 0) is Decision.TAKE


@table(("now", "decision"), [(0, Decision.WAIT), (14.9, Decision.WAIT), (15, Decision.TAKE)])
def test_another_s_lease_is_taken_once_it_has_not_changed_for_as_long_as_it_lasts(now, decision):
    assert decide("a", Sighting(Record("b", "1"), 0), now) is decision


def test_every_change_of_the_lease_starts_the_wait_anew():
    seen = observe(None, Record("b", "1"), 0)
    assert observe(seen, Record("b", "1"), 10) is seen
    assert observe(seen, Record("b", "2"), 10).since == 10


def test_a_leader_may_act_only_for_a_while_after_a_renewal():
    assert not still_held(None, 0)
    assert still_held(100, 100)
    assert not still_held(100, 100 + RENEW_DEADLINE)
    assert not still_held(100, 99), "a clock that goes back is not to be believed"


def test_there_is_time_to_try_several_times_before_giving_up():
    assert RENEW_DEADLINE / RETRY >= 3
    assert DURATION > RENEW_DEADLINE


@table(
    ("found", "seconds"),
    [
        (None, 0),
        (Record("", "1"), 0),
        (Record("a", "1"), LATE_SECONDS),  # a process of the same Pod: it has ended, what it sent perhaps has not
        (Record("b", "1"), SETTLED_AFTER),
    ],
)
def test_whoever_has_not_given_its_lease_back_may_have_writes_on_their_way_for_a_while(found, seconds):
    assert settles_after("a", found) == seconds
