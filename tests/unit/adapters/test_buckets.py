"""ARM's token buckets, by arithmetic alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workforce_operator.adapters.arm.buckets import Bucket, Limits

LIMITS = Limits(burst=4, per_second=2)
"""One token is kept, so that three can be had at once."""


def drain(bucket: Bucket, now: float) -> int:
    taken = 0
    while bucket.wait(now) == 0:
        bucket.take(now)
        taken += 1
    return taken


def test_a_new_bucket_gives_its_burst_at_once_but_for_the_token_that_it_keeps():
    assert drain(Bucket(LIMITS, 0), 0) == 3


def test_an_empty_bucket_tells_how_long_until_the_next_token():
    bucket = Bucket(LIMITS, 0)
    drain(bucket, 0)
    assert bucket.wait(0) == pytest.approx(0.5)
    assert bucket.wait(0.4) == pytest.approx(0.1)
    assert bucket.wait(0.5) == 0


def test_a_bucket_never_holds_more_than_its_burst():
    bucket = Bucket(LIMITS, 0)
    assert drain(bucket, 1_000) == 3


def test_the_service_s_remaining_number_lowers_ours_and_never_raises_it():
    bucket = Bucket(LIMITS, 0)
    bucket.correct(0, 1)
    assert drain(bucket, 0) == 1
    bucket.correct(0, 1_000)
    assert bucket.wait(0) > 0


def test_a_refused_request_silences_the_bucket_for_as_long_as_the_service_says():
    bucket = Bucket(LIMITS, 0)
    bucket.block(0, 10)
    bucket.block(0, 2)
    assert bucket.wait(0) == 10
    assert bucket.blocked(9) == 1
    assert drain(bucket, 10) == 3


def test_a_clock_that_goes_back_gives_nothing_away():
    bucket = Bucket(LIMITS, 100)
    drain(bucket, 100)
    assert bucket.wait(50) > 0


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=60))
def test_however_it_is_asked_it_never_gives_more_than_burst_and_refill(steps: list[float]):
    bucket, now, taken = Bucket(LIMITS, 0), 0.0, 0
    for step in steps:
        now += step
        taken += drain(bucket, now)
    assert taken <= LIMITS.burst + LIMITS.per_second * now + 1e-6
