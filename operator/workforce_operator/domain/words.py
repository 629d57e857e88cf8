"""Numbers in sentences for people. Pure."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """The number with its noun: ``1 worker``, ``2 workers``. The noun is one that takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def verb(number: int, one: str, more: str) -> str:
    """The form of a verb that goes with the number: ``is``, ``are``."""
    return one if number == 1 else more
