"""Durations as people write them."""

from datetime import timedelta

import pytest

from jobq.durations import DurationError, parse_duration
from tests.support.tables import table


@table(
    ("text", "seconds"),
    [("10", 10), ("1209600s", 1209600), ("14d", 1209600), ("1.5h", 5400), ("10 m", 600), ("2W", 1209600), ("0", 0)],
)
def test_a_number_with_a_unit_is_a_duration(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@table("text", ["", "d", "-1s", "1y", "1h30m", "1e3", "inf", "nan", "9" * 10 + "d", "999999999w"])
def test_anything_else_says_how_to_write_one(text):
    with pytest.raises(DurationError, match="such as 90s or 14d"):
        parse_duration(text)
