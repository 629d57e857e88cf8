from __future__ import annotations

from tests.support.tables import table
from workforce_local.cluster.pods.probes import Settings, Tally, port_number


def tally(success_threshold=1, failure_threshold=3):
    return Tally(Settings.of({"successThreshold": success_threshold, "failureThreshold": failure_threshold}))


def verdicts(counter, results):
    return [counter.add(success=result == "+") for result in results]


def test_the_apis_defaults_hold_where_nothing_is_said():
    assert Settings.of({}) == Settings(initial_delay=0, period=10, timeout=1, success_threshold=1, failure_threshold=3)


def test_one_success_is_enough_by_default():
    assert verdicts(tally(), "+") == [True]


def test_failures_below_the_threshold_change_nothing():
    assert verdicts(tally(), "+--+--") == [True] * 6


def test_the_third_failure_in_a_row_is_a_failure():
    assert verdicts(tally(), "+---") == [True, True, True, False]


def test_there_is_no_verdict_before_a_threshold_is_reached():
    assert verdicts(tally(), "--") == [None, None]


def test_a_failed_container_recovers_after_its_success_threshold():
    assert verdicts(tally(success_threshold=2), "---+-++") == [None, None, False, False, False, False, True]


def test_every_success_starts_the_count_of_failures_anew():
    assert verdicts(tally(failure_threshold=2), "-+-+-+--") == [None, True, True, True, True, True, True, False]


@table(("port", "expected"), [(80, 80), ("80", 80), ("http", 8080), ("unnamed", None)])
def test_a_port_is_a_number_or_a_name_of_the_container(port, expected):
    assert port_number(port, {"ports": [{"containerPort": 1}, {"name": "http", "containerPort": 8080}]}) == expected
