"""Placement over any regions: what never happens, and the exact divisions against their slow definitions."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.planning import job
from workforce_operator.api.spec import Strategy
from workforce_operator.domain.counting import Count
from workforce_operator.domain.placement.even import Slot, lowered, raised
from workforce_operator.domain.placement.shares import even_shares, place
from workforce_operator.domain.placement.sites import Placement, Site, Why

strategies = st.sampled_from(list(Strategy))


@st.composite
def slots(draw: st.DrawFn) -> list[Slot]:
    bounds = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 7)), max_size=6))
    return [Slot(f"s{number}", min(a, b), max(a, b), weight) for number, (a, b, weight) in enumerate(bounds)]


@st.composite
def any_count(draw: st.DrawFn, region: str) -> Count:
    pending, running, unread = (draw(st.integers(0, 5)) for _ in range(3))
    ages = draw(st.lists(st.integers(1, 50), min_size=pending, max_size=pending))
    return Count(
        pending=tuple(job(20 + number, "Queued", region=region, created=age) for number, age in enumerate(ages)),
        running=tuple(job(number, region=region) for number in range(running)),
        unread=frozenset(range(40, 40 + unread)) if draw(st.booleans()) else frozenset(),
    )


@st.composite
def sites(draw: st.DrawFn, *, readable: bool = False, free: bool = True) -> list[Site]:
    """Regions in any state that a pass may find."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        name, seen = f"r{number}", readable or draw(st.sampled_from([True, True, True, False]))
        least, most = sorted((draw(st.integers(0, 4)), draw(st.integers(0, 9))))
        found.append(
            Site(
                name,
                least,
                most,
                share=draw(st.none() | st.integers(0, 9)),
                count=draw(any_count(name)) if seen else None,
                held=None if seen else draw(st.none() | st.integers(0, 9)),
                back=draw(st.integers(0, 3)) if seen else 0,
                free=draw(st.none() | st.integers(-2, 9)) if free else None,
                trials=draw(st.sampled_from([None, None, 0, 1])) if free else None,
                unhired=draw(st.integers(0, 3)) if free else 0,
                queued=draw(st.integers(0, 2)) if free else 0,
                cooling=draw(st.booleans()),
                priority=draw(st.integers(-1, 1)),
                weight=draw(st.integers(1, 3)),
                hourly_cost=draw(st.none() | st.sampled_from([Decimal(1), Decimal("2.5")])),
            )
        )
    return found


def wanted_of(data: st.DataObject, regions: list[Site]) -> int:
    return data.draw(st.integers(0, sum(each.most for each in regions)))


def again(answer: Placement, regions: list[Site]) -> list[Site]:
    """The same regions with the shares that were decided; nothing has been done about them yet."""
    return [
        replace(each, share=answer.shares[each.name], held=None, back=0, unhired=0, queued=0, cooling=True)
        for each in regions
    ]


@given(st.integers(0, 60), slots())
def test_raising_is_as_if_each_step_went_to_the_least_for_its_weight(amount: int, given_slots: list[Slot]):
    slow = {slot.name: slot.start for slot in given_slots}
    for _ in range(amount):
        room = [slot for slot in given_slots if slow[slot.name] < slot.end]
        if room:
            slow[min(room, key=lambda slot: Fraction(slow[slot.name] + 1, slot.weight)).name] += 1
    assert raised(amount, given_slots) == slow


@given(st.integers(0, 60), slots())
def test_lowering_is_as_if_each_step_came_from_the_largest(amount: int, given_slots: list[Slot]):
    slow = {slot.name: slot.end for slot in given_slots}
    for _ in range(amount):
        above = [slot for slot in reversed(given_slots) if slow[slot.name] > slot.start]
        if above:
            slow[max(above, key=lambda slot: slow[slot.name]).name] -= 1
    assert lowered(amount, given_slots) == slow


@given(st.integers(0, 60), sites(readable=True))
def test_even_shares_are_as_if_each_replica_in_turn_went_to_the_emptiest_region(replicas: int, regions: list[Site]):
    replicas = min(replicas, sum(each.most for each in regions))
    enough = replicas >= sum(each.least for each in regions)
    slow = {each.name: each.least if enough else 0 for each in regions}
    while sum(slow.values()) < replicas:
        room = [each for each in regions if slow[each.name] < each.most]
        slow[min(room, key=lambda each: slow[each.name]).name] += 1
    assert even_shares(replicas, regions) == slow


@given(sites(), strategies, st.data())
def test_rule_2_no_share_is_above_the_maximum_of_its_region(regions: list[Site], strategy: Strategy, data: Any):
    answer = place(wanted_of(data, regions), regions, strategy)
    assert all(0 <= answer.shares[each.name] <= each.most for each in regions)


@given(sites(), strategies, st.data())
def test_shares_add_up_to_what_is_wanted_but_for_what_is_told(regions: list[Site], strategy: Strategy, data: Any):
    wanted = wanted_of(data, regions)
    answer = place(wanted, regions, strategy)
    assert sum(answer.shares.values()) == wanted - answer.unplaced + answer.postponed
    assert not (answer.postponed and all(each.readable for each in regions))


@given(sites(readable=True, free=False), strategies, st.data())
def test_rule_8_where_everything_is_known_all_that_is_wanted_has_a_place(
    regions: list[Site], strategy: Strategy, data: Any
):
    assert place(wanted_of(data, regions), regions, strategy).unplaced == 0


