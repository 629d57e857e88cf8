"""ISO 8601 durations as Service Bus reads and writes them. Pure; None is for ever."""

from __future__ import annotations

import re

FOREVER = "P10675199DT2H48M5.4775807S"
"""How the service writes a duration without an end: the longest that .NET knows."""

_DAY, _HOUR, _MINUTE = 86400, 3600, 60
_LONGEST_DAYS = 10675199
_PATTERN = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)


def parse(text: str) -> float | None:
    """Seconds of a duration such as `PT30S`.

    Raises:
        ValueError: It is not one, or is empty.
    """
    match = _PATTERN.fullmatch(text)
    parts = {unit: float(value) for unit, value in match.groupdict().items() if value} if match else {}
    if not parts:
        raise ValueError(f"'{text}' is not an ISO 8601 duration such as PT30S or P1DT12H")
    if parts.get("days", 0) >= _LONGEST_DAYS:
        return None
    return (
        parts.get("days", 0) * _DAY
        + parts.get("hours", 0) * _HOUR
        + parts.get("minutes", 0) * _MINUTE
        + parts.get("seconds", 0)
    )


def write(seconds: float | None) -> str:
    """A duration in its shortest form."""
    if seconds is None:
        return FOREVER
    days, rest = divmod(seconds, _DAY)
    hours, rest = divmod(rest, _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    date = f"{days:.0f}D" if days else ""
    clock = "".join(f"{value:g}{unit}" for value, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if value)
    if not date and not clock:
        return "PT0S"
    return f"P{date}T{clock}" if clock else f"P{date}"
