"""Shares of regions."""

from __future__ import annotations

import pytest

from workforce_operator.domain.placement import Limits, distribute, with_unreadable


def limits(*bounds: tuple[int, int]) -> list[Limits]:
    return [Limits(f"r{number}", least, most) for number, (least, most) in enumerate(bounds)]


@pytest.mark.parametrize(
    ("replicas", "bounds", "shares"),
    [
        (0, [(0, 5), (0, 5)], [0, 0]),
        (5, [(0, 5), (0, 5)], [3, 2]),
        (6, [(0, 5), (0, 5)], [3, 3]),
        (99, [(0, 5), (0, 7)], [5, 7]),
        (8, [(0, 1), (0, 9), (0, 9)], [1, 4, 3]),
        (9, [(6, 9), (0, 9)], [6, 3]),
        (20, [(6, 30), (0, 30)], [10, 10]),
        (5, [(6, 9), (0, 9)], [3, 2]),
        (7, [(3, 9), (4, 9)], [3, 4]),
        (3, [(0, 0), (0, 9)], [0, 3]),
        (4, [], []),
    ],
)
def test_replicas_are_spread_evenly_within_the_bounds(replicas, bounds, shares):
    assert list(distribute(replicas, limits(*bounds)).values()) == shares


def test_a_million_replicas_over_200_regions_take_no_time():
    shares = distribute(1_000_000, limits(*[(0, 100_000)] * 200))
    assert sum(shares.values()) == 1_000_000
    assert max(shares.values()) - min(shares.values()) == 0


def test_an_unreadable_region_keeps_what_it_may_hold_and_the_rest_moves():
    bounds = limits((0, 10), (0, 10))
    assert with_unreadable({"r0": 4, "r1": 4}, bounds, {"r0": 1}) == {"r0": 1, "r1": 7}


def test_an_unreadable_region_that_may_hold_all_of_its_share_moves_nothing():
    shares = {"r0": 4, "r1": 4}
    assert with_unreadable(shares, limits((0, 10), (0, 10)), {"r0": 9}) == shares


def test_an_unreadable_region_lays_nobody_off_elsewhere():
    bounds = limits((0, 10), (5, 10), (0, 1))
    shares = distribute(12, bounds)
    moved = with_unreadable(shares, bounds, {"r0": 0})
    assert all(moved[name] >= shares[name] for name in ("r1", "r2"))


def test_what_no_other_region_has_room_for_stays_away():
    assert with_unreadable({"r0": 5, "r1": 5}, limits((0, 10), (0, 5)), {"r0": 0}) == {"r0": 0, "r1": 5}
