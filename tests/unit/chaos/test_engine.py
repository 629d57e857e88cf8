"""What faults strike, by whose randomness, and what is remembered of it."""

import math
from datetime import UTC, datetime

import pytest

from workforce_local.chaos.engine import Engine, Request
from workforce_local.chaos.scenario import read

PUT = Request("arm", "PUT", "/subscriptions/s/workspaces/ws-uksouth/jobs/a-1", "uksouth")
GET = Request("arm", "GET", "/subscriptions/s/workspaces/ws-uksouth/jobs", "uksouth")


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine(clock):
    return Engine(clock, lambda: datetime(2026, 1, 1, tzinfo=UTC))


def setting(engine, *faults, seed=0):
    return engine.set(read({"seed": seed, "faults": list(faults)}))


def kinds(strokes):
    return [stroke.fault.kind for stroke in strokes]


def fates(seed, requests, **fault):
    engine = Engine()
    setting(engine, {"kind": "drop", "share": 0.5} | fault, seed=seed)
    return [bool(engine.strike(request)) for request in requests]


def test_without_faults_nothing_strikes(engine):
    assert engine.strike(PUT) == []


def test_the_same_seed_strikes_the_same_requests():
    assert fates(7, [PUT] * 50) == fates(7, [PUT] * 50)
    assert fates(7, [PUT] * 50) != fates(8, [PUT] * 50)


def test_requests_that_a_fault_is_not_meant_for_do_not_disturb_its_randomness():
    mixed = [PUT, GET] * 50
    assert [
        hit for hit, request in zip(fates(7, mixed, where={"method": "PUT"}), mixed, strict=True) if request is PUT
    ] == (fates(7, [PUT] * 50, where={"method": "PUT"}))


def test_other_faults_do_not_disturb_a_faults_randomness(engine):
    alone = fates(7, [PUT] * 50, name="d")
    setting(engine, {"kind": "throttle", "name": "t", "share": 0.3}, seed=1)
    setting(engine, {"kind": "drop", "name": "d", "share": 0.5}, seed=7)
    together = []
    for _ in range(50):
        hit = kinds(engine.strike(PUT))
        # A request that is refused already cannot be dropped as well, but it used up its draw.
        together.append("drop" in hit if hit != ["throttle"] else None)
    assert all(each in (None, expected) for each, expected in zip(together, alone, strict=True))


@pytest.mark.parametrize(
    ("where", "request_", "expected"),
    [
        ({}, PUT, True),
        ({"service": "arm"}, PUT, True),
        ({"service": ["identity", "arm"]}, PUT, True),
        ({"service": "identity"}, PUT, False),
        ({"region": "UKSouth"}, PUT, True),
        ({"region": "westeurope"}, PUT, False),
        ({"region": "uksouth"}, Request("queue", "GET", "/wfdemo/tasks"), False),
        ({"method": "put"}, PUT, True),
        ({"method": "DELETE"}, PUT, False),
        ({"path": "*/JOBS/*"}, PUT, True),
        ({"path": "*/jobs/*"}, GET, False),
    ],
)
def test_a_fault_strikes_where_it_is_told_to(engine, where, request_, expected):
    setting(engine, {"kind": "drop", "where": where})
    assert bool(engine.strike(request_)) == expected


def test_a_fault_begins_after_a_while_and_ends_again(engine, clock):
    setting(engine, {"kind": "drop", "afterSeconds": 10, "lastingSeconds": 5})
    struck = []
    for second in range(20):
        clock.now = 1000.0 + second
        if engine.strike(PUT):
            struck.append(second)
    assert struck == [10, 11, 12, 13, 14]


def test_a_fault_strikes_no_more_often_than_it_may(engine):
    setting(engine, {"kind": "drop", "times": 3})
    assert sum(bool(engine.strike(PUT)) for _ in range(10)) == 3


