"""How long a failing worker's replacement waits, over so many failures that their names fill several cohorts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jobq.names import cohort
from tests.support.planning import MINUTE, NOW, TEMPLATE, desired, entry, hires, job, jobs, ledger, observed, regions
from tests.support.tables import table
from workforce_operator.api.spec import FailurePolicy
from workforce_operator.domain.ledger import Row
from workforce_operator.domain.observed import Outcome
from workforce_operator.domain.plan import plan
from workforce_operator.domain.replace import COMPLETED_BASE, COMPLETED_MOST

LIFE = timedelta(seconds=20)
POLICY = FailurePolicy()


def waits(outcome, rounds, *, width=1, policy=POLICY, before=()):
    """What passes between the ends of all workers and the next hires; lists show the open cohorts only."""
    wanted = desired(replicas=width, regions=regions(one=width), failurePolicy=policy.model_dump(by_alias=True))
    known = ledger(one=entry(len(before), share=width, filled=len(before)))
    now, ended, found = NOW, list(before), []
    while len(found) < rounds:
        listed = [each for each in ended if cohort(each.sequence) in known.regions["one"].open_cohorts]
        decided = plan(wanted, observed(now=now, one=jobs(*listed)), known)
        known = decided.ledger
        if not hires(decided):
            now = max(decided.retry_at or now, now + timedelta(seconds=1))
            continue
        found += [now - ended[-1].ended] if len(ended) > len(before) else []
        began, now = now, now + LIFE
        ended += [replace(job(each, outcome), created=began, started=began, ended=now) for each in hires(decided)]
    return found


def doubling(first, most, rounds):
    return [min(first * (1 << number), most) for number in range(rounds)]


def test_a_wait_that_has_grown_does_not_begin_anew_when_a_cohort_is_full():
    policy = FailurePolicy(backoff_base_seconds=1, backoff_max_seconds=900)
    grown = waits("Failed", 290, policy=policy)
    assert grown[0] < timedelta(seconds=5)
    assert min(grown[20:]) >= timedelta(seconds=900)


@table("width", [1, 30, 100, 300])
def test_the_wait_of_workers_that_complete_at_once_grows_to_the_longest_however_many_they_are(width):
    assert waits("Completed", 12, width=width) == doubling(COMPLETED_BASE, COMPLETED_MOST, 12)


def test_it_does_not_begin_anew_when_a_cohort_is_full_either():
    assert min(waits("Completed", 290)[8:]) >= COMPLETED_MOST


@table("width", [100, 300])
def test_nor_while_a_worker_that_lives_keeps_old_ends_in_the_list(width):
    """The one long task at the tail; those who lasted did so before the row began."""
    lasting = [
        job(0, started=5000),
        *(job(number, "Completed", started=4000, ended=3000) for number in range(1, width)),
    ]
    assert waits("Completed", 10, width=width, before=lasting) == doubling(COMPLETED_BASE, COMPLETED_MOST, 10)


def remembered(outcome="Completed", replaced=500, template=None, minutes_ago=5, **fields):
    row = Row(Outcome(outcome), template or TEMPLATE, replaced, NOW - minutes_ago * MINUTE)
    return ledger(one=entry(11, share=1, **{"filled": 1, "row": row} | fields))


def wait(known, *listed, replicas=1):
    decided = plan(desired(replicas=replicas), observed(one=jobs(*listed)), known)
    return decided.retry_at - NOW if decided.retry_at else timedelta(0)


LAST = job(10, "Completed", started=2, ended=0)


def test_it_begins_anew_after_a_worker_that_lasted():
    assert wait(remembered(), LAST) == COMPLETED_MOST
    assert wait(remembered(), job(9, "Completed", started=60, ended=3), LAST) == COMPLETED_BASE
    assert wait(remembered(), job(9, "Completed", started=60, ended=8), LAST) == COMPLETED_MOST
    lives = job(9, started=14)
    assert wait(remembered(filled=2), lives, LAST, replicas=2) == COMPLETED_BASE
    assert wait(remembered(filled=2), replace(lives, started=NOW - 16 * MINUTE), LAST, replicas=2) == COMPLETED_MOST


def test_it_begins_anew_with_another_outcome_and_template():
    failed = job(10, "Failed", started=2, ended=0)
    assert wait(remembered(), failed) == timedelta(seconds=POLICY.backoff_base_seconds)
    assert wait(remembered("Failed"), failed) == timedelta(seconds=POLICY.backoff_max_seconds)
    assert wait(remembered(template="v1:another"), LAST) == COMPLETED_BASE


def test_neither_a_cancelled_worker_nor_growth_ends_it():
    cancelled = job(10, "Canceled", started=2, ended=1)
    for replicas in (1, 2):
        decided = plan(desired(replicas=replicas), observed(one=jobs(cancelled)), remembered())
        assert len(hires(decided)) == replicas
        assert decided.ledger.regions["one"].row == remembered().regions["one"].row


def test_planning_again_with_what_was_remembered_counts_nobody_twice():
    earlier = job(10, "Completed", started=90, ended=89)
    first = plan(desired(replicas=1), observed(one=jobs(earlier)), remembered(minutes_ago=100))
    assert first.ledger.regions["one"].row.replaced == 501
    again = plan(desired(replicas=1), observed(one=jobs(earlier, absent=(11,))), first.ledger)
    assert again.ledger.regions["one"].row == first.ledger.regions["one"].row
