"""ARM's token buckets, by arithmetic alone."""

from __future__ import annotations

import pytest

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


def test_a_remaining_number_counts_only_if_we_have_had_more_all_the_time_since_the_request_was_sent():
    bucket = Bucket(LIMITS, 0)
    drain(bucket, 0)
    bucket.correct(1, 0, sent=0)
    assert drain(bucket, 1) == 2, "what came back in the second of the answer's way is there"


def test_who_else_draws_from_the_bucket_is_seen_once_however_many_answers_tell_of_it():
    bucket = Bucket(Limits(burst=100, per_second=1), 0)
    for _ in range(10):
        bucket.take(0)
    for remaining in range(49, 39, -1):
        bucket.correct(3, remaining, sent=0)
    # Of our 90 the service had 40 or nearly one more; three came back since, and one is kept.
    assert drain(bucket, 3) == 43


def test_an_answer_from_before_a_refusal_changes_nothing_after_it():
    bucket = Bucket(LIMITS, 0)
    bucket.take(0)
    bucket.block(1, 1)
    bucket.correct(2, 0, sent=0)
    assert drain(bucket, 2) == 1


def test_tokens_are_not_taken_faster_than_the_pace():
    bucket = Bucket(Limits(burst=4, per_second=2, pace=10), 0)
    bucket.take(0)
    assert bucket.wait(0) == pytest.approx(0.1)
    assert bucket.wait(0.1) == 0


def test_a_refused_request_silences_the_bucket_for_as_long_as_the_service_says():
    bucket = Bucket(LIMITS, 0)
    bucket.block(0, 10)
    bucket.block(0, 2)
    assert bucket.wait(0) == 10
    assert bucket.blocked(9) == 1
    assert drain(bucket, 10) == 3


def test_a_refused_request_says_that_nothing_was_left():
    bucket = Bucket(LIMITS, 0)
    bucket.block(0, 1)
    assert drain(bucket, 1) == 1


def test_a_clock_that_goes_back_gives_nothing_away():
    bucket = Bucket(LIMITS, 100)
    drain(bucket, 100)
    assert bucket.wait(50) > 0
