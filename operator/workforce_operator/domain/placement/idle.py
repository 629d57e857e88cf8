"""Places that wait for work take that with them: moved to another region, they are no growth there (rule 11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Place(NamedTuple):
    """One region, before its share changes and after.

    Attributes:
        before: Its share until now; None = there was none, or it was forgotten.
        after: Its share from now on.
        held: Replicas that were hired here once, or live here.
        idle: How many of its replicas wait for work.
    """

    before: int | None
    after: int
    held: int
    idle: int


def moved_idle(places: Mapping[str, Place]) -> dict[str, int]:
    """How many of the places that each region gains wait for work already, because another one has lost them.

    A region loses those first, for somebody else's place is not moved while a worker may hold it. What is wanted in
    addition over all regions comes before them: it is growth, and hired at once.
    """
    lost = sum(min(place.idle, max(0, (place.before or 0) - place.after)) for place in places.values())
    gained = {name: max(0, place.after - place.held) for name, place in places.items()}
    growth = max(0, sum(place.after - (place.before or 0) for place in places.values()))
    left = min(lost, max(0, sum(gained.values()) - growth))
    arrived = {}
    for name, number in gained.items():
        arrived[name] = min(left, number)
        left -= arrived[name]
    return arrived
