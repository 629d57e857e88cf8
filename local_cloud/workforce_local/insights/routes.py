"""The ingestion endpoint, and the query by which tests and people see what arrived.

Telemetry is kept in memory, the oldest is forgotten first. Compressed bodies are unpacked by the server before they
get here. Invariant: what was answered as accepted can be found until it is the oldest.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

from aiohttp import web

from workforce_local.admin import PREFIX, guarded, refusal
from workforce_local.insights.envelopes import BodyError, Item, read, select

KEY = "00000000-0000-4000-8000-0000000000ee"
PATH = f"{PREFIX}insights"
_KEPT = 50_000
_SHOWN = 10_000


class Insights:
    """One Application Insights resource.

    Attributes:
        key: Its instrumentation key. It is no secret.
    """

    def __init__(self, key: str = KEY) -> None:
        self.key = key
        self._items: deque[Item] = deque(maxlen=_KEPT)

    @property
    def items(self) -> list[Item]:
        """All telemetry that is kept, in the order in which it arrived."""
        return list(self._items)

    def connection_string(self, base_url: str) -> str:
        """What exporters are given."""
        return f"InstrumentationKey={self.key};IngestionEndpoint={base_url}/;LiveEndpoint={base_url}/"

    def environment(self, base_url: str) -> dict[str, str]:
        """Variables with which an exporter sends here, and nothing about itself to its maker."""
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": self.connection_string(base_url),
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        }

    def routes(self, token: str) -> list[web.RouteDef]:
        """What to add to a server. Whoever knows the key may send; whoever knows the token may look."""
        return [
            # Endpoints end with a slash, and exporters add another one.
            web.post("/{more:/?}v2.1/track", self.track),
            web.post("/{more:/?}v2/track", self.track),
            web.get(PATH, guarded(token, self.query)),
        ]

    async def track(self, request: web.Request) -> web.Response:
        """Take telemetry; some of it may be refused."""
        try:
            batch = read(await request.read(), self.key)
        except BodyError as error:
            return web.json_response(
                {
                    "itemsReceived": 0,
                    "itemsAccepted": 0,
                    "errors": [{"index": 0, "statusCode": 400, "message": str(error)}],
                },
                status=400,
            )
        self._items.extend(batch.items)
        return web.json_response(batch.document(), status=batch.status)

    async def query(self, request: web.Request) -> web.Response:
        """What arrived: ``type``, ``name``, ``role``, ``since`` (ISO 8601) and ``limit`` (the newest so many)."""
        asked = request.query
        limit = asked.get("limit", str(_SHOWN))
        if not limit.isdecimal() or int(limit) == 0:
            return refusal(f"limit={limit} is not a number of items")
        try:
            since = _time(asked["since"]) if "since" in asked else None
        except ValueError:
            return refusal(f"since={asked['since']} is not a time such as 2026-01-31T12:00:00Z")
        found = select(
            self._items, type_=asked.get("type"), name=asked.get("name"), role=asked.get("role"), since=since
        )
        return web.json_response({"count": len(found), "items": [item.document() for item in found[-int(limit) :]]})


def _time(text: str) -> datetime:
    # An unquoted + of a time zone arrives as a blank.
    at = datetime.fromisoformat(text.replace(" ", "+"))
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
