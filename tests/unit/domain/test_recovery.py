"""After a lost ledger: drains come back from reports, and nobody who may be leaving already counts against another."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobq.control import order_id
from tests.support.planning import (
    MINUTE,
    NOW,
    desired,
    entry,
    job,
    jobs,
    ledger,
    name_of,
    observed,
    orders,
    pending_cancels,
    regions,
    report,
    running,
    wave,
)
from tests.support.tables import table
from workforce_operator.api.status import DrainState
from workforce_operator.domain.actions import Plan
from workforce_operator.domain.ledger import SURVEY_AGAIN, RegionLedger, Wave
from workforce_operator.domain.observed import Job, LastReport
from workforce_operator.domain.plan import plan
from workforce_operator.domain.waves import jobs_in, next_revision, wave_id

RESTORED = NOW - 2 * MINUTE
SENT = 1_700_000_000_000_000


def leaving(sequence: int, *, revision: int = SENT, **changes: Any) -> LastReport:
    drain_id = order_id(wave_id(revision), desired().hash10("one"), sequence)
    return report(sequence, **{"accepting": False, "drain_id": drain_id, "revision": revision} | changes)


def decided(replicas: int, count: int = 5, *reports: LastReport, restored: Any = RESTORED, **spec: Any) -> Plan:
    known = ledger(one=entry(count, filled=count, restored=restored))
    wanted = desired(replicas=replicas, regions=regions(one=20), **spec)
    return plan(wanted, observed(one=jobs(*running(count)), reports={each.job: each for each in reports}), known)


def waves(answer: Plan) -> tuple[Wave, ...]:
    return answer.ledger.regions["one"].waves


def chosen(answer: Plan) -> frozenset[int]:
    return jobs_in(waves(answer), DrainState.SENT)


def known_to_leave(answer: Plan) -> frozenset[int]:
    """Who was found to have been told to leave, whether or not they are to stay now."""
    return frozenset(sequence for each in waves(answer) for sequence in each.jobs)


def first_pass(count: int, **spec: Any) -> Plan:
    return plan(desired(replicas=3, regions=regions(one=20), **spec), observed(one=jobs(*running(count))), ledger())


def test_a_lost_ledger_with_live_workers_says_when_it_began():
    assert first_pass(2).ledger.regions["one"].restored == NOW


def test_a_new_workforce_has_lost_nothing():
    assert first_pass(0).ledger.regions["one"].restored is None


def test_without_control_no_drain_can_have_been_forgotten():
    assert first_pass(2, control=None).ledger.regions["one"].restored is None


def second_list(*listed: Job, replicas: int = 0, before: RegionLedger | None = None, **spec: Any) -> Plan:
    """All jobs are listed once more, a quarter of an hour after none was found."""
    known = ledger(one=before or entry(0, share=0, surveyed=NOW - SURVEY_AGAIN))
    shown = replace(jobs(*listed), complete=True)
    return plan(desired(replicas=replicas, regions=regions(one=20), **spec), observed(one=shown), known)


def test_a_new_ledger_says_when_its_jobs_were_listed():
    assert first_pass(0).ledger.regions["one"].surveyed == NOW
    assert first_pass(2).ledger.regions["one"].surveyed == NOW


def test_all_jobs_are_listed_once_more_a_quarter_of_an_hour_later():
    new = entry(0, surveyed=NOW)
    assert not new.is_due(NOW + SURVEY_AGAIN - timedelta(seconds=1))
    assert new.is_due(NOW + SURVEY_AGAIN)
    assert not entry(0).is_due(NOW + SURVEY_AGAIN)


def test_a_job_that_a_lagging_list_left_out_is_found_by_the_second_one():
    answer = second_list(*running(3))
    after = answer.ledger.regions["one"]
    assert (after.next_sequence, after.open_cohorts, after.surveyed) == (3, {0}, None)
    assert chosen(answer) == {0, 1, 2}


def test_who_was_found_by_the_second_list_may_be_leaving_already():
    assert second_list(*running(3), replicas=2).ledger.regions["one"].restored == NOW
    assert chosen(second_list(*running(3), replicas=2)) == frozenset()
    assert second_list(*running(3), replicas=2, control=None).ledger.regions["one"].restored is None


def test_a_second_list_that_shows_nothing_new_only_ends_the_survey():
    before = entry(3, share=3, filled=3, reserved=3)
    answer = second_list(*running(3), replicas=3, before=replace(before, surveyed=NOW - SURVEY_AGAIN))
    assert answer.ledger.regions["one"] == before
    assert answer.actions == ()


def test_a_second_list_that_is_still_to_come_ends_nothing():
    known = ledger(one=entry(0, share=0, surveyed=NOW))
    answer = plan(desired(replicas=0, regions=regions(one=20)), observed(one=jobs()), known)
    assert answer.ledger.regions["one"].surveyed == NOW


def test_who_is_found_under_an_earlier_name_is_looked_at_like_the_others():
    answer = second_list(
        *running(2, first=3), before=entry(10, share=0, first_sequence=10, surveyed=NOW - SURVEY_AGAIN)
    )
    assert answer.ledger.regions["one"].first_sequence == 3
    assert chosen(answer) == {3, 4}


def test_who_lives_under_an_earlier_name_when_a_region_is_added_again_is_looked_at_like_the_others():
    wanted = desired(replicas=2, regions=regions(one=20))
    answer = plan(wanted, observed(one=jobs(*running(2, first=3))), replace(ledger(), next_sequence=10))
    assert answer.ledger.regions["one"].first_sequence == 3
    assert answer.ledger.regions["one"].next_sequence == 10


def test_a_worker_that_names_our_order_is_in_its_wave_again():
    answer = decided(4, 5, leaving(2))
    (found,) = waves(answer)
    assert (found.id, found.revision, found.jobs) == (wave_id(SENT), SENT, frozenset({2}))
    assert found.deadline == NOW + timedelta(seconds=86_400)
    assert orders(answer) == {name_of(2): "graceful-downscale"}
    assert answer.regions["one"].supply == 4


def test_workers_of_one_wave_are_in_one_wave_again_whenever_they_report():
    first = decided(3, 5, leaving(1))
    known = ledger(one=first.ledger.regions["one"])
    later = {each.job: each for each in (leaving(1), leaving(3))}
    answer = plan(desired(replicas=3, regions=regions(one=20)), observed(one=jobs(*running(5)), reports=later), known)
    (found,) = waves(answer)
    assert found.jobs == {1, 3}


@table(
    "said",
    [
        leaving(2, accepting=True),
        leaving(2, drain_id=None),
        leaving(2, drain_id="somebody-else-s"),
        leaving(2, drain_id=leaving(3).drain_id),
        leaving(2, revision=SENT * 1000),
        leaving(2, minutes_ago=11),
    ],
    ids=["accepts", "by people", "strange", "another's", "of the future", "old"],
)
def test_only_a_drain_that_we_must_have_ordered_is_taken_for_one(said: LastReport):
    assert chosen(decided(5, 5, said)) == frozenset()


@table(("ahead", "taken"), [(-1, {2}), (0, frozenset()), (1, frozenset())])
def test_only_revisions_below_the_one_of_this_pass_can_have_been_given_out(ahead: int, taken: frozenset[int]):
    revision = next_revision(ledger(one=entry(5)), NOW) + ahead
    assert known_to_leave(decided(5, 5, leaving(2, revision=revision))) == taken


@pytest.mark.parametrize(("seconds_ago", "taken"), [(599, {2}), (600, frozenset())])
def test_what_was_said_ten_minutes_ago_may_have_been_taken_back_since(seconds_ago: int, taken: frozenset[int]):
    assert known_to_leave(decided(5, 5, leaving(2, minutes_ago=seconds_ago / 60))) == taken


def test_a_ledger_that_was_never_lost_learns_nothing_from_reports():
    assert chosen(decided(5, 5, leaving(2), restored=None)) == frozenset()


def test_a_recall_under_way_is_not_undone_by_an_old_report():
    known = ledger(one=entry(5, filled=5, restored=RESTORED, waves=(wave(2, state=DrainState.RECALLED),)))
    wanted = desired(replicas=5, regions=regions(one=20))
    answer = plan(wanted, observed(one=jobs(*running(5)), reports={name_of(2): leaving(2)}), known)
    assert chosen(answer) == frozenset()


def test_nobody_who_has_not_spoken_is_chosen():
    answer = decided(3)
    assert chosen(answer) == frozenset()
    assert "forgotten" in (answer.regions["one"].waiting or "")


def test_who_has_spoken_goes_only_as_far_as_the_others_may_all_be_leaving():
    heard = [report(sequence) for sequence in range(4)]
    assert len(chosen(decided(3, 5, *heard))) == 1
    assert len(chosen(decided(3, 5, *heard, report(4)))) == 2


def test_what_was_said_before_the_loss_does_not_count():
    assert chosen(decided(3, 5, *[report(number, minutes_ago=3) for number in range(5)])) == frozenset()


def test_jobs_that_never_ran_go_as_usual():
    known = ledger(one=entry(4, filled=4, restored=RESTORED))
    here = jobs(*running(2), job(2, "Queued"), job(3, "Queued"))
    answer = plan(desired(replicas=1, regions=regions(one=20)), observed(one=here), known)
    assert chosen(answer) == {2, 3}
    assert set(pending_cancels(answer)) == {name_of(2), name_of(3)}


def test_who_never_ran_and_leaves_is_not_too_few_to_let_a_worker_go_that_has_spoken():
    known = ledger(one=entry(5, filled=5, restored=RESTORED))
    here = jobs(*running(4), job(4, "Queued", created=1))
    heard = {name_of(number): report(number) for number in range(3)}
    answer = plan(desired(replicas=3, regions=regions(one=20)), observed(one=here, reports=heard), known)
    assert chosen(answer) == {4}


def test_workers_hired_since_are_chosen_as_usual():
    known = ledger(one=entry(3, filled=3, restored=RESTORED))
    here = jobs(*(job(number, created=1, started=1) for number in range(3)))
    answer = plan(desired(replicas=1, regions=regions(one=20)), observed(one=here), known)
    assert len(chosen(answer)) == 2


def test_nobody_waits_for_reports_where_enough_may_go():
    told = decided(3, 5, *[report(number) for number in range(5)]).regions["one"]
    assert told.waiting is None


def test_where_nobody_is_wanted_everybody_leaves_at_once():
    assert chosen(decided(0)) == frozenset(range(5))


def test_after_the_drain_deadline_all_is_as_usual():
    answer = decided(3, 5, restored=NOW - timedelta(seconds=86_400))
    assert len(chosen(answer)) == 2
    assert answer.ledger.regions["one"].restored is None


def test_a_drain_that_came_back_is_taken_back_before_anybody_is_hired():
    answer = decided(5, 5, leaving(2))
    assert orders(answer) == {name_of(2): "accept-new-tasks"}
    assert jobs_in(waves(answer), DrainState.RECALLED) == {2}
