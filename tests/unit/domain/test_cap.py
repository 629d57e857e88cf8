"""The cap over all regions: `autoscaling.maxReplicas` counts everybody who lives or may live."""

from __future__ import annotations

from dataclasses import replace

from tests.support.planning import (
    MINUTE,
    NOW,
    desired,
    entry,
    hires,
    job,
    jobs,
    ledger,
    observed,
    orders,
    regions,
    running,
    wave,
    with_tasks,
)
from workforce_operator.domain.actions import Hire
from workforce_operator.domain.circuit import Circuit
from workforce_operator.domain.errors import NOT_FOUND
from workforce_operator.domain.observed import Unknown
from workforce_operator.domain.plan import plan

CHECKPOINT = {"mode": "Checkpoint"}
"""Drains that cannot be taken back, so that more workers are missing than live."""


def scaled(most, *, drain=CHECKPOINT, **limits):
    """As many replicas as the cap allows."""
    scaling = {"policy": "TasksPerReplica", "minReplicas": most, "maxReplicas": most}
    return desired(replicas=None, autoscaling=scaling, drain=drain, regions=regions(**limits))


def decided(wanted, known, *, control=True, **readings):
    return plan(wanted, with_tasks(observed(control=control, **readings), 1000), known)


def by_region(answer):
    found = {}
    for action in answer.actions:
        if isinstance(action, Hire):
            found.setdefault(action.region, []).append(action.sequence)
    return found


def leaving(*numbers, **fields):
    return wave(*numbers, mode="Checkpoint", **fields)


def test_nobody_is_hired_above_the_cap_while_workers_are_leaving():
    known = ledger(one=entry(6, filled=6, share=6, waves=(leaving(2, 3, 4, 5),)))
    answer = decided(scaled(6, one=20), known, one=jobs(*running(6)))
    assert answer.desired == 6
    assert hires(answer) == []
    assert answer.regions["one"].waiting == (
        "autoscaling.maxReplicas 6 leaves no room until workers that still live have ended, in any region"
    )
    three_left = jobs(*running(3), *(job(number, "Completed", ended=0.1, started=50) for number in (3, 4, 5)))
    assert len(hires(decided(scaled(6, one=20), known, one=three_left))) == 3


def test_workers_that_leave_one_region_are_counted_in_the_others():
    known = ledger(
        one=entry(4, filled=4, share=4, waves=(leaving(0, 1, 2, 3),)), two=entry(0, "two", share=4, filled=0)
    )
    answer = decided(scaled(6, one=4, two=20), known, one=jobs(*running(4)), two=jobs())
    assert sum(map(len, by_region(answer).values())) == 2


def test_names_that_could_not_be_read_are_counted_in_all_regions():
    known = ledger(one=entry(6, filled=4, share=4, waves=(leaving(4, 5),)), two=entry(0, "two", share=2, filled=0))
    here = jobs(*running(2), *running(2, first=4), unread=(2, 3))
    assert by_region(decided(scaled(6, one=6, two=20), known, one=here, two=jobs())) == {}
    assert by_region(decided(scaled(7, one=6, two=20), known, one=here, two=jobs())) == {"two": [0]}


def test_workers_that_are_taken_back_take_no_room_from_the_hires_of_another_region():
    known = ledger(one=entry(2, filled=1, share=1, waves=(wave(1),)), two=entry(0, "two", share=4, filled=0))
    here = {"one": jobs(*running(2)), "two": jobs()}
    answer = decided(scaled(6, drain={"mode": "Finish"}, one=2, two=20), known, **here)
    assert orders(answer) == {job(1).name: "accept-new-tasks"}
    assert by_region(answer) == {"two": [0, 1, 2, 3]}


def test_without_autoscaling_replicas_are_made_up_beside_those_who_are_leaving():
    fixed = desired(replicas=6, drain=CHECKPOINT, regions=regions(one=20))
    known = ledger(one=entry(6, filled=2, share=6, waves=(leaving(2, 3, 4, 5),)))
    assert len(hires(plan(fixed, observed(one=jobs(*running(6))), known))) == 4


def test_hires_that_are_under_way_come_before_growth_and_growth_before_replacements():
    """One place is free: three regions would use it."""
    replacement = entry(1, "one", filled=1, share=1)
    grown = entry(0, "two", filled=0, share=1)
    under_way = entry(1, "three", filled=1, share=1, hiring=(0,))
    drained = entry(3, "four", filled=3, share=0, waves=(leaving(0, 1, 2),))
    here = {
        "one": jobs(job(0, "Canceled", ended=30)),
        "two": jobs(),
        "three": jobs(absent=(0,)),
        "four": jobs(*(job(number, region="four", started=50) for number in range(3))),
    }
    wanted = scaled(4, one=1, two=1, three=1, four=9)

    def hired(**without):
        entries = {"one": replacement, "two": grown, "three": under_way, "four": drained} | without
        readings = {name: here[name] if name not in without else jobs() for name in entries}
        return by_region(decided(wanted, ledger(**entries), **readings))

    assert hired() == {"three": [0]}
    assert hired(three=entry(0, "three", share=0)) == {"two": [0]}


