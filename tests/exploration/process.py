"""One operator process: the real loop, reconciler, observer, executor, planner and governor over wired ports."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime

from jobq.cloud import load_cloud
from tests.exploration.rules import Broken
from tests.exploration.specs import INSTALLATION
from tests.exploration.virtual import WallClock
from tests.exploration.wire import (
    Events,
    Line,
    Network,
    WiredCapacity,
    WiredControl,
    WiredDepth,
    WiredJobs,
    WiredStore,
    WiredTemplates,
)
from workforce_operator.adapters.arm.governor import Governor
from workforce_operator.adapters.kubernetes.election import Record, settles_after
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.errors import Fenced
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.execute import Executor
from workforce_operator.reconcile.loop import Loop, relist
from workforce_operator.reconcile.losses import Losses
from workforce_operator.reconcile.observe import Absences, Observer
from workforce_operator.reconcile.recent import Recent
from workforce_operator.reconcile.reconciler import Reconciler, Verdict
from workforce_operator.reconcile.shared import SharedJobs
from workforce_operator.reconcile.telemetry import ActionKind, ActionResult, LossCause, PassResult, Pulse, Source
from workforce_operator.reconcile.work_queue import WorkQueue

CLOUD = load_cloud("AzureCloud")
LEASE_SECONDS = 15.0
POLL, RESYNC, RELIST = 30.0, 300.0, 1200.0
"""Longer than in earnest: a pass costs the same milliseconds, however much time lies between two."""


SURPRISES: list[str] = []
"""What the operator has logged as something that nobody foresaw."""


class Telemetry:
    """How passes ended, for the trace."""

    def __init__(self, network: Network, process: OperatorProcess) -> None:
        self._network, self._process = network, process

    def pass_ended(self, result: PassResult, seconds: float) -> None:
        if self._process.dead:
            return
        if SURPRISES:
            self._network.rules.check(False, "no surprises", SURPRISES.pop())
        self._network.trace(f"{self._process.name}: pass {result.value}")

    def told(self, key: Key, status: WorkforceStatus | None) -> None:
        """Shows in the trace when it is stored."""

    def read_failed(self, source: Source) -> None:
        """Shows in the trace by the call itself."""

    def acted(self, kind: ActionKind, result: ActionResult) -> None:
        """Shows in the trace by the call itself."""

    def lost(self, cause: LossCause, seconds: float) -> None:
        """A number for people, from which nothing follows."""


class Crowded(SharedJobs):
    """Takes the list of all jobs, as if many other Workforces had just asked for theirs."""

    def _pages_alone(self, desk, place, cohorts):
        return super()._pages_alone(desk, place, cohorts) + 9


class OperatorProcess:
    """Starts when it is made. Ends when it is killed, or finds that another one leads.

    Who follows one that was killed is started in the same Pod; else another Pod takes the lease.
    """

    def __init__(
        self, network: Network, name: str, *, skew: float, key_of_job, former: OperatorProcess | None = None
    ) -> None:
        self.name, self._network, self._loop = name, network, network.world.loop
        self.pod = former.pod if former is not None and former.dead else name
        self.dead = False
        self.read_at: dict[Key, float] = {}
        self.confirmed: set[Key] = set()
        self.clock = WallClock(self._loop)
        self.clock.skew = skew
        self._settles = self._loop.now + settles_after(self.pod, former and Record(former.pod, "1"))
        self._frozen_until = 0.0
        self._lease_lost_at = float("inf")
        self.no_longer_leads = asyncio.Event()
        line = Line(network, self, Governor(clock=self._loop.time))
        sharing = Crowded if network.script.seed % 2 else SharedJobs
        self._jobs = sharing(WiredJobs(line), clock=self._loop.time)
        jobs, control, store = self._jobs, WiredControl(line, key_of_job), WiredStore(line)
        telemetry = Telemetry(network, self)
        absences = Absences(clock=self._loop.time, settled=self.settled)
        self._recent = Recent()
        self.reconciler = Reconciler(
            store=store,
            events=Events(),
            observer=Observer(
                jobs=jobs, depth=WiredDepth(line), control=control, capacity=WiredCapacity(line), clock=self.clock,
                telemetry=telemetry, absences=absences,
            ),
            executor=Executor(
                jobs=jobs, control=control, telemetry=telemetry, absences=absences, clock=self._loop.time
            ),
            templates=WiredTemplates(line),
            clock=self.clock,
            guard=self,
            losses=Losses(telemetry),
            cloud=CLOUD,
            installation_id=INSTALLATION,
            poll_seconds=POLL,
            resync_seconds=RESYNC,
            recent=self._recent,
        )  # fmt: skip
        self.queue: WorkQueue[Key] = WorkQueue(rng=random.Random(name).random, max_delay=120.0)
        loop = Loop(self.queue, self._reconcile, telemetry=telemetry, pulse=Pulse(clock=self._loop.time), workers=2)
        self._tasks = [
            self._loop.create_task(self._until_fenced(loop)),
            self._loop.create_task(relist(store, self.queue, seconds=RELIST)),
        ]

    def watch_event(self, key: Key) -> None:
        """The informer tells of a change, and of the object itself as long as it is new."""
        if not self.dead:
            self._recent.changed(key, self._network.world.store._objects.get(key))
            self.queue.add(key)

    async def _reconcile(self, key: Key) -> Verdict:
        self.confirmed.discard(key)
        return await self.reconciler.reconcile(key)

    # What the ports ask

    @property
    def leads(self) -> bool:
        return self._loop.now < self._lease_lost_at

    def check(self) -> None:
        """See ``ports.azure.WriteGuard``: the lease, by a clock that counts the time asleep."""
        if not self.leads:
            raise Fenced("the lease is held by another process")

    def settled(self) -> bool:
        """See ``ports.azure.WriteGuard``."""
        return self._loop.now >= self._settles

    def check_lease(self) -> None:
        self.check()

    def now(self) -> datetime:
        return self.clock.now()

    def die(self) -> None:
        """Killed: nothing of it runs on, and nothing is cleaned up."""
        if not self.dead:
            self._network.trace(f"{self.name}: killed")
            self.dead = True
            self.no_longer_leads.set()
            for task in self._tasks:
                task.cancel()
            self._tasks.append(self._loop.create_task(self._jobs.close()))

    def freeze(self, how: str, share: float) -> None:
        """It stops, and goes on later; asleep beyond its lease, another one leads when it wakes up."""
        seconds = share * (LEASE_SECONDS - 5) if how == "frozen" else LEASE_SECONDS + 5 + share * 200
        self._network.trace(f"{self.name}: {how} for {seconds:.1f} s")
        self._frozen_until = self._loop.now + seconds
        if how == "asleep":
            self._lease_lost_at = min(self._lease_lost_at, self._loop.now + LEASE_SECONDS)
            self._loop.call_at(self._lease_lost_at, self.no_longer_leads.set)

    async def awake(self) -> None:
        """Wait until it goes on; it may stop again just then."""
        if self._loop.now < self._frozen_until and not self.dead:
            await asyncio.sleep(self._frozen_until - self._loop.now)
            await self.awake()

    async def _until_fenced(self, loop: Loop) -> None:
        try:
            await loop.run()
        except Fenced:
            self._network.trace(f"{self.name}: another one leads")
            self.dead = True
            self.no_longer_leads.set()
            self._tasks[1].cancel()


__all__ = ["Broken", "OperatorProcess"]
