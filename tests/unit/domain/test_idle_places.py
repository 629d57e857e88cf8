"""Replicas that wait for work wait on in another region: an empty queue hires nobody (rule 11)."""

from __future__ import annotations

from dataclasses import replace

from tests.support.planning import MINUTE, NOW, desired, entry, hires, job, jobs, ledger, observed, regions, running
from tests.support.tables import table
from workforce_operator.domain.placement.idle import Place, moved_idle
from workforce_operator.domain.plan import plan

DONE = {
    name: jobs(*(job(number, "Completed", region=name, started=55, ended=40) for number in range(3)))
    for name in ("one", "two")
}
IDLE = ledger(
    one=entry(3, filled=3, share=3, idle=3, reserved=0), two=entry(3, "two", filled=3, share=3, idle=3, reserved=0)
)
LIMITS = {"one": 10, "two": 10}


def decided(*, replicas=6, visible=False, known=IDLE, now=NOW, limits=LIMITS, **readings):
    return plan(
        desired(replicas=replicas, regions=regions(**limits)),
        observed(visible=visible, now=now, **DONE | readings),
        known,
    )


def numbers(answer):
    return {name: (region.share, region.filled, region.idle) for name, region in answer.ledger.regions.items()}


def test_idle_replicas_of_a_region_that_cannot_be_read_wait_on_elsewhere():
    first = decided(one=None)
    later = decided(one=None, known=first.ledger, now=NOW + 5 * MINUTE)
    assert hires(first) == hires(later) == []
    assert numbers(later)["two"] == (6, 6, 6)
    again = decided(known=later.ledger, now=NOW + 6 * MINUTE)
    assert hires(again) == []
    assert numbers(again) == {"one": (0, 0, 0), "two": (6, 6, 6)}


def test_they_are_hired_as_soon_as_a_task_waits():
    first = decided(one=None)
    later = decided(one=None, visible=True, known=first.ledger, now=NOW + 5 * MINUTE)
    assert len(hires(later)) == 6


def test_idle_replicas_of_a_region_that_is_taken_out_or_limited_wait_on_elsewhere():
    removed = decided(limits={"two": 10})
    assert (hires(removed), numbers(removed)) == ([], {"two": (6, 6, 6)})
    limited = decided(limits={"one": 1, "two": 10})
    assert (hires(limited), numbers(limited)) == ([], {"one": (1, 1, 1), "two": (5, 5, 5)})


def test_workers_that_have_just_completed_wait_on_elsewhere_too():
    unaware = ledger(one=entry(3, filled=3, share=3), two=entry(3, "two", filled=3, share=3))
    removed = decided(known=unaware, limits={"two": 10})
    assert (hires(removed), numbers(removed)) == ([], {"two": (6, 6, 6)})
    cancelled = jobs(*(job(number, "Canceled", region="one", started=55, ended=40) for number in range(3)))
    assert len(hires(decided(known=unaware, limits={"two": 10}, one=cancelled))) == 3


def test_idle_replicas_wait_on_in_a_region_of_which_nothing_was_known_before():
    added = decided(limits={"two": 10, "three": 10}, three=jobs())
    assert hires(added) == []
    assert {name: each.idle for name, each in added.ledger.regions.items()} == {"two": 3, "three": 3}
    later = decided(
        limits={"two": 10, "three": 10}, three=jobs(), known=added.ledger, visible=True, now=NOW + 5 * MINUTE
    )
    assert len(hires(later)) == 6


def test_idle_replicas_of_which_only_the_list_of_all_jobs_tells_wait_on_elsewhere():
    listed = decided(known=ledger(one=entry(None), two=entry(None)))
    lost = decided(known=listed.ledger, one=None, now=NOW + MINUTE)
    later = decided(known=lost.ledger, one=None, now=NOW + 6 * MINUTE)
    assert hires(listed) == hires(lost) == hires(later) == []


def test_growth_beside_a_move_is_hired_at_once():
    assert len(hires(decided(replicas=8, limits={"one": 1, "two": 10}))) == 2


PLACES = {
    "nothing moves": ({"a": Place(3, 3, 3, 3)}, {"a": 0}),
    "all idle ones move": ({"a": Place(3, 0, 3, 3), "b": Place(3, 6, 3, 0)}, {"a": 0, "b": 3}),
    "only some were idle": ({"a": Place(3, 0, 3, 2), "b": Place(3, 6, 3, 0)}, {"a": 0, "b": 2}),
    "a region gives up what nobody wants": ({"a": Place(3, 0, 3, 3), "b": Place(3, 3, 3, 0)}, {"a": 0, "b": 0}),
    "growth comes first": ({"a": Place(3, 2, 3, 3), "b": Place(3, 6, 3, 0)}, {"a": 0, "b": 1}),
    "growth comes first where workers live": ({"a": Place(3, 0, 3, 3), "b": Place(3, 8, 5, 0)}, {"a": 0, "b": 1}),
    "a worker stands there already": ({"a": Place(3, 0, 3, 3), "b": Place(3, 6, 6, 0)}, {"a": 0, "b": 0}),
    "a new region": ({"a": Place(4, 0, 4, 4), "b": Place(None, 4, 0, 0)}, {"a": 0, "b": 4}),
}


@table(("places", "moved"), PLACES.values())
def test_a_region_gains_as_many_idle_places_as_others_lose(places, moved):
    assert moved_idle(places) == moved


ENDS = {
    "failed": [job(0, "Failed", started=70, ended=60), job(1, "Completed", started=50, ended=30)],
    "cancelled": [job(0, "Canceled", ended=60), job(1, "Completed", started=50, ended=30)],
}


@table("ended", ENDS.values())
def test_after_a_lost_status_only_who_completed_waits_for_work(ended):
    """The same as where the status is kept: who failed long ago, or was cancelled by somebody, is replaced at once."""
    first = decided(replicas=2, limits={"one": 10}, known=ledger(one=entry(None)), one=jobs(*ended))
    assert hires(first) == []
    second = decided(replicas=2, limits={"one": 10}, known=first.ledger, one=jobs(*ended))
    assert hires(second) == [2]
    assert second.ledger.regions["one"].idle == 1


def test_a_region_that_is_added_again_brings_no_idle_replicas_of_its_earlier_life():
    former = jobs(*(job(number, "Completed", region="two", started=90, ended=40) for number in range(10)))
    known = replace(ledger(one=entry(10, filled=10, share=10)), next_sequence=10)
    answer = decided(replicas=14, limits={"one": 12, "two": 2}, known=known, one=jobs(*running(10)), two=former)
    assert len(hires(answer)) == 2
    assert answer.ledger.regions["one"].idle == 0
