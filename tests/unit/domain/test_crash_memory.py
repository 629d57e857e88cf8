"""How long a failing worker's replacement waits, over so many failures that their names fill several cohorts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jobq.names import cohort
from tests.support.planning import NOW, desired, entry, hires, job, jobs, ledger, observed, regions
from tests.support.tables import table
from workforce_operator.api.spec import FailurePolicy
from workforce_operator.domain.plan import plan
from workforce_operator.domain.replace import COMPLETED_BASE, COMPLETED_MOST

LIFE = timedelta(seconds=20)
POLICY = FailurePolicy()


def waits(outcome, rounds, *, width=1, policy=POLICY):
    """What passes between the ends of all workers and the next hires; lists show the open cohorts only."""
    wanted = desired(replicas=width, regions=regions(one=width), failurePolicy=policy.model_dump(by_alias=True))
    known, now, ended, found = ledger(one=entry(0, share=width)), NOW, [], []
    while len(found) < rounds:
        listed = [each for each in ended if cohort(each.sequence) in known.regions["one"].open_cohorts]
        decided = plan(wanted, observed(now=now, one=jobs(*listed)), known)
        known = decided.ledger
        if not hires(decided):
            now = max(decided.retry_at or now, now + timedelta(seconds=1))
            continue
        found += [now - ended[-1].ended] if ended else []
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


def test_it_begins_anew_after_a_worker_that_lasted():
    lasted = job(9, "Completed", started=60, ended=3)
    last = job(10, "Completed", started=2, ended=0)
    known = ledger(one=entry(11, filled=1, share=1, replaced=500))
    waiting = plan(desired(replicas=1), observed(one=jobs(last)), known)
    assert waiting.retry_at == NOW + COMPLETED_MOST
    assert plan(desired(replicas=1), observed(one=jobs(lasted, last)), known).retry_at == NOW + COMPLETED_BASE
    assert plan(desired(replicas=1), observed(one=jobs(lasted)), known).ledger.regions["one"].replaced == 0
