"""Who leads: decisions about a Lease. Pure; the caller brings the Lease as it was read, and the time.

Times of other processes are never compared with ours: a Lease has run out when it has not changed for as long as it
lasts, by a clock of our own that goes on while the machine sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from workforce_operator.ports.azure import LATE_SECONDS

DURATION = 15.0
"""Seconds that a Lease lasts; candidates wait as long after its last change."""
RENEW_DEADLINE = 10.0
"""Seconds after the last renewal at which a leader gives up: before anybody else may begin."""
RETRY = 2.0
"""Seconds between two attempts."""
SETTLED_AFTER = 300.0
"""Seconds after a Lease was taken from somebody who had not given it back, until its writes are taken to have arrived.

Whoever is stopped between its last look at the Lease and the next line sends what it has in hand when it goes on:
nothing that it reads by then can hold it back. So nothing is let go before.
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A Lease as it was read: enough to tell whether it changed. ``holder`` empty = given back."""

    holder: str
    version: str
    duration: float = DURATION
    transitions: int = 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """A Lease, and since when it has been seen unchanged."""

    record: Record
    since: float


class Decision(Enum):
    """What a candidate does with what it sees."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


def observe(seen: Sighting | None, record: Record, now: float) -> Sighting:
    """Remember a reading; the time counts from the first sight of each version."""
    if seen is not None and seen.record.version == record.version:
        return seen
    return Sighting(record, now)


def decide(me: str, seen: Sighting | None, now: float) -> Decision:
    """What to do. None = there is no Lease.

    A Lease in our own name that we did not get by this election is of an earlier process of the same Pod: it is
    renewed as ours, because that process has ended.
    """
    if seen is None:
        return Decision.CREATE
    if seen.record.holder == me:
        return Decision.RENEW
    if not seen.record.holder or now - seen.since >= seen.record.duration:
        return Decision.TAKE
    return Decision.WAIT


def still_held(renewed: float | None, now: float) -> bool:
    """Whether a leader may act: its last confirmed renewal began within the deadline."""
    return renewed is not None and 0 <= now - renewed < RENEW_DEADLINE


def settles_after(me: str, record: Record | None) -> float:
    """Seconds from when a Lease is taken until the writes of whoever had it are taken to have arrived.

    Args:
        me: Who takes it. A Lease in the same name was an earlier process's of the same Pod: it has ended, and sends
            nothing any more, but the service may still be carrying out what it had sent.
        record: The Lease as it was found; None = there was none.
    """
    if record is None or not record.holder:
        return 0.0
    return LATE_SECONDS if record.holder == me else SETTLED_AFTER
