"""Limits that hold whenever and however often somebody asks."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from workforce_agent.outcome import RETRY_LIMIT, retry_delay
from workforce_operator.adapters.arm.buckets import Bucket, Limits
from workforce_operator.adapters.kubernetes.election import DURATION, Decision, Record, Sighting, decide, still_held

LIMITS = Limits(burst=4, per_second=2)


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=60))
def test_however_it_is_asked_it_never_gives_more_than_burst_and_refill(steps: list[float]):
    bucket, now, taken = Bucket(LIMITS, 0), 0.0, 0
    for step in steps:
        now += step
        while bucket.wait(now) == 0:
            bucket.take(now)
            taken += 1
    assert taken <= LIMITS.burst + LIMITS.per_second * now + 1e-6


@given(sent=st.floats(0, 100), delay=st.floats(0, 100), drift=st.floats(0, 1))
def test_nobody_takes_a_lease_while_its_leader_may_still_act(sent, delay, drift):
    """However late the candidate sees the renewal: it waits longer from then than the leader acts from the sending."""
    seen = Sighting(Record("leader", "1"), sent + delay)
    takes = seen.since + DURATION
    assert decide("candidate", seen, takes - 0.001) is Decision.WAIT
    assert not still_held(sent, takes + drift)


@given(st.integers(-5, 10**9))
def test_no_retry_waits_longer_than_the_limit(attempts):
    assert timedelta(0) < retry_delay(attempts) <= RETRY_LIMIT