@given(sites(), strategies, st.data())
def test_rule_5_placing_again_changes_nothing(regions: list[Site], strategy: Strategy, data: Any):
    wanted = wanted_of(data, regions)
    first = place(wanted, regions, strategy)
    second = place(wanted, again(first, regions), strategy)
    assert second.shifts == ()
    assert second.shares == first.shares


@given(sites(), strategies, st.data())
def test_every_change_has_a_reason(regions: list[Site], strategy: Strategy, data: Any):
    answer = place(wanted_of(data, regions), regions, strategy)
    for each in regions:
        told = sum(shift.change for shift in answer.shifts if shift.region == each.name)
        known = each.share if each.share is not None else 0
        if each.readable or each.share is not None:
            assert known + told == answer.shares[each.name]


@given(sites(), strategies, st.data())
def test_rule_1_an_unreadable_region_loses_only_what_it_surely_does_not_hold(
    regions: list[Site], strategy: Strategy, data: Any
):
    answer = place(wanted_of(data, regions), regions, strategy)
    for each in regions:
        if not each.readable and each.share is not None:
            kept = min(each.share, each.most)
            assert answer.shares[each.name] == (kept if each.held is None else min(kept, each.held))


@given(sites(), strategies, st.data())
def test_rule_1_laying_off_leaves_what_is_wanted_without_the_regions_that_cannot_be_read(
    regions: list[Site], strategy: Strategy, data: Any
):
    wanted = wanted_of(data, regions)
    answer = place(wanted, regions, strategy)
    chosen = {shift.region for shift in answer.shifts if shift.why is Why.SHRINK}
    running = [each for each in regions if each.name in chosen and answer.shares[each.name] < each.supply]
    if running:
        known = sum(answer.shares[each.name] for each in regions if each.readable)
        assert known == wanted


@given(sites(readable=True), strategies, st.data())
def test_a_minimum_is_had_where_all_of_them_can_be(regions: list[Site], strategy: Strategy, data: Any):
    wanted = wanted_of(data, regions)
    answer = place(wanted, regions, strategy)
    if wanted >= sum(each.least for each in regions):
        assert all(answer.shares[each.name] >= each.least for each in regions if each.trials != 0)


@given(sites(readable=True, free=False), strategies, st.data())
def test_rule_3_no_running_worker_is_given_up_while_a_job_of_any_region_waits_for_a_node(
    regions: list[Site], strategy: Strategy, data: Any
):
    regions = [replace(each, least=0, share=min(each.supply, each.most), most=9) for each in regions]
    supply = sum(each.share or 0 for each in regions)
    answer = place(data.draw(st.integers(0, supply)), regions, strategy)
    gives_running = any(
        each.count is not None and answer.shares[each.name] < min(len(each.count.running), each.share or 0)
        for each in regions
    )
    keeps_pending = any(
        each.count is not None and answer.shares[each.name] > len(each.count.running) for each in regions
    )
    assert not (gives_running and keeps_pending)


@given(sites(readable=True), strategies, st.data())
def test_without_a_change_of_what_is_wanted_nobody_is_touched(regions: list[Site], strategy: Strategy, data: Any):
    """Each region holds its share, minimums are had: whatever else the regions say, nothing moves."""
    settled = [
        replace(
            each, least=0, share=each.count.supply, count=replace(each.count, unread=frozenset()), most=20, queued=0
        )
        for each in regions
        if each.count is not None
    ]
    wanted = sum(each.share or 0 for each in settled)
    assert place(wanted, settled, strategy).shifts == ()


@given(sites(), strategies, st.data())
def test_rule_7_only_what_was_not_hired_leaves_an_open_circuit_and_only_if_it_can_be_read(
    regions: list[Site], strategy: Strategy, data: Any
):
    answer = place(wanted_of(data, regions), regions, strategy)
    left = {shift.region: -shift.change for shift in answer.shifts if shift.why is Why.CIRCUIT}
    for each in regions:
        if each.name in left:
            assert each.readable
            assert each.trials == 0
            assert left[each.name] <= each.unhired


@given(sites(), strategies, st.data())
def test_rule_7_jobs_move_only_to_nodes_that_are_known_to_be_free(regions: list[Site], strategy: Strategy, data: Any):
    answer = place(wanted_of(data, regions), regions, strategy)
    moves = {shift.region: shift.change for shift in answer.shifts if shift.why is Why.QUEUED}
    assert sum(moves.values()) == 0
    for each in regions:
        change = moves.get(each.name, 0)
        assert -change <= each.queued
        if change > 0:
            assert each.readable
            assert (each.cooling, each.queued) == (False, 0)
            assert each.trials != 0
            assert change <= (each.free or 0)


@given(st.integers(0, 60), st.lists(st.integers(0, 12), min_size=1, max_size=6))
def test_rule_9_the_division_by_free_nodes_loses_no_remainder_and_promises_no_node_twice(amount: int, free: list[int]):
    regions = [Site(f"r{number}", 0, 99, share=0, count=Count(), free=each) for number, each in enumerate(free)]
    answer = place(amount, regions, Strategy.CAPACITY_AWARE)
    assert sum(answer.shares.values()) == min(amount, sum(free))
    assert all(answer.shares[each.name] <= each.free for each in regions)


@given(sites(), strategies, st.data())
def test_growth_respects_what_is_known_to_be_free(regions: list[Site], strategy: Strategy, data: Any):
    answer = place(wanted_of(data, regions), regions, strategy)
    for each in regions:
        grown = sum(shift.change for shift in answer.shifts if shift.region == each.name and shift.why is Why.GROWTH)
        if each.free is not None:
            assert grown <= max(0, each.free)
