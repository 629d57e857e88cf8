"""Shares of regions: where they begin, grow and shrink, and that nothing else changes them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from jobq.control import State
from tests.support.planning import NOW, job
from tests.support.tables import table
from workforce_operator.api.spec import Strategy
from workforce_operator.domain.counting import Count
from workforce_operator.domain.observed import Job, LastReport
from workforce_operator.domain.placement.shares import even_shares, place
from workforce_operator.domain.placement.sites import Placement, Site
from workforce_operator.domain.ranking import Ranking


def here(pending: int = 0, running: int = 0, **fields: Any) -> Count:
    """A region's jobs: running ones have the lower sequences, and the youngest pending one the highest."""
    ran = tuple(job(number) for number in range(running))
    waits = tuple(job(running + number, "Queued", created=30 - number) for number in range(pending))
    return Count(pending=waits, running=ran, **fields)


def site(name: str, share: int | None = 0, *, most: int = 99, least: int = 0, **fields: Any) -> Site:
    """A readable region that holds all of its share unless told otherwise."""
    fields.setdefault("count", here(running=share or 0))
    return Site(name, least, most, share, **fields)


def placed(wanted: int, *sites: Site, strategy: str = "Spread", reports: Any = None) -> Placement:
    rankings = {each.name: Ranking(each.count, reports or {}) for each in sites if each.count}
    return place(wanted, sites, Strategy(strategy), rankings)


def shares(wanted: int, *sites: Site, **options: Any) -> list[int]:
    return list(placed(wanted, *sites, **options).shares.values())


def reasons(placement: Placement) -> list[tuple[str, int, str]]:
    return [(shift.region, shift.change, shift.why.value) for shift in placement.shifts]


def said(sequence: int, *, region: str, busy: int = 1, minutes: float = 0, accepting: bool = True) -> LastReport:
    return LastReport.of(
        State(
            job=job(sequence, region=region).name,
            time=NOW,
            busy_slots=busy,
            oldest_task_start=NOW - timedelta(minutes=minutes),
            completed=0,
            failed=0,
            accepting=accepting,
        )
    )


def workers(region: str, *sequences: int, state: str = "Running", age: float = 60) -> tuple[Job, ...]:
    return tuple(job(number, state, region=region, created=age) for number in sequences)


