"""When ended workers are replaced."""

from __future__ import annotations

from datetime import timedelta

from tests.support.planning import NOW, TEMPLATE, job
from tests.support.tables import table
from workforce_operator.api.spec import FailurePolicy
from workforce_operator.domain.observed import Known, QueueDepth, Unknown
from workforce_operator.domain.replace import evidence, gate

WORK = Known(QueueDepth(5, has_visible=True), NOW)
NO_WORK = Known(QueueDepth(0, has_visible=False), NOW)


def decide(replacements, ended, *, queue=WORK, desired=1, drained=(), now=NOW, **more):
    return gate(replacements, ended, drained=frozenset(drained), desired=desired, queue=queue, now=now, **more)


def test_nothing_to_replace_waits_for_nothing():
    answer = decide(0, [job(0, "Failed", started=1, ended=0)])
    assert (answer.allowed, answer.held, answer.waiting) == (0, 0, None)


def test_a_worker_that_completed_after_long_work_is_replaced_at_once_when_work_is_visible():
    assert decide(1, [job(0, "Completed", started=60, ended=0)]).allowed == 1


def test_a_worker_that_completed_is_not_replaced_while_no_work_is_visible():
    answer = decide(1, [job(0, "Completed", started=60, ended=30)], queue=NO_WORK)
    assert (answer.allowed, answer.held, answer.idle) == (0, 1, True)
    assert answer.waiting == "who has left is not replaced while no task waits in the queue"


def test_a_worker_that_completed_is_not_replaced_while_the_queue_is_unknown():
    answer = decide(1, [job(0, "Completed", started=60, ended=30)], queue=Unknown("Unavailable"))
    assert (answer.allowed, answer.held, answer.idle, answer.blind) == (0, 1, False, 1)


def test_a_worker_that_completed_after_the_queue_was_read_is_not_replaced_before_it_is_read_again():
    before = Known(QueueDepth(5, has_visible=True), NOW - timedelta(minutes=2))
    answer = decide(1, [job(0, "Completed", started=60, ended=1)], queue=before)
    assert (answer.allowed, answer.held, answer.idle, answer.outdated, answer.retry_at) == (0, 1, True, True, NOW)
    assert answer.waiting == "who has left is not replaced before the queue has been read again"
    assert decide(1, [job(0, "Completed", started=60, ended=3)], queue=before).allowed == 1
    # The service's clock may be ahead of ours.
    assert decide(1, [job(0, "Completed", started=60, ended=-1)], queue=before).allowed == 1


def test_a_worker_that_others_cancelled_is_replaced_at_once_without_visible_work():
    assert decide(1, [job(0, "Canceled", ended=0)], queue=NO_WORK).allowed == 1


def test_replacements_without_an_ended_job_to_judge_by_are_hired():
    assert decide(3, [job(0, "Completed", started=60, ended=30)], queue=NO_WORK).allowed == 2


def test_only_the_most_recently_ended_jobs_decide():
    ended = [job(0, "Canceled", ended=1), job(1, "Completed", started=90, ended=30)]
    assert decide(1, ended, queue=NO_WORK).allowed == 1
    assert decide(2, ended, queue=NO_WORK).allowed == 1


def test_a_drained_jobs_end_says_nothing():
    ended = [job(0, "Completed", started=60, ended=1)]
    assert decide(1, ended, queue=NO_WORK, drained={0}).allowed == 1


@table(("failures", "seconds"), [(1, 10), (2, 20), (3, 40), (6, 320), (7, 600), (40, 600)])
def test_failures_in_a_row_double_the_wait_up_to_ten_minutes(failures, seconds):
    ended = [job(number, "Failed", started=number + 2, ended=number + 1) for number in range(failures)]
    retry_at = NOW - timedelta(minutes=1) + timedelta(seconds=seconds)
    before = decide(1, ended, now=retry_at - timedelta(seconds=1))
    assert (before.allowed, before.held, before.retry_at, before.crash_loop) == (0, 1, retry_at, failures > 1)
    assert decide(1, ended, now=retry_at).allowed == 1


def test_the_policy_says_how_long_failures_are_waited_out():
    ended = [job(number, "Failed", started=number + 2, ended=number + 1) for number in range(3)]
    policy = FailurePolicy(backoff_base_seconds=30, backoff_max_seconds=90)
    last = NOW - timedelta(minutes=1)
    assert decide(1, ended[:1], now=last, policy=policy).retry_at == last + timedelta(seconds=30)
    assert decide(1, ended, now=last, policy=policy).retry_at == last + timedelta(seconds=90)


def test_lost_nodes_are_waited_out_and_are_no_crash_loop():
    ended = [job(number, "Failed", started=3, ended=1, codes=("NodeLost",)) for number in range(3)]
    answer = decide(1, ended, now=NOW - timedelta(seconds=50))
    assert (answer.held, answer.crash_loop, answer.error) == (1, False, "node lost")