def test_hires_that_a_circuit_holds_back_take_no_room_from_another_region():
    circuit = Circuit(5, NOW, NOW + MINUTE, "Denied", "no role")
    known = ledger(
        one=entry(0, share=4, circuit=circuit, filled=4),
        two=entry(0, "two", share=4, filled=4),
        three=entry(4, "three", share=0, waves=(leaving(0, 1, 2, 3),)),
    )
    here = jobs(*(job(number, region="three", started=50) for number in range(4)))
    answer = decided(scaled(8, one=4, two=4, three=9), known, one=jobs(), two=jobs(), three=here)
    assert by_region(answer) == {"two": [0, 1, 2, 3]}


def test_a_region_that_cannot_be_read_counts_with_all_that_it_may_hold():
    wanted = scaled(10, one=20, two=7)
    for fields, room in (({"reserved": 4}, 6), ({}, 3)):
        known = ledger(one=entry(0, share=10), two=entry(4, "two", share=0, **fields))
        assert len(hires(decided(wanted, known, one=jobs(), two=None))) == room


def test_a_region_whose_workspace_does_not_exist_holds_nobody():
    known = ledger(one=entry(0, share=10), two=entry(4, "two", share=0))
    seen = with_tasks(observed(one=jobs(), two=None), 1000)
    gone = replace(seen, regions=dict(seen.regions) | {"two": Unknown(NOT_FOUND, "no such workspace")})
    assert len(hires(plan(scaled(10, one=20, two=7), gone, known))) == 10


def test_workers_that_can_be_taken_back_need_no_room():
    known = ledger(one=entry(6, filled=6, share=6, waves=(wave(2, 3, 4, 5),)))
    answer = decided(scaled(6, drain=None, one=20), known, one=jobs(*running(6)))
    assert set(orders(answer).values()) == {"accept-new-tasks"}
    assert hires(answer) == []
    assert answer.regions["one"].waiting is None


def test_a_hire_that_is_not_wanted_any_more_takes_no_room_from_another_region():
    known = ledger(one=entry(2, filled=2, share=3, hiring=(1,)), two=entry(0, "two", share=0, filled=0))
    here = {"one": jobs(*running(1), absent=(1,)), "two": jobs()}
    answer = decided(scaled(3, one=1, two=2), known, **here)
    assert by_region(answer) == {"two": [0, 1]}


def test_a_hire_that_may_still_arrive_counts_whether_it_is_wanted_or_not():
    known = ledger(one=entry(3, filled=0, share=3, hiring=(0, 1, 2)), two=entry(0, "two", share=0, filled=0))
    moved = ledger(one=entry(3, filled=0, share=0, hiring=(0, 1, 2)), two=entry(0, "two", share=3, filled=0))
    here = {"one": jobs(late=(0, 1, 2)), "two": jobs()}
    assert by_region(decided(scaled(3, one=3, two=3), moved, **here)) == {}
    assert by_region(decided(scaled(3, one=3, two=3), known, **here)) == {"one": [0, 1, 2]}
    assert by_region(decided(scaled(3, one=3, two=3), moved, one=jobs(absent=(0, 1, 2)), two=jobs())) == {
        "two": [0, 1, 2]
    }


def test_a_hire_that_may_still_arrive_is_not_repeated_where_the_cap_has_come_down_since():
    known = ledger(one=entry(4, filled=1, share=1, waves=(leaving(0, 1, 2),)), two=entry(1, "two", share=0))
    here = {"one": jobs(*running(3), late=(3,)), "two": jobs(absent=(0,))}
    assert by_region(decided(scaled(1, one=4, two=4), known, **here)) == {}
    assert by_region(decided(scaled(3, one=4, two=4), known, **here)) == {}
    assert by_region(decided(scaled(4, one=4, two=4), known, **here)) == {"one": [3]}


def test_room_for_a_hire_that_may_still_arrive_is_left_to_those_that_are_wanted():
    known = ledger(
        one=entry(3, filled=0, share=0, hiring=(0, 1, 2)), two=entry(3, "two", share=2, filled=0, hiring=(0, 1, 2))
    )
    here = {"one": jobs(late=(0, 1, 2)), "two": jobs(late=(0, 1, 2))}
    assert by_region(decided(scaled(2, one=0, two=2), known, **here)) == {"two": [0, 1]}


def test_names_under_which_a_hire_may_arrive_are_hired_under_first():
    known = ledger(one=entry(3, filled=3, share=3, hiring=(0, 1)))
    assert by_region(decided(scaled(1, one=3), known, one=jobs(absent=(0,), late=(1, 2)))) == {"one": [1]}
