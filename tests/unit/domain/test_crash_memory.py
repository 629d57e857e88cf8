"""How long a failing worker's replacement waits, over so many failures that their names fill several cohorts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jobq.names import cohort
from tests.support.planning import NOW, desired, entry, hires, job, jobs, ledger, observed
from workforce_operator.api.spec import FailurePolicy
from workforce_operator.domain.plan import plan
from workforce_operator.domain.replace import COMPLETED_MOST

LIFE = timedelta(seconds=20)


def waits(outcome, failures, policy):
    """What passes between each end and the next hire; lists show the open cohorts only."""
    wanted = desired(replicas=1, failurePolicy=policy.model_dump(by_alias=True))
    known, now, ended, found = ledger(one=entry(0, share=1)), NOW, [], []
    while len(ended) < failures:
        listed = [each for each in ended if cohort(each.sequence) in known.regions["one"].open_cohorts]
        decided = plan(wanted, observed(now=now, one=jobs(*listed)), known)
        known = decided.ledger
        if not hires(decided):
            now = max(decided.retry_at or now, now + timedelta(seconds=1))
            continue
        found += [now - ended[-1].ended] if ended else []
        (sequence,) = hires(decided)
        now += LIFE
        ended.append(replace(job(sequence, outcome), created=now - LIFE, started=now - LIFE / 2, ended=now))
    return found


def test_a_wait_that_has_grown_does_not_begin_anew_when_a_cohort_is_full():
    policy = FailurePolicy(backoff_base_seconds=1, backoff_max_seconds=900)
    grown = waits("Failed", 290, policy)
    assert grown[0] < timedelta(seconds=5)
    assert min(grown[20:]) >= timedelta(seconds=900)


def test_nor_does_that_of_workers_that_complete_at_once():
    grown = waits("Completed", 290, FailurePolicy())
    assert grown[0] < COMPLETED_MOST / 50
    assert min(grown[20:]) >= COMPLETED_MOST