def test_failures_of_another_template_hold_nobody_back():
    ended = [job(number, "Failed", started=2, ended=0) for number in range(3)]
    assert decide(1, ended, template=TEMPLATE).held == 1
    assert decide(1, ended, template="v1:edited").allowed == 1


def test_a_whole_region_failing_once_is_one_round_of_failures():
    ended = [job(number, "Failed", started=2, ended=1) for number in range(8)]
    assert decide(8, ended, desired=8).allowed == 8
    waiting = decide(8, ended, desired=8, now=NOW - timedelta(seconds=51))
    assert (waiting.held, waiting.crash_loop) == (8, False)


def test_failures_are_a_crash_loop_only_when_the_replacements_fail_too():
    ended = [job(number, "Failed", started=2, ended=1, error="exit 3") for number in range(9)]
    first = decide(8, ended[:8], desired=8, now=NOW - timedelta(seconds=51))
    assert (first.held, first.crash_loop) == (8, False)
    assert first.waiting.endswith("(last error: unknown failure: exit 3)")
    assert decide(8, ended, desired=8, now=NOW - timedelta(seconds=51)).crash_loop


def test_one_bad_node_of_a_hundred_delays_its_own_replacement_and_nothing_else():
    answer = decide(1, [job(0, "Failed", started=1, ended=0)], desired=100)
    assert (answer.allowed, answer.held, answer.crash_loop) == (0, 1, False)
    assert answer.retry_at == NOW + timedelta(seconds=10)


def test_a_worker_that_failed_after_long_work_is_replaced_at_once():
    answer = decide(1, [job(0, "Failed", started=30, ended=0)])
    assert (answer.allowed, answer.crash_loop) == (1, False)


def test_a_worker_that_failed_before_it_started_counts_as_failing_fast():
    assert decide(1, [job(0, "Failed", ended=0)]).held == 1


def test_a_long_success_ends_a_row_of_failures():
    ended = [job(3, "Failed", started=2, ended=1), job(2, "Completed", started=90, ended=3)]
    ended += [job(number, "Failed", started=99, ended=98) for number in range(2)]
    assert decide(1, ended, now=NOW - timedelta(seconds=51)).retry_at == NOW - timedelta(seconds=50)


def test_cancelled_jobs_do_not_break_a_row_of_failures():
    ended = [job(2, "Failed", started=2, ended=1), job(1, "Canceled", ended=2), job(0, "Failed", started=4, ended=3)]
    assert decide(1, ended, now=NOW - timedelta(seconds=59)).retry_at == NOW - timedelta(seconds=40)


def test_a_crash_loop_is_told_until_workers_last():
    ended = [job(number, "Failed", started=2, ended=1, error="exit 3") for number in range(2)]
    assert decide(1, ended).crash_loop
    assert decide(1, ended).error == "unknown failure: exit 3"
    assert decide(0, ended).crash_loop
    assert not decide(0, ended, now=NOW + timedelta(minutes=10)).crash_loop
    assert not decide(0, ended[:1]).crash_loop


@table(("rounds", "seconds"), [(1, 30), (2, 60), (5, 480), (8, 3600), (30, 3600)])
def test_workers_that_complete_fast_double_the_wait_up_to_an_hour(rounds, seconds):
    ended = [job(number, "Completed", started=number + 2, ended=number + 1) for number in range(rounds)]
    retry_at = NOW - timedelta(minutes=1) + timedelta(seconds=seconds)
    before = decide(1, ended, now=retry_at - timedelta(seconds=1))
    assert (before.allowed, before.held, before.retry_at, before.idle) == (0, 1, retry_at, True)
    assert decide(1, ended, now=retry_at).allowed == 1


def test_two_reasons_to_wait_are_both_told_and_are_not_idleness():
    ended = [job(0, "Failed", started=1, ended=0), job(1, "Completed", started=2, ended=1)]
    answer = decide(2, ended, queue=NO_WORK)
    assert answer.held == 2
    assert not answer.idle
    assert "fail within 10 minutes" in answer.waiting
    assert "no task waits" in answer.waiting


def seen(ended, replacements, *, drained=(), row=0):
    return [each.sequence for each in evidence(ended, frozenset(drained), replacements, row=row)]


def test_evidence_is_what_ended_last():
    ended = [job(number, "Completed", started=90, ended=ago) for number, ago in enumerate((5, 1, 3))]
    assert seen(ended, 2) == [1, 2]
    assert seen(ended, 1, drained={1}) == [2]


def test_evidence_is_also_so_much_of_a_row_of_failures_as_decides_about_the_template():
    ended = [job(number, "Failed", started=601 - number, ended=600 - number) for number in range(600)]
    assert seen(ended, 0, row=5) == [599, 598, 597, 596, 595]
    assert seen([*ended, job(600, "Failed", started=50, ended=0)], 1, row=5) == [600]


def test_a_job_without_an_end_time_is_ordered_by_its_creation():
    ended = [job(0, "Completed", created=9), job(1, "Completed", started=90, ended=20)]
    assert seen(ended, 1) == [0]
