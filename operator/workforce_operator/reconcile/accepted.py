"""What regions have lately accepted: who has just hired there with a template need not try one hire alone first.

Only kept in memory: who knows nothing tries one alone. The quota is the compute's, whichever Workforce hires there.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from workforce_operator.api.status import RegionCoordinates
from workforce_operator.domain.capacity import cluster_key

ACCEPTED_SECONDS = 300.0
"""So long a hire that worked speaks for others like it. If it is wrong, one burst of them is refused."""
REMEMBERED = 10_000
"""Pairs of compute and template; the oldest are forgotten first."""

_Key = tuple[tuple[str, ...], str]


class Accepted:
    """When each compute has last accepted a job of each template."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: OrderedDict[_Key, float] = OrderedDict()

    def lately(self, place: RegionCoordinates, template_hash: str) -> bool:
        """Whether it has, and has refused none since."""
        at = self._at.get(_key(place, template_hash))
        return at is not None and self._clock() - at < ACCEPTED_SECONDS

    def note(self, place: RegionCoordinates, template_hash: str) -> None:
        """A job was accepted."""
        key = _key(place, template_hash)
        self._at[key] = self._clock()
        self._at.move_to_end(key)
        while len(self._at) > REMEMBERED:
            self._at.popitem(last=False)

    def forget(self, place: RegionCoordinates, template_hash: str) -> None:
        """A hire failed."""
        self._at.pop(_key(place, template_hash), None)


def _key(place: RegionCoordinates, template_hash: str) -> _Key:
    return cluster_key(place), template_hash
