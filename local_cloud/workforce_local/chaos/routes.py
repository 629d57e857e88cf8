"""The interface by which faults are set, shown and taken away, under ``/_local/chaos``.

Invariant: a scenario is set as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from workforce_local.admin import PREFIX, guarded, refusal
from workforce_local.chaos.engine import Engine, documents
from workforce_local.chaos.places import Places
from workforce_local.chaos.scenario import ScenarioError, read

PATH = f"{PREFIX}chaos"


class ChaosRoutes:
    """Translates requests into calls of the engine.

    Args:
        engine: Holds the faults.
        places: Where they may strike.
        changed: Told when faults were set or taken away; they count when it returns.
    """

    def __init__(self, engine: Engine, places: Places, changed: Callable[[], Awaitable[None]]) -> None:
        self._engine = engine
        self._places = places
        self._changed = changed

    def table(self, token: str) -> list[web.RouteDef]:
        """What to add to a server."""
        return [
            web.post(PATH, guarded(token, self.set)),
            web.get(PATH, guarded(token, self.show)),
            web.delete(PATH, guarded(token, self.remove)),
            web.get(f"{PATH}/injected", guarded(token, self.injected)),
        ]

    async def set(self, request: web.Request) -> web.Response:
        """Add a scenario's faults, or a single one."""
        try:
            scenario = read(await request.json())
            self._places.check(scenario)
        except ScenarioError as error:
            return refusal(str(error))
        except (ValueError, RecursionError) as error:
            return refusal(f"the body is not JSON: {error}")
        added = [rule.fault.name for rule in self._engine.set(scenario)]
        await self._changed()
        return web.json_response({"set": added})

    async def show(self, request: web.Request) -> web.Response:
        """The faults that are set."""
        return web.json_response(self._engine.document())

    async def remove(self, request: web.Request) -> web.Response:
        """Take one fault away, or all."""
        name = request.query.get("name")
        if name is None:
            removed = self._engine.clear()
        elif self._engine.remove(name):
            removed = 1
        else:
            return refusal(f"no fault has the name {name}", status=404)
        await self._changed()
        return web.json_response({"removed": removed})

    async def injected(self, request: web.Request) -> web.Response:
        """What the faults did."""
        query = request.query
        after = query.get("after", "0")
        if not after.isdecimal():
            return refusal(f"after={after} is not the number of a stroke")
        found = self._engine.injected(fault=query.get("fault"), service=query.get("service"), after=int(after))
        return web.json_response({"injected": documents(found)})