def test_latencies_add_up_and_one_fault_ends_the_request(engine):
    setting(engine, {"kind": "latency", "seconds": 1}, {"kind": "drop"}, {"kind": "throttle"}, {"kind": "latency"})
    assert kinds(engine.strike(PUT)) == ["latency", "latency", "drop"]


def test_what_happens_after_the_fact_does_not_happen_to_a_refused_request(engine):
    setting(engine, {"kind": "lostResponse"}, {"kind": "throttle", "times": 1})
    assert kinds(engine.strike(PUT)) == ["throttle"]
    assert kinds(engine.strike(PUT)) == ["lostResponse"]
    assert [each.kind for each in engine.injected()] == ["throttle", "lostResponse"]


def test_only_lists_are_stale_or_cut_short(engine):
    setting(engine, {"kind": "staleList"}, {"kind": "truncatedList"})
    assert engine.strike(PUT) == []
    assert kinds(engine.strike(GET)) == ["staleList", "truncatedList"]
    assert kinds(engine.strike(Request("index", "POST", "/x/entities"))) == ["staleList", "truncatedList"]


@pytest.mark.parametrize("distribution", ["fixed", "uniform", "exponential", "normal", "lognormal"])
def test_latencies_have_the_middle_that_was_asked_for_and_a_limit(engine, distribution):
    setting(engine, {"kind": "latency", "distribution": distribution, "seconds": 2, "spread": 0.5, "mostSeconds": 9})
    drawn = sorted(engine.strike(PUT)[0].seconds for _ in range(600))
    assert drawn[0] >= 0
    assert drawn[-1] <= 9
    middle = drawn[300] / math.log(2) if distribution == "exponential" else drawn[300]
    assert middle == pytest.approx(2, rel=0.1)


def test_a_fault_of_the_same_name_replaces_the_earlier_one(engine):
    setting(engine, {"kind": "drop", "name": "a"})
    engine.strike(PUT)
    (rule,) = setting(engine, {"kind": "throttle", "name": "a"})
    assert [known.fault.kind for known in engine.rules] == ["throttle"]
    assert rule.hits == 0


def test_faults_without_names_get_free_ones(engine):
    setting(engine, {"kind": "drop", "name": "drop-2"})
    names = [rule.fault.name for rule in setting(engine, {"kind": "drop"}, {"kind": "drop"})]
    assert names == ["drop-1", "drop-3"]


def test_what_was_removed_strikes_no_more_but_is_remembered(engine):
    setting(engine, {"kind": "drop", "name": "a"}, {"kind": "latency", "name": "b"})
    engine.strike(PUT)
    assert engine.remove("a")
    assert not engine.remove("a")
    assert kinds(engine.strike(PUT)) == ["latency"]
    assert engine.clear() == 1
    assert engine.strike(PUT) == []
    assert [each.fault for each in engine.injected()] == ["b", "a", "b"]


def test_the_record_says_what_when_and_which_request(engine):
    setting(
        engine, {"kind": "throttle", "name": "storm", "times": 1}, {"kind": "latency", "seconds": 0.25, "name": "late"}
    )
    engine.strike(PUT)
    engine.strike(GET)
    first, second, third = engine.injected()
    assert (first.number, first.fault, first.service, first.detail) == (1, "late", "arm", "0.250 s")
    assert second.what == f"PUT {PUT.path}"
    assert second.at == "2026-01-01T00:00:00+00:00"
    assert engine.injected(fault="storm") == [second]
    assert engine.injected(fault="latency", after=1) == [third]
    assert engine.injected(service="queue") == []


def test_the_faults_that_are_set_can_be_shown(engine, clock):
    setting(engine, {"kind": "drop", "name": "a", "where": {"service": "queue"}, "lastingSeconds": 5}, seed=3)
    clock.now += 7
    (shown,) = engine.document()["faults"]
    assert (shown["name"], shown["kind"], shown["seed"], shown["hits"], shown["open"], shown["age"]) == (
        "a", "drop", 3, 0, False, 7.0,
    )  # fmt: skip
    assert shown["where"]["service"] == ["queue"]
