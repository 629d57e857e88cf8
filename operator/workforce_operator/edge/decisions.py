"""The last decisions about each Workforce, kept in bounded memory, logged when they change, and served as JSON.

====================================  ==========================================================
path                                  answer
====================================  ==========================================================
``/debug/decisions``                  names of the Workforces that there are records of
``/debug/decisions/NAMESPACE/NAME``   the records, newest first; ``?last=N`` gives so many
``/debug/workers/NAMESPACE/NAME``     the living jobs as the last pass read them
====================================  ==========================================================

Only the replica that leads has any: another one, and an unknown name, answer 404 with the reason. Equal records of
successive passes are one entry. Whatever the number of Workforces and regions, all records together take at most
``MAX_BYTES``, but for the last one of each; the oldest ones of those Workforces go first that were not looked at for
longest.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from aiohttp import web

from workforce_operator.domain.decision import Record
from workforce_operator.domain.workers import Workers
from workforce_operator.ports.kubernetes import Key

log = structlog.stdlib.get_logger(__name__)

MAX_BYTES = 16 * 2**20
MAX_ENTRIES = 32
"""Records of one Workforce."""

_NOTHING_HERE = "no pass over Workforce {namespace}/{name} was made here: does it exist, and does this replica lead?"


@dataclass(slots=True)
class _Entry:
    first: datetime
    last: datetime
    passes: int
    record: bytes

    def document(self) -> dict[str, object]:
        return {
            "firstTime": self.first.isoformat(),
            "lastTime": self.last.isoformat(),
            "passes": self.passes,
            "decision": json.loads(self.record),
        }


@dataclass(slots=True)
class _History:
    entries: deque[_Entry] = field(default_factory=deque)
    workers: Callable[[], Workers] | None = None


class DecisionRing:
    """An implementation of `reconcile.decisions.Decisions`.

    Args:
        max_bytes: Of all records together.
        max_entries: Records of one Workforce.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES, max_entries: int = MAX_ENTRIES) -> None:
        self._max_bytes, self._max_entries = max_bytes, max_entries
        self._histories: OrderedDict[Key, _History] = OrderedDict()
        self.bytes = 0

    def decided(self, key: Key, record: Record, at: datetime, workers: Callable[[], Workers] | None = None) -> None:
        """See `Decisions`."""
        history = self._histories.setdefault(key, _History())
        self._histories.move_to_end(key)
        history.workers = workers
        content = record.model_dump_json(by_alias=True, exclude_defaults=True).encode()
        newest = history.entries[-1] if history.entries else None
        if newest is not None and newest.record == content:
            newest.last, newest.passes = at, newest.passes + 1
            return
        history.entries.append(_Entry(at, at, 1, content))
        self.bytes += len(content)
        self._shrink(history)
        log.info("decided", decision=json.loads(content))

    def forget(self, key: Key) -> None:
        """See `Decisions`."""
        history = self._histories.pop(key, _History())
        self.bytes -= sum(len(entry.record) for entry in history.entries)

    def keys(self) -> list[str]:
        """``namespace/name`` of all Workforces that there are records of."""
        return sorted(f"{key.namespace}/{key.name}" for key in self._histories)

    def documents(self, key: Key, last: int | None = None) -> list[dict[str, object]] | None:
        """The records, newest first, or None if there are none."""
        history = self._histories.get(key)
        if history is None:
            return None
        return [entry.document() for entry in list(reversed(history.entries))[:last]]

    def workers(self, key: Key) -> Workers | None:
        """The living jobs as the last pass read them, or None."""
        history = self._histories.get(key)
        return history.workers() if history is not None and history.workers is not None else None

    def _shrink(self, grown: _History) -> None:
        while len(grown.entries) > self._max_entries:
            self._drop_oldest(grown)
        # The newest record of each Workforce stays: what was decided last can always be explained.
        for history in self._histories.values():
            while self.bytes > self._max_bytes and len(history.entries) > 1:
                self._drop_oldest(history)
            if self.bytes <= self._max_bytes:
                return  # Mostly at once: this is called for every record, and there may be thousands of Workforces.

    def _drop_oldest(self, history: _History) -> None:
        self.bytes -= len(history.entries.popleft().record)


def add_routes(app: web.Application, ring: DecisionRing) -> None:
    """Serve the ring."""

    async def names(_: web.Request) -> web.Response:
        return web.json_response({"workforces": ring.keys()})

    async def decisions(request: web.Request) -> web.Response:
        last = request.query.get("last", "")
        if last and not last.isdecimal():
            return web.Response(text="last must be a number\n", status=400)
        found = ring.documents(_key(request), int(last) if last else None)
        if found is None:
            return _nothing(request)
        return web.json_response({"decisions": found})

    async def workers(request: web.Request) -> web.Response:
        found = ring.workers(_key(request))
        if found is None:
            return _nothing(request)
        return web.Response(text=found.model_dump_json(by_alias=True), content_type="application/json")

    app.router.add_get("/debug/decisions", names)
    app.router.add_get("/debug/decisions/{namespace}/{name}", decisions)
    app.router.add_get("/debug/workers/{namespace}/{name}", workers)


def _nothing(request: web.Request) -> web.Response:
    """Name what was asked for: a wrong namespace is seen at once."""
    return web.Response(text=_NOTHING_HERE.format(**_key(request)._asdict()) + "\n", status=404)


def _key(request: web.Request) -> Key:
    return Key(request.match_info["namespace"], request.match_info["name"])
