"""When workers fail wherever they run, hiring all but stops until one lasts or the template is edited."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jobq.control import Exit
from tests.support.planning import NOW, TEMPLATE, desired, entry, hires, job, jobs, ledger, name_of, observed, regions
from tests.support.tables import table
from workforce_operator.api.spec import FailurePolicy
from workforce_operator.api.template import Overrides
from workforce_operator.domain.circuit import Circuit
from workforce_operator.domain.plan import plan
from workforce_operator.domain.template import region_template
from workforce_operator.domain.template_backoff import template_backoff
from workforce_operator.domain.template_hash import template_hash

POLICY = FailurePolicy(backoff_base_seconds=60, backoff_max_seconds=600, max_consecutive_failures=5)


def failed(sequence, ago, *, region="one", life=1.0, **more):
    return job(sequence, "Failed", region=region, created=ago + life + 1, started=ago + life, ended=ago, **more)


def run(count, *, ago=0.5):
    """So many failures in a row; the last one ``ago`` minutes ago."""
    return [failed(number, ago + count - 1 - number) for number in range(count)]


def decide(ended, live=(), *, now=NOW, policy=POLICY, words=None):
    return template_backoff(ended, live, words or {}, policy, now)


def test_fewer_failures_than_the_policy_s_leave_the_template_alone():
    assert decide(run(4)) is None
    assert decide(run(5)) is not None
    assert decide(run(2), policy=FailurePolicy(max_consecutive_failures=2)) is not None


@table(("count", "minutes"), [(5, 1), (6, 2), (7, 4), (9, 10), (40, 10)])
def test_each_further_failure_doubles_the_wait_for_the_next_trial(count, minutes):
    ended = run(count, ago=0)
    due = NOW + timedelta(minutes=minutes)
    waiting = decide(ended)
    assert (waiting.allowed, waiting.retry_at, waiting.failures) == (0, due, count)
    assert decide(ended, now=due).allowed == 1
    assert decide(ended, now=due).retry_at is None


def test_a_worker_that_lasted_since_the_first_failure_ends_the_row():
    ended = run(5, ago=2.5)
    assert decide(ended, [job(9, created=90, started=80)]) is not None
    assert decide(ended, [job(9, created=90, started=12.2)]) is None


def test_a_worker_that_completed_ends_the_row_however_short_its_life():
    assert decide([*run(5), job(9, "Completed", started=0.4, ended=0.3)]) is None
    assert decide([*run(5, ago=0.1), job(9, "Completed", started=9, ended=8)]) is not None


def test_a_worker_of_the_same_time_that_outlives_the_failed_ones_ends_the_row():
    others = [failed(number, 3.0) for number in range(5)]
    assert decide(others, [job(9, created=5, started=0.9)]) is not None
    assert decide(others, [job(9, created=5, started=4)]) is None
    assert decide(others, [job(9, created=9, started=4)]) is not None
    # Hired after the first of them is enough.
    earlier = [replace(others[0], created=NOW - timedelta(minutes=9)), *others[1:]]
    assert decide(earlier, [job(9, created=8, started=4)]) is None


def test_failures_that_are_not_the_template_s_fault_do_not_count():
    lost = [replace(each, error_codes=("NodeLost",)) for each in run(8)]
    assert decide(lost) is None
    preempted = {
        name_of(each.sequence): Exit(job=each.name, time=NOW, why="preemption", exit_code=1) for each in run(8)
    }
    assert decide(run(8), words=preempted) is None


def test_workers_that_fail_after_long_work_do_not_count():
    assert decide([failed(number, 1, life=30) for number in range(9)]) is None


def test_while_a_trial_lives_no_other_is_made_until_it_has_waited_for_long():
    ended = run(5, ago=2)
    trial = [job(9, "Queued", created=1)]
    assert decide(ended, trial).allowed == 0
    assert decide(ended, trial, now=NOW + timedelta(minutes=9)).allowed == 1
    assert decide(ended, trial).turn != decide(ended).turn


def test_while_a_trial_runs_no_other_is_made_however_short_the_longest_back_off():
    """It fails, completes or lasts: each of them says what to do."""
    ended = [failed(number, 1.5, life=2) for number in range(5)]
    policy = FailurePolicy(backoff_base_seconds=1, backoff_max_seconds=20)
    trial = job(9, created=1, started=0.9)
    waiting = decide(ended, [trial, job(10, "Queued", created=0.5)], policy=policy)
    assert (waiting.allowed, waiting.retry_at, waiting.trial) == (0, None, trial)
    assert "a trial runs since" in waiting.text
    assert decide(ended, [trial], policy=policy, now=NOW + timedelta(minutes=2)) is None


# In a plan


def fleet(count=5, **spec):
    """Two regions of which one has seen failures, and the Workforce wants twenty."""
    policy = {"backoffBaseSeconds": 60, "maxConsecutiveFailures": 5}
    wanted = desired(replicas=20, regions=regions(one=30, two=30), failurePolicy=policy, **spec)
    books = ledger(one=entry(count, filled=5), two=entry(0, "two"))
    return wanted, books


def test_in_back_off_not_even_growth_is_hired_and_the_condition_s_words_are_there():
    wanted, books = fleet()
    decided = plan(wanted, observed(one=jobs(*run(5)), two=jobs()), books)
    assert hires(decided) == []
    backoff = decided.regions["two"].template_backoff
    assert (backoff.failures, backoff.allowed) == (5, 0)
    assert decided.regions["two"].waiting == "the template is in back-off"
    assert decided.retry_at == backoff.retry_at


def test_when_the_wait_is_over_one_worker_is_tried_over_all_regions():
    wanted, books = fleet()
    ended = run(5, ago=2)
    decided = plan(wanted, observed(one=jobs(*ended), two=jobs()), books)
    assert len(hires(decided)) == 1


def test_trials_go_round_the_regions():
    tried = set()
    for count in (5, 6):
        wanted, books = fleet(count)
        decided = plan(wanted, observed(one=jobs(*run(count, ago=20)), two=jobs()), books)
        tried |= {action.region for action in decided.actions}
    assert tried == {"one", "two"}


def test_no_trial_is_given_to_a_region_that_cannot_hire_now():
    shut = Circuit(3, NOW, NOW + timedelta(hours=1), "Denied", "no role")
    for count in (5, 6):
        wanted, books = fleet(count)
        ended = run(count, ago=20)
        refused = ledger(one=replace(books.regions["one"], circuit=shut), two=books.regions["two"])
        decided = plan(wanted, observed(one=jobs(*ended), two=jobs()), refused)
        assert {action.region for action in decided.actions} == {"two"}


def test_an_edited_template_is_hired_at_once():
    wanted, books = fleet(template={"command": "better", "environment": {"type": "Image", "image": "i"}})
    decided = plan(wanted, observed(one=jobs(*run(5)), two=jobs()), books)
    assert len(hires(decided)) == 20


def test_jobs_of_a_regions_own_template_are_known_by_it():
    """With overrides the hash of a region's jobs is another one, and their failures count all the same."""
    own = {"environmentVariables": [{"name": "A", "value": "b"}]}
    wanted, books = fleet()
    changed = wanted.spec.regions[0].model_copy(update={"overrides": Overrides.model_validate(own)})
    spec = wanted.spec.model_copy(update={"regions": [changed, wanted.spec.regions[1]]})
    wanted = replace(wanted, spec=spec)
    digest = template_hash(region_template(spec, "one"), spec.queue)
    assert digest != TEMPLATE
    failing = [replace(each, template_hash=digest) for each in run(5)]
    assert hires(plan(wanted, observed(one=jobs(*failing), two=jobs()), books)) == []
    assert len(hires(plan(wanted, observed(one=jobs(*run(5)), two=jobs()), books))) == 20


def test_hires_that_were_decided_before_are_held_and_not_forgotten():
    wanted, _ = fleet()
    books = ledger(one=entry(8, filled=8, hiring={5, 6, 7}), two=entry(0, "two"))
    reading = observed(one=jobs(*run(5), absent={5, 6, 7}), two=jobs())
    decided = plan(wanted, reading, books)
    assert hires(decided) == []
    assert decided.ledger.regions["one"].hiring == {5, 6, 7}
    assert plan(wanted, reading, decided.ledger).ledger == decided.ledger


def test_the_jobs_of_the_builders_are_of_the_template_that_is_hired():
    assert job(0).template_hash == TEMPLATE
