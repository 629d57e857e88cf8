"""ISO 8601 durations as AzureML writes them: whole days, hours, minutes and seconds. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(r"^P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?$")


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `PT1H30M`.

    Raises:
        ValueError: It is not one, or is empty.
    """
    match = _DURATION.match(text)
    parts = {unit: int(value) for unit, value in match.groupdict().items() if value} if match else {}
    if not parts:
        raise ValueError(f"'{text}' is not an ISO 8601 duration of whole seconds, such as PT1H30M")
    return timedelta(**parts)


def format_duration(seconds: float) -> str:
    """Write a duration in seconds, as node idle times are written."""
    return f"PT{int(seconds)}S"
