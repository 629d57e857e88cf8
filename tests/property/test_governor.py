"""Rule 12 over any demand: what the governor lets through is never more than ARM gives, and everybody gets a turn."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tests.exploration.virtual import VirtualLoop
from tests.exploration.virtual import run as run_to_the_end
from workforce_operator.adapters.arm.buckets import Limits
from workforce_operator.adapters.arm.governor import Governor, Kind

LIMITS = {Kind.READ: Limits(6, 3), Kind.WRITE: Limits(4, 1)}


class Request(NamedTuple):
    at: float
    turn: str
    kind: Kind
    subscription: str
    seconds: float


requests = st.lists(
    st.builds(
        Request,
        at=st.integers(0, 20).map(float),
        turn=st.sampled_from(["one", "two", "three"]),
        kind=st.sampled_from(list(Kind)),
        subscription=st.sampled_from(["s1", "s2"]),
        seconds=st.sampled_from([0.0, 0.5, 4.0]),
    ),
    max_size=40,
)


def sent(demand: list[Request], *, concurrency: int = 200) -> list[tuple[float, Request]]:
    """When each request went out, on a clock of its own."""
    loop, log = VirtualLoop(), []

    async def send(governor: Governor, request: Request) -> None:
        await asyncio.sleep(request.at)
        async with governor.slot(request.subscription, request.kind, turn=request.turn):
            log.append((loop.now, request))
            await asyncio.sleep(request.seconds)

    async def all_of_them() -> None:
        governor = Governor(clock=loop.time, limits=LIMITS, concurrency=concurrency)
        await asyncio.gather(*(send(governor, request) for request in demand))

    assert run_to_the_end(loop, all_of_them())
    loop.finish()
    return log


@given(requests)
def test_rule_12_no_stretch_of_time_sees_more_requests_than_arm_gives(demand: list[Request]):
    times: defaultdict[tuple[str, Kind], list[float]] = defaultdict(list)
    for at, request in sent(demand):
        times[request.subscription, request.kind].append(at)
    for (_, kind), each in times.items():
        for first, start in enumerate(each):
            for last in range(first, len(each)):
                given_out = LIMITS[kind].burst + LIMITS[kind].per_second * (each[last] - start)
                assert last - first + 1 <= given_out + 1e-6


@given(requests)
def test_rule_12_every_request_is_sent_once_and_none_waits_for_ever(demand: list[Request]):
    log = sent(demand)
    assert sorted(request for _, request in log) == sorted(demand)
    slowest = min(limits.per_second for limits in LIMITS.values())
    assert all(at <= request.at + 20 + len(demand) / slowest for at, request in log)


@given(st.integers(0, 40), st.integers(1, 6))
def test_rule_12_a_small_workforce_waits_for_its_turns_and_not_for_a_large_one(large: int, small: int):
    demand = [Request(0.0, turn, Kind.WRITE, "s1", 0.0) for turn in ["large"] * large + ["small"] * small]
    turns = [request.turn for _, request in sent(demand)]
    last = len(turns) - turns[::-1].index("small")
    # The large one was there first and has had the burst.
    assert last <= LIMITS[Kind.WRITE].burst + 2 * small


@given(requests, st.integers(1, 3))
def test_rule_12_no_more_are_under_way_than_may_be(demand: list[Request], concurrency: int):
    moments: defaultdict[tuple[str, Kind], list[tuple[float, int]]] = defaultdict(list)
    for at, request in sent(demand, concurrency=concurrency):
        if request.seconds:
            moments[request.subscription, request.kind] += [(at, 1), (at + request.seconds, -1)]
    for each in moments.values():
        under_way = 0
        for _, change in sorted(each):
            under_way += change
            assert under_way <= concurrency
