"""The ledger and its ranges."""

from __future__ import annotations

from tests.support.planning import NOW, entry, ledger, wave
from tests.support.tables import table
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.ledger import Ledger, read_ledger, to_ranges, write_ledger


@table(
    ("numbers", "ranges"),
    [([], []), ([3], [(3, 3)]), ([3, 1, 2, 2], [(1, 3)]), ([1, 3, 4, 9], [(1, 1), (3, 4), (9, 9)])],
)
def test_ranges_cover_exactly_the_numbers(numbers, ranges):
    assert to_ranges(numbers) == ranges


def test_an_empty_status_is_an_empty_ledger():
    assert read_ledger(WorkforceStatus()) == Ledger()


def test_what_is_written_is_read_back():
    known = ledger(one=entry(300, filled=5, hiring=[4], waves=(wave(1, 2, 9),)), two=entry(None, "two"))
    assert read_ledger(write_ledger(WorkforceStatus(), known)) == known


def test_last_known_facts_are_read_back_but_are_no_change_of_intention():
    known = ledger(one=entry(3, reserved=3, unreadable_since=NOW))
    read = read_ledger(write_ledger(WorkforceStatus(), known)).regions["one"]
    assert (read.reserved, read.unreadable_since) == (3, NOW)
    assert ledger(one=entry(3)) == known


def test_a_status_does_not_grow_with_its_jobs():
    many = ledger(one=entry(100_000, waves=(wave(*range(50_000)),), open_cohorts=frozenset(range(390))))
    text = write_ledger(WorkforceStatus(), many).model_dump_json(by_alias=True, exclude_none=True)
    assert len(text) < 1500
