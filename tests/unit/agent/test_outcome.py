"""How deliveries are settled."""

from tests.support.tables import table
from workforce_agent.outcome import Ended, Settlement, describe, judge, retry_delay

FAILED = Ended(exit_code=3)


@table(
    ("ended", "retries", "settlement"),
    [
        (Ended(exit_code=0), 0, Settlement.COMPLETE),
        (FAILED, 1, Settlement.RETRY),
        (FAILED, 0, Settlement.DEAD_LETTER),
        (FAILED, -1, Settlement.DEAD_LETTER),
        (Ended(error="no such file"), 1, Settlement.RETRY),
        (Ended(error="wrong arguments", retriable=False), 5, Settlement.DEAD_LETTER),
        (Ended(error="too many open files", node_fault=True), 0, Settlement.RETURN),
        (Ended(exit_code=0, told_to_stop=True), 0, Settlement.RETURN),
        (Ended(exit_code=-15, told_to_stop=True), 0, Settlement.RETURN),
        (Ended(exit_code=0, lock_lost=True), 0, Settlement.FORGET),
        (Ended(exit_code=3, lock_lost=True, told_to_stop=True), 0, Settlement.FORGET),
    ],
)
def test_how_a_run_ended_says_how_its_message_is_settled(ended, retries, settlement):
    assert judge(ended, num_retries=retries, attempts=1).settlement is settlement


def test_what_was_returned_or_lost_is_neither_success_nor_failure():
    for ended in (Ended(exit_code=1, told_to_stop=True), Ended(exit_code=1, lock_lost=True)):
        verdict = judge(ended, num_retries=0, attempts=1)
        assert not verdict.failed
        assert not verdict.succeeded


def test_a_failed_task_waits_longer_each_time():
    assert [retry_delay(n).total_seconds() for n in (0, 1, 2, 3)] == [2, 2, 4, 8]


def test_a_failure_is_described_in_words():
    assert describe(FAILED) == "exit code 3"
    assert describe(Ended(exit_code=-9)) == "killed by signal 9"
    assert describe(Ended(error="no bash")) == "no bash"
