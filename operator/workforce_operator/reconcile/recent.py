"""Objects that a pass need not read, because it will be known before it acts whether they still are so.

Two kinds are kept: a new object as the watch showed it, whose finalizer is the first thing that is written; and an
object as this process has just written it. Each serves one pass, and only if the watch has told of no change since. It
is not trusted: whoever takes one writes under its resourceVersion, or reads the object again, before the first act.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from workforce_operator.api.base import FINALIZER
from workforce_operator.ports.kubernetes import Key, StoredWorkforce

YOUNG = timedelta(seconds=60)
"""An edit that the watch has lost is seen one pass later, and no later than this."""

MOST_NEW = 2000
"""New objects that are kept; of more than these each is read. One is some 5 KB."""


@dataclass(frozen=True, slots=True)
class _Written:
    stored: StoredWorkforce
    at: datetime


class Recent:
    """What was seen or written last, by key. All calls belong to one event loop."""

    def __init__(self) -> None:
        self._changed: set[Key] = set()
        self._new: dict[Key, StoredWorkforce] = {}
        self._written: OrderedDict[Key, _Written] = OrderedDict()

    def changed(self, key: Key, new: StoredWorkforce | None = None) -> None:
        """The watch tells of a change by others, or shows an object that the operator has not written to yet."""
        self._changed.add(key)
        self._new.pop(key, None)
        if new is not None and is_new(new.finalizers, new.deletion_time) and len(self._new) < MOST_NEW:
            self._new[key] = new

    def wrote(self, stored: StoredWorkforce, now: datetime) -> None:
        """This process has written the object, and it is like this now."""
        self._written[stored.key] = _Written(stored, now)
        self._written.move_to_end(stored.key)
        while not _is_young(next(iter(self._written.values())), now):
            self._written.popitem(last=False)

    def take(self, key: Key, now: datetime) -> StoredWorkforce | None:
        """The object for one pass, and for no other; None if it has to be read."""
        new, written = self._new.pop(key, None), self._written.pop(key, None)
        if key in self._changed:
            self._changed.discard(key)
            return new
        return written.stored if written is not None and _is_young(written, now) else None


def is_new(finalizers: Collection[str], deletion_time: object) -> bool:
    """Whether the finalizer is still to be written before anything else is done."""
    return FINALIZER not in finalizers and deletion_time is None


def _is_young(written: _Written, now: datetime) -> bool:
    """A clock that was set back makes it old."""
    return timedelta(0) <= now - written.at < YOUNG
