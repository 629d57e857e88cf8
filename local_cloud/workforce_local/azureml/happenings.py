"""Lets a scenario happen: preemptions by the seed, and nodes that somebody else's jobs take and give back.

It decides when and to whom; what it does is `control`'s. Invariant: the same seed draws the same waits and, among the
same running jobs, the same victims.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from workforce_local.azureml.control import Control, NodeView
from workforce_local.azureml.fleet import Fleet
from workforce_local.config import PreemptionSchedule, ScenarioConfig, SharedLoad


class Happenings:
    """One scenario. Close it in the end."""

    def __init__(self, scenario: ScenarioConfig, fleet: Fleet, control: Control) -> None:
        self._scenario = scenario
        self._fleet = fleet
        self._control = control
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to count the time."""
        for compute in self._fleet:
            where = (compute.workspace, compute.config.name)
            for number, schedule in enumerate(self._scenario.preemption):
                if schedule.matches(*where):
                    # It makes tests repeatable and decides nothing secret.
                    chance = random.Random(f"{self._scenario.seed}/{number}/{'/'.join(where)}")  # noqa: S311
                    self._begin(self._preempt(schedule, where, chance))
            for load in self._scenario.shared:
                if load.matches(*where):
                    self._begin(self._share(load, where))

    async def close(self) -> None:
        """Nothing happens any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, what: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(what, name="scenario"))

    async def _preempt(self, schedule: PreemptionSchedule, where: tuple[str, str], chance: random.Random) -> None:
        while True:
            await asyncio.sleep(chance.uniform(*schedule.every))
            withdrawn = chance.random() < schedule.withdrawn
            victims = sorted(view.job for view in self._here(where) if view.job is not None)
            if victims:
                victim = chance.choice(victims)
                target = f"{where[0]}/{victim}" if where[0] else victim
                after = schedule.withdraw_after_seconds if withdrawn else None
                self._control.preempt(target, schedule.notice_seconds, after)

    def _here(self, where: tuple[str, str]) -> list[NodeView]:
        return [view for view in self._control.nodes() if (view.workspace, view.compute) == where]

    async def _share(self, load: SharedLoad, where: tuple[str, str]) -> None:
        await asyncio.sleep(load.at_seconds)
        self._control.set_shared(*where, load.nodes)