@table(
    ("replicas", "bounds", "expected"),
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
def test_replicas_are_spread_evenly_within_the_bounds(replicas, bounds, expected):
    sites = [site(f"r{number}", least=least, most=most) for number, (least, most) in enumerate(bounds)]
    assert list(even_shares(replicas, sites).values()) == expected
    assert shares(replicas, *sites) == expected
    assert shares(replicas, *sites, strategy="CapacityAware") == expected


def test_a_million_replicas_over_200_regions_are_divided_evenly():
    answer = shares(1_000_000, *(site(f"r{number}", most=100_000) for number in range(200)))
    assert set(answer) == {5000}


# Sticky


def test_without_a_reason_no_share_changes():
    uneven = [site("a", 7), site("b", 1), site("c", 2)]
    for strategy in Strategy:
        answer = placed(10, *uneven, strategy=strategy)
        assert answer == Placement({"a": 7, "b": 1, "c": 2})


def test_a_share_that_is_not_known_begins_at_the_supply_that_is_there():
    answer = placed(6, site("a", None, count=here(running=5)), site("b", None, count=here(running=1)))
    assert answer.shares == {"a": 5, "b": 1}
    assert reasons(answer) == [("a", 5, "Found"), ("b", 1, "Found")]


def test_a_region_that_was_never_read_counts_with_an_even_part():
    assert shares(10, site("a", None, count=None), site("b", None, count=here(running=5))) == [5, 5]


def test_a_worker_too_many_stands_in_for_one_that_is_missing_elsewhere():
    answer = placed(6, site("a", 3, count=here(running=5)), site("b", 3, count=here(running=1)))
    assert answer.shares == {"a": 5, "b": 1}
    assert reasons(answer) == [("b", -2, "Kept"), ("a", 2, "Kept")]


def test_of_those_who_are_too_many_the_cheapest_stand_in():
    dear, cheap = ({"hourly_cost": Decimal(cost), "count": here(running=2)} for cost in (2, 1))
    assert shares(4, site("a", 1, **dear), site("b", 1, **cheap), site("c", 2, count=here(running=1))) == [1, 2, 1]


def test_nobody_stands_in_for_the_minimum_of_a_region_or_beyond_the_maximum_of_another():
    assert shares(6, site("a", 3, count=here(running=5)), site("b", 3, least=3, count=here(running=1))) == [3, 3]
    assert shares(6, site("a", 3, most=4, count=here(running=5)), site("b", 3, count=here(running=1))) == [4, 2]


def test_names_that_could_not_be_read_are_not_missing():
    unread = here(running=1, unread=frozenset({7, 8}))
    assert shares(6, site("a", 3, count=here(running=5)), site("b", 3, count=unread)) == [3, 3]


# minReplicas and maxReplicas


def test_a_raised_minimum_takes_its_replicas_where_they_cost_least():
    answer = placed(10, site("a", 10), site("b", 0, least=3))
    assert answer.shares == {"a": 7, "b": 3}
    assert reasons(answer) == [("b", 3, "MinReplicas"), ("a", -3, "Shrink")]


def test_minimums_apply_only_while_all_of_them_can_be_had():
    sites = site("a", least=3, priority=1), site("b", least=2)
    assert shares(4, *sites, strategy="Priority") == [4, 0]
    assert shares(5, *sites, strategy="Priority") == [3, 2]


def test_a_lowered_maximum_moves_what_is_beyond_it():
    answer = placed(10, site("a", 6, most=2), site("b", 4))
    assert answer.shares == {"a": 2, "b": 8}
    assert reasons(answer) == [("a", -4, "Limit"), ("b", 4, "Growth")]


def test_what_no_region_has_room_for_is_told():
    answer = placed(9, site("a", 2, most=2), site("b", 1, most=3, free=1))
    assert answer.shares == {"a": 2, "b": 2}
    assert answer.unplaced == 5


# Strategies


def test_capacity_aware_divides_growth_as_ai4s_jobq_does():
    def grown(need: int, *free: int) -> list[int]:
        return shares(
            need, *(site(f"r{number}", free=each) for number, each in enumerate(free)), strategy="CapacityAware"
        )

    assert grown(91, 3, 20, -2) == [3, 20, 0]
    assert grown(10, 100, 100, 100) == [4, 4, 2]
    assert grown(46, 10, 50, 200) == [10, 22, 14]
    assert grown(91, 3, 2) == [3, 2]
    assert grown(6, 40, 40) == [3, 3]


def test_capacity_aware_hires_where_nodes_are_free_before_where_nobody_knows():
    unknown = site("a", free=None)
    assert shares(5, unknown, site("b", free=5), strategy="CapacityAware") == [0, 5]
    assert shares(9, unknown, site("b", free=5), site("c", free=0), strategy="CapacityAware") == [4, 5, 0]


def test_without_any_knowledge_capacity_aware_is_even():
    assert shares(7, site("a", 3), site("b", 0), strategy="CapacityAware") == [4, 3]


@table("strategy", list(Strategy))
def test_no_strategy_hires_into_a_cluster_that_is_known_to_be_full(strategy):
    full = site("a", 2, free=0, priority=9, weight=9, hourly_cost=Decimal("0.1"))
    assert shares(6, full, site("b", 2, free=9), strategy=strategy) == [2, 4]


def test_places_that_are_not_hired_yet_use_up_what_is_free():
    waiting = site("a", 5, free=6, count=here(running=1))
    assert waiting.room(5) == 2
    answer = placed(9, waiting)
    assert (answer.shares, answer.unplaced) == ({"a": 7}, 2)


def test_spread_fills_the_emptiest_region_first():
    assert shares(9, site("a", 5), site("b", 1), site("c", 0), strategy="Spread") == [5, 2, 2]


def test_weighted_keeps_the_regions_in_proportion():
    sites = site("a", weight=5), site("b", weight=3), site("c", weight=2)
    assert shares(100, *sites, strategy="Weighted") == [50, 30, 20]
    assert shares(10, *sites, strategy="Weighted") == [5, 3, 2]
    assert shares(1, *sites, strategy="Weighted") == [1, 0, 0]
    assert shares(100, site("a", weight=5, most=20), *sites[1:], strategy="Weighted") == [20, 48, 32]


def test_priority_fills_the_higher_number_first():
    sites = site("a", most=4), site("b", priority=10, most=3), site("c", priority=-1), site("d", most=4)
    assert shares(2, *sites, strategy="Priority") == [0, 2, 0, 0]
    assert shares(9, *sites, strategy="Priority") == [3, 3, 0, 3]
    assert shares(12, *sites, strategy="Priority") == [4, 3, 1, 4]


def test_cheapest_fills_the_cheaper_region_first_and_one_without_a_price_last():
    sites = site("a"), site("b", most=3, hourly_cost=Decimal("1.20")), site("c", most=3, hourly_cost=Decimal("0.9"))
    assert shares(5, *sites, strategy="Cheapest") == [0, 2, 3]
    assert shares(8, *sites, strategy="Cheapest") == [2, 3, 3]


def test_growth_goes_first_to_where_workers_can_be_taken_back():
    answer = placed(8, site("a", 2, back=4), site("b", 2, priority=9), strategy="Priority")
    assert answer.shares == {"a": 6, "b": 2}
    assert reasons(answer) == [("a", 4, "TakenBack")]


def test_no_more_are_taken_back_over_all_regions_than_are_missing():
    answer = placed(7, site("a", 2, back=4, hourly_cost=Decimal("2")), site("b", 2, back=2, hourly_cost=Decimal("1")))
    assert reasons(answer) == [("b", 2, "TakenBack"), ("a", 1, "TakenBack")]
    assert answer.shares == {"a": 3, "b": 4}


def test_nobody_is_placed_where_nothing_can_be_read():
    assert shares(9, site("a", 2, count=None, priority=9), site("b", 2), strategy="Priority") == [2, 7]


# Regions that cannot be read


def test_an_unreadable_region_keeps_its_share_for_a_while():
    assert shares(8, site("a", 4, count=None), site("b", 4)) == [4, 4]


def test_what_an_unreadable_region_surely_does_not_hold_moves_and_does_not_come_back():
    answer = placed(8, site("a", 4, count=None, held=1), site("b", 4))
    assert answer.shares == {"a": 1, "b": 7}
    assert reasons(answer) == [("a", -3, "Unreadable"), ("b", 3, "Growth")]
    assert shares(8, site("a", 1), site("b", 7)) == [1, 7]


def test_what_no_other_region_has_room_for_stays_away():
    answer = placed(10, site("a", 5, count=None, held=0), site("b", 5, most=5))
    assert (answer.shares, answer.unplaced) == ({"a": 0, "b": 5}, 5)


def test_laying_off_counts_a_region_that_cannot_be_read_as_nothing():
    answer = placed(6, site("a", 5, count=None), site("b", 5), site("c", 2))
    assert answer.shares["a"] == 5
    assert answer.shares["b"] + answer.shares["c"] == 6
    assert answer.postponed == 5


def test_places_that_nobody_holds_are_given_up_although_a_region_cannot_be_read():
    assert shares(6, site("a", 5, count=None), site("b", 5, count=here(running=1))) == [5, 1]


# Victims over all regions


def test_places_that_nobody_holds_go_before_any_job():
    answer = placed(6, site("a", 4), site("b", 4, count=here(running=2)))
    assert answer.shares == {"a": 4, "b": 2}
    assert reasons(answer) == [("b", -2, "Shrink")]


def test_places_that_nobody_holds_go_in_the_dearest_region_first_and_evenly_among_equals():
    empty = here()
    dear = site("c", 2, hourly_cost=Decimal("9"), count=empty)
    cheap = [site(name, 4, hourly_cost=Decimal("1"), count=empty) for name in ("a", "b")]
    assert shares(9, *cheap, dear) == [4, 4, 1]
    assert shares(4, *cheap, dear) == [2, 2, 0]


def test_pending_jobs_of_all_regions_go_before_a_running_one_of_any():
    assert shares(5, site("a", 4), site("b", 4, count=here(running=1, pending=3))) == [4, 1]


def test_of_pending_jobs_the_dearest_region_goes_first_then_the_youngest():
    def waiting(region: str, price: str, *ages: float) -> Site:
        jobs = tuple(job(number, "Queued", region=region, created=age) for number, age in enumerate(ages))
        return site(region, len(ages), hourly_cost=Decimal(price), count=Count(pending=jobs))

    sites = waiting("a", "1", 10, 1), waiting("b", "2", 50, 40), waiting("c", "1", 20, 5)
    assert shares(5, *sites) == [2, 1, 2]
    assert shares(3, *sites) == [1, 0, 2]
    assert shares(2, *sites) == [1, 0, 1]


def test_of_running_workers_those_go_that_take_no_tasks_then_idle_ones_then_the_silent_then_the_freshest_task():
    sites = [
        site("a", 2, count=Count(running=workers("a", 0, 1))),
        site("b", 2, count=Count(running=workers("b", 0, 1))),
        site("c", 1, count=Count(running=workers("c", 0))),
    ]
    reports = [
        said(0, region="a", minutes=90),
        said(1, region="a", busy=0),
        said(0, region="b", accepting=False),
        said(1, region="b", minutes=5),
    ]
    heard = {each.job: each for each in reports}
    assert shares(4, *sites, reports=heard) == [2, 1, 1]
    assert shares(3, *sites, reports=heard) == [1, 1, 1]
    assert shares(2, *sites, reports=heard) == [1, 1, 0]
    assert shares(1, *sites, reports=heard) == [1, 0, 0]


@table(("regions", "leaving"), [(2, 1), (2, 5), (3, 1), (3, 7), (5, 4)])
def test_o6_exactly_so_many_leave_as_are_too_many_over_any_number_of_regions(regions: int, leaving: int):
    for count in (here(pending=3), here(running=3)):
        sites = [site(str(number), 3, count=count) for number in range(regions)]
        assert sum(shares(3 * regions - leaving, *sites)) == 3 * regions - leaving


def test_idle_workers_go_in_the_dearest_region_first():
    sites = [
        site(name, 1, hourly_cost=Decimal(price), count=Count(running=workers(name, 0)))
        for name, price in (("a", "2"), ("b", "3"), ("c", "1"))
    ]
    idle = {each.job: each for each in (said(0, region=name, busy=0) for name in "abc")}
    assert shares(2, *sites, reports=idle) == [1, 0, 1]
    assert shares(1, *sites, reports=idle) == [0, 0, 1]


def test_a_region_keeps_its_minimum_and_another_gives_a_running_worker_instead():
    assert shares(4, site("a", 3, least=3, count=here(pending=3)), site("b", 3)) == [3, 1]
    assert shares(2, site("a", 3, least=3, count=here(pending=3)), site("b", 3)) == [0, 2]


def test_workers_that_leave_their_region_anyway_are_not_chosen_twice():
    """A lowered maximum lays two off here; they are not those that the shrink takes."""
    beyond = site("a", 4, most=2, count=here(running=2, pending=2))
    assert shares(3, beyond, site("b", 4, count=here(running=3, pending=1))) == [1, 2]


def test_of_workers_that_are_equally_busy_those_of_the_dearest_region_go_first_but_what_they_lose_counts_more():
    sites = [
        site(name, 1, hourly_cost=Decimal(price), count=Count(running=workers(name, 0)))
        for name, price in (("a", "2"), ("b", "3"), ("c", "1"))
    ]
    equal = {each.job: each for each in (said(0, region=name, minutes=9) for name in "abc")}
    assert shares(2, *sites, reports=equal) == [1, 0, 1]
    assert shares(1, *sites, reports=equal) == [0, 0, 1]
    fresh = said(0, region="c", minutes=1)
    assert shares(2, *sites, reports=equal | {fresh.job: fresh}) == [1, 1, 0]


@table(
    ("fields", "share", "room"),
    [
        ({}, 3, 7),
        ({}, 12, 0),
        ({"free": 5}, 3, 5),
        ({"free": 9}, 3, 7),
        ({"free": 5}, 6, 2),
        ({"free": 5}, 1, 5),
        ({"free": 2}, 6, 0),
        ({"free": -1}, 3, 0),
        ({"trials": 1}, 3, 1),
        ({"trials": 0}, 3, 0),
        ({"free": 5, "trials": 1}, 3, 1),
        ({"free": 0, "trials": 1}, 3, 0),
    ],
)
def test_room_is_what_the_maximum_the_free_nodes_and_the_trials_leave_beyond_jobs_not_hired_yet(
    fields: dict[str, int], share: int, room: int
):
    assert site("one", 3, most=10, **fields).room(share) == room


@table(
    ("fields", "full"),
    [
        ({"free": 0}, True),
        ({"free": 1}, False),
        ({}, False),
        ({"trials": 1, "share": 4}, False),
        ({"free": 0, "trials": 0}, False),
        ({"free": 0, "most": 3}, False),
        ({"free": 0, "count": None}, False),
    ],
    ids=["no node", "a node", "not told", "a trial under way", "an open circuit", "maxReplicas", "unreadable"],
)
def test_a_region_is_full_only_if_nothing_but_its_nodes_keeps_more_from_being_placed(
    fields: dict[str, Any], full: bool
):
    given = {"most": 9, "share": 3, "count": here(running=3)} | fields
    each = Site("one", 0, **given)
    assert each.is_full(each.share or 0) is full


# Open circuits


def test_what_was_not_hired_where_hires_fail_moves_to_where_there_is_room():
    failing = site("a", 5, trials=0, unhired=4, count=here(running=1))
    answer = placed(8, failing, site("b", 3, most=5))
    assert answer.shares == {"a": 3, "b": 5}
    assert reasons(answer) == [("a", -2, "Circuit"), ("b", 2, "Growth")]


def test_rule_7_an_open_circuit_is_placed_anew_only_when_its_region_can_be_read():
    assert shares(8, site("a", 5, trials=0, unhired=4, count=None), site("b", 3)) == [5, 3]


def test_workers_that_waited_for_their_replacement_do_not_move_with_an_open_circuit():
    """Who completed for want of work is no hire that failed: elsewhere it would be hired without work."""
    assert shares(8, site("a", 5, trials=0, unhired=0, count=here(running=1)), site("b", 3)) == [5, 3]


def test_places_leave_an_open_circuit_only_as_far_as_growth_leaves_room():
    assert shares(4, site("a", 2, trials=0, unhired=2, count=here()), site("b", 0, most=3)) == [1, 3]


def test_nobody_more_is_placed_where_the_circuit_is_open_and_one_where_it_is_half_open():
    assert shares(6, site("a", 2, trials=0), site("b", 2)) == [2, 4]
    assert shares(9, site("a", 2, trials=1), site("b", 2, most=3)) == [3, 3]


def test_a_minimum_waits_while_the_circuit_is_open():
    assert shares(4, site("a", 0, least=2, trials=0), site("b", 4)) == [0, 4]


def test_an_open_circuit_keeps_its_minimum():
    assert shares(8, site("a", 5, least=4, trials=0, unhired=5, count=here()), site("b", 3)) == [4, 4]


# Jobs that wait for too long


def test_rule_7_a_job_queued_for_too_long_moves_to_where_nodes_are_free():
    answer = placed(6, site("a", 4, queued=3, count=here(pending=3, running=1)), site("b", 2, free=2))
    assert answer.shares == {"a": 2, "b": 4}
    assert reasons(answer) == [("a", -2, "Queued"), ("b", 2, "Queued")]
    assert answer.moved == {"a"}


@table(
    "other",
    [
        {"free": None},
        {"free": 0},
        {"free": 9, "trials": 0},
        {"free": 9, "cooling": True},
        {"free": 9, "queued": 1},
        {"free": 9, "count": None},
        {"free": 9, "most": 2},
    ],
)
def test_it_moves_nowhere_else(other: dict[str, Any]):
    """Not known to be free, full, failing, cooling down itself, waiting itself, unreadable, at its maximum."""
    assert shares(6, site("a", 4, queued=3, count=here(pending=3, running=1)), site("b", 2, **other)) == [4, 2]


def test_jobs_of_the_dearest_region_move_first_and_minimums_stay():
    dear = site("b", 3, least=2, queued=3, hourly_cost=Decimal(2), count=here(pending=3))
    cheap = site("a", 3, queued=3, hourly_cost=Decimal(1), count=here(pending=3))
    assert shares(8, cheap, dear, site("c", 2, free=2)) == [2, 2, 4]


# What is held back


def test_regions_without_a_free_node_are_named_while_something_has_no_place():
    sites = site("a", 2, free=0), site("b", 2, free=0, quota=True), site("c", 2, most=2)
    answer = placed(9, *sites)
    assert answer.full == {"a": False, "b": True}
    assert placed(6, *sites).full == {}


def test_a_worker_that_is_taken_back_needs_no_free_node():
    assert shares(3, site("a", 1, most=6, free=1, back=1, count=here(running=1))) == [3]
    assert shares(4, site("a", 1, most=6, free=1, back=1, count=here(running=1))) == [3]
