"""Book-keeping of waves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.support.planning import MINUTE, NOW, entry, job, ledger, wave
from workforce_operator.api.spec import DrainMode
from workforce_operator.api.status import DrainState
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.waves import MAX_WAVES, REQUESTED, add, jobs_in, next_revision, settle, wave_id, without

RECALLED = DrainState.RECALLED


def never(_sequence, _revision):
    return False


def test_revisions_come_from_the_clock_when_nothing_is_known():
    assert next_revision(Ledger(), NOW) == (NOW - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_a_clock_that_is_behind_still_gives_a_higher_revision():
    ahead = next_revision(Ledger(), NOW) + 999
    known = ledger(one=entry(5, waves=(wave(1, revision=ahead),)), two=entry(5, waves=(wave(1, revision=7),)))
    assert next_revision(known, NOW) == ahead + 1


def test_a_forgotten_wave_is_not_undercut_after_quick_scaling_over_many_regions():
    """Recalls that are confirmed leave the ledger; the next drain must still have a higher revision than they had.

    Whole seconds fell behind: 84 regions used up 84 of them in one pass, and nodes ignored the drain that followed.
    """
    now, known, highest = NOW, Ledger(), 0
    entries = {f"r{index}": entry(1, f"r{index}") for index in range(84)}
    for _ in range(10):
        first = next_revision(known, now)
        known = ledger(
            **{
                name: replace(each, waves=(wave(0, revision=first + index),))
                for index, (name, each) in enumerate(entries.items())
            }
        )
        highest, now = first + 83, now + timedelta(milliseconds=10)
    assert next_revision(Ledger(), now) > highest


def test_ids_of_waves_are_short_and_tell_revisions_apart():
    assert wave_id(0) == "w0"
    assert wave_id(35) == "wz"
    assert wave_id(36) == "w10"
    assert len({wave_id(number) for number in range(5000)}) == 5000


def test_taking_jobs_out_removes_waves_that_become_empty_and_leaves_others_alone():
    waves = (wave(1, 2, revision=1), wave(3, revision=2), wave(4, revision=3))
    left = without(waves, {1, 3})
    assert [sorted(each.jobs) for each in left] == [[2], [4]]
    assert left[1] is waves[2]


def test_a_job_is_in_one_wave_only():
    waves = add((wave(1, 2, revision=1),), wave(2, revision=2, state=RECALLED))
    assert jobs_in(waves, DrainState.SENT) == {1}
    assert jobs_in(waves, RECALLED) == {2}


def test_a_seventeenth_wave_is_merged_with_the_youngest_under_the_later_deadline():
    waves = tuple(wave(number, revision=number, deadline=NOW + number * MINUTE) for number in range(16))
    late = NOW + timedelta(days=2)
    waves = add((*waves[:15], replace(waves[15], deadline=late)), wave(99, revision=50, deadline=NOW))
    assert len(waves) == MAX_WAVES
    assert waves[-1].jobs == {15, 99}
    assert waves[-1].deadline == late
    assert waves[-1].revision == 50


def test_the_orders_of_merged_waves_are_sent_again_from_the_younger_ones_time():
    waves = tuple(wave(number, revision=number, sent=NOW - (20 - number) * MINUTE) for number in range(16))
    assert add(waves, wave(99, revision=50, sent=NOW))[-1].sent == NOW


def test_waves_of_another_state_are_not_merged_together():
    sent = tuple(wave(number, revision=number) for number in range(16))
    waves = add(sent, wave(99, revision=99, state=RECALLED))
    assert len(waves) == MAX_WAVES
    assert jobs_in(waves, RECALLED) == {99}
    assert jobs_in(waves, DrainState.SENT) == set(range(16))


def test_whatever_kinds_of_waves_there_are_two_of_one_kind_are_merged_and_no_others():
    kinds = [{"mode": mode, "reason": reason} for mode in DrainMode for reason in ("ScaleDown", REQUESTED)]
    kinds.append({"state": RECALLED, "reason": "ScaleUp"})
    waves = ()
    for number in range(50):
        waves = add(waves, wave(number, revision=100 + number, **kinds[number % 5]))
        assert len(waves) <= MAX_WAVES
    for each in waves:
        (index,) = {job % 5 for job in each.jobs}
        assert {key: getattr(each, key) for key in kinds[index]} == kinds[index]
    assert sorted(job for each in waves for job in each.jobs) == list(range(50))


def test_ended_jobs_leave_their_wave():
    assert settle((wave(1, 2),), [job(1, "Completed")], (), never, NOW)[0].jobs == {2}
    assert settle((wave(1),), (), {1}, never, NOW) == ()


def test_a_recall_ends_for_each_job_that_confirms_it():
    waves = (wave(1, 2, state=RECALLED, revision=9),)
    left = settle(waves, (), (), lambda sequence, revision: (sequence, revision) == (1, 9), NOW)
    assert left[0].jobs == {2}


def test_a_drain_does_not_end_because_somebody_reports():
    assert settle((wave(1),), (), (), lambda *_: True, NOW)[0].jobs == {1}


def test_a_recall_is_given_up_after_two_times_to_live():
    recall = wave(1, state=RECALLED, sent=NOW - 30 * MINUTE)
    assert settle((recall,), (), (), never, NOW - MINUTE) == (recall,)
    assert settle((recall,), (), (), never, NOW) == ()
