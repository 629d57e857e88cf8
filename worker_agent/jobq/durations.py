"""Durations as people write them on the command line and in the environment: `14d`, `90s`, `1.5h`, `120`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(?P<number>\d{1,9}(\.\d{1,9})?)\s*(?P<unit>[smhdw]?)")


class DurationError(ValueError):
    """Not a duration. The text says how to write one."""


def parse_duration(text: str) -> timedelta:
    """Read a duration: a number and one of s, m, h, d, w; seconds where there is no unit.

    Raises:
        DurationError: It is written otherwise.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise DurationError(f"{text!r} is not a duration: write a number and s, m, h, d or w, such as 90s or 14d")
    try:
        return timedelta(**{_UNITS[match["unit"]]: float(match["number"])})
    except OverflowError:
        raise DurationError(f"{text!r} is longer than anything lasts: write a duration such as 90s or 14d") from None
