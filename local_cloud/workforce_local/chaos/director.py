"""Lets happenings happen: one task for each that is set, by the clock.

What a happening does is the business of `bus` and `nodes`. Invariant: a fault that was taken away does nothing more,
and what lasts (clusters that are full) ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Protocol

from workforce_local.chaos import faults
from workforce_local.chaos.engine import Engine, Rule
from workforce_local.chaos.faults import RequestFault

_log = logging.getLogger(__name__)


class Bus(Protocol):
    """What happens to Service Bus."""

    def happen(self, fault: faults.BusHappening) -> Iterable[tuple[str, str]]:
        """Let it happen; returns what it happened to, and how much."""


class Nodes(Protocol):
    """What happens to nodes and clusters."""

    def happen(self, fault: faults.NodeHappening, rule: Rule) -> AsyncGenerator[tuple[str, str], None]:
        """Let it happen; yields which nodes it happened to, and how, as it does."""

    def fill(self, fault: faults.FullClusters) -> Iterable[tuple[str, str]]:
        """Leave no room; returns the clusters."""

    def clear(self, fault: faults.FullClusters) -> None:
        """Give the room back."""


class Director:
    """Starts and ends the tasks. Close it in the end."""

    def __init__(
        self,
        engine: Engine,
        bus: Bus,
        nodes: Nodes,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._nodes = nodes
        self._sleep = sleep
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def changed(self) -> None:
        """Faults were set or taken away: start and end tasks accordingly."""
        wanted = {f"{id(rule)}": rule for rule in self._engine.rules if not isinstance(rule.fault, RequestFault)}
        for key in [key for key in self._tasks if key not in wanted]:
            self._tasks.pop(key).cancel()
        for key, rule in wanted.items():
            if key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._watched(rule), name=f"chaos {rule.fault.name}")

    async def close(self) -> None:
        """End all."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _watched(self, rule: Rule) -> None:
        try:
            await self._run(rule)
        except Exception:  # A supervisor: whoever asked for the fault has gone, so the log gets it.
            _log.exception("the fault %s failed", rule.fault.name)

    async def _run(self, rule: Rule) -> None:
        fault = rule.fault
        await self._sleep(fault.after_seconds)
        if isinstance(fault, faults.FullClusters):
            await self._fill(fault)
            return
        assert not isinstance(fault, RequestFault)
        most = fault.times or (None if fault.every_seconds else 1)
        end = None if fault.lasting_seconds is None else self._clock() + fault.lasting_seconds
        for number in itertools.count(1):
            await self._once(fault, rule)
            if fault.every_seconds is None or number == most:
                return
            await self._sleep(fault.every_seconds)
            if end is not None and self._clock() >= end:
                return

    async def _once(self, fault: faults.BusHappening | faults.NodeHappening, rule: Rule) -> None:
        if isinstance(fault, faults.Preemption | faults.NodeLoss):
            async with contextlib.aclosing(self._nodes.happen(fault, rule)) as strokes:
                async for what, detail in strokes:
                    self._engine.record(fault, "nodes", what, detail)
        else:
            self._record(fault, "serviceBus", self._bus.happen(fault))

    async def _fill(self, fault: faults.FullClusters) -> None:
        try:
            self._record(fault, "clusters", self._nodes.fill(fault))
            if fault.lasting_seconds is None:
                await asyncio.get_running_loop().create_future()
            else:
                await self._sleep(fault.lasting_seconds)
        finally:
            self._nodes.clear(fault)

    def _record(self, fault: faults.Fault, service: str, strokes: Iterable[tuple[str, str]]) -> None:
        for what, detail in strokes:
            self._engine.record(fault, service, what, detail)
