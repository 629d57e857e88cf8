"""A short storm, and what the verdict of one is made of."""

import pytest

from tests.soak.storm import Plan, Storm
from tests.soak.verdict import Facts, Why, judge


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_no_task_is_lost_or_run_twice_without_a_reason_in_a_short_storm(azurite, tmp_path):
    plan = Plan(tasks=300, workers=3, kills=4, preemptions=4, drains=8, freezes=1, patience=200)
    storm = Storm(plan, tmp_path / "storm", azurite)
    verdict = judge(await storm.run(lambda _: None))
    assert verdict.good, "\n".join(verdict.lines())
    assert sum(storm.happened.values()) >= 17
    assert {"error", "drop", "throttle"} & {injected.kind for injected in storm.engine.injected()}


def facts(*journal, **more):
    return Facts(tasks=range(2), hopeless=frozenset(), journal=journal, **more)


BOTH = ("begin 0 a", "done 0 a", "begin 1 a", "done 1 a")


def test_a_task_that_was_never_done_is_lost_unless_it_is_a_dead_letter():
    assert judge(facts(*BOTH[:3])).lost == [1]
    assert judge(facts(*BOTH[:3], dead_letters=[1])).wrong_letters == [1]
    assert judge(Facts(range(2), frozenset({1}), BOTH[:3], dead_letters=[1])).good
    assert judge(Facts(range(2), frozenset({1}), BOTH[:3])).missing_letters == [1]


def test_a_second_run_needs_a_killed_worker_or_a_lost_lock():
    again = (*BOTH, "begin 1 b", "done 1 b")
    assert judge(facts(*again)).twice == [1]
    assert judge(facts(*again, killed=frozenset({"a"}))).again[Why.KILLED] == 1
    assert judge(facts(*again, let_go={(1, "a"): Why.LOCK_LOST})).good
    assert not judge(facts(*again, let_go={(0, "a"): Why.LOCK_LOST})).good


def test_a_task_that_was_done_when_it_was_told_to_stop_is_counted_by_itself():
    again = (*BOTH, "begin 1 b", "done 1 b")
    verdict = judge(facts(*again, let_go={(1, "a"): Why.TOLD_TO_STOP}))
    assert verdict.good
    assert dict(verdict.again) == {Why.KILLED: 0, Why.LOCK_LOST: 0, Why.TOLD_TO_STOP: 1}
    assert any("just done when it was told to stop" in line and line.endswith(" 1") for line in verdict.lines())


def test_each_run_but_one_needs_a_reason_of_its_own():
    thrice = (*BOTH, "begin 1 b", "done 1 b", "begin 1 c", "done 1 c")
    assert judge(facts(*thrice, killed=frozenset({"a"}))).twice == [1]
    assert judge(facts(*thrice, killed=frozenset({"a"}), let_go={(1, "c"): Why.LOCK_LOST})).good


def test_a_worker_that_only_began_a_task_and_was_killed_excuses_no_second_end():
    again = (*BOTH, "begin 1 b", "done 1 b", "begin 1 c")
    assert judge(facts(*again, killed=frozenset({"c"}))).twice == [1]


def test_a_storm_that_had_no_time_for_all_of_it_says_so_and_calls_nothing_lost():
    verdict = judge(facts(*BOTH[:3], waiting=1))
    assert (verdict.good, verdict.lost) == (False, [])
    assert judge(facts(*BOTH, unpushed=3)).lines()[-1].startswith("VERDICT: NOT FINISHED")


@pytest.mark.parametrize("wrong", [{"died": {"a": 1}}, {"left": 1}, {"waiting": 1}])
def test_dead_workers_left_processes_and_left_messages_are_not_good(wrong):
    assert judge(facts(*BOTH)).good
    assert not judge(facts(*BOTH, **wrong)).good
