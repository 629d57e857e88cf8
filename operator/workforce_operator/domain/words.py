"""Numbers and times in sentences for people. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def counted(number: int, noun: str) -> str:
    """The number with its noun: ``1 worker``, ``2 workers``. The noun is one that takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def verb(number: int, one: str, more: str) -> str:
    """The form of a verb that goes with the number: ``is``, ``are``."""
    return one if number == 1 else more


def clock(time: datetime) -> str:
    """The time of day."""
    return time.astimezone(UTC).strftime("%H:%M:%SZ")


def moment(time: datetime) -> str:
    """Day and time of day."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def cut(text: str, longest: int) -> str:
    """The text, and a sign that it goes on if somebody's words are endless."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
