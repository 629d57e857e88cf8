"""One run: plays a script, lets everything settle, and says which rule was broken, if any."""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import Any

import structlog

from tests.exploration.inhabit import inhabit
from tests.exploration.numbers import possible_numbers
from tests.exploration.placing import windows
from tests.exploration.process import LEASE_SECONDS, RESYNC, SURPRISES, OperatorProcess
from tests.exploration.rules import Broken, Rules
from tests.exploration.script import Event, Script, apply_edit
from tests.exploration.specs import INSTALLATION, REGISTERED, variants
from tests.exploration.virtual import VirtualLoop, run
from tests.exploration.wire import Network
from tests.exploration.world import Nodes, Worker, World
from workforce_operator.api.spec import ControlDialect, WorkforceSpec
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.errors import Denied, SpecError, Unavailable
from workforce_operator.domain.observed import Phase
from workforce_operator.domain.status import CAPACITY_EVERY
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile import reconciler

PATIENCE = 4 * 3600.0
"""By then everything has settled: the longest back-off is an hour, and a recall is given up after half of one."""
QUIET = CAPACITY_EVERY.total_seconds() + 1.2 * RESYNC
"""Nothing was written, and no job changed, for so long that a pass has seen it, and no free nodes are still to be told
by one: it has settled."""

SHARED_WITH_ANOTHER = 0.1
"""How often another installation has jobs of the same names in the regions."""


@dataclass
class Result:
    """What came of a run."""

    script: Script
    broken: Broken | None = None
    hit: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    passes: int = 0
    virtual_seconds: float = 0.0
    trace: list[str] = field(default_factory=list)


def play(script: Script, *, trace: bool = False) -> Result:
    """Play a script from beginning to end, or to the first rule that is broken."""
    return _Run(script, trace=trace).result()


def silence() -> None:
    """No log lines: an exploration would write millions. What nobody foresaw is kept."""

    class Silent(structlog.make_filtering_bound_logger(logging.CRITICAL)):
        def exception(self, event: str, *args: Any, **more: Any) -> None:
            SURPRISES.append(traceback.format_exc())

    structlog.configure(wrapper_class=Silent, logger_factory=structlog.ReturnLoggerFactory())


class _Run:
    def __init__(self, script: Script, *, trace: bool) -> None:
        self.script, self._tracing = script, trace
        self.lines: list[str] = []
        self.loop = VirtualLoop()
        self.broken: Broken | None = None
        self.over = False
        self.world = World(self.loop, random.Random(script.seed))
        self.world.nodes = {name: Nodes(number) for name, number in script.nodes.items()}
        self.rules = Rules(self.world, self._break)
        self.network = Network(self.world, self.rules, script, self._trace, tracing=trace)
        self.processes: list[OperatorProcess] = []
        self.skew = 0.0
        self.silent_until = 0.0
        self.deleted: set[Key] = set()
        self.definition_went = False

    def result(self) -> Result:
        SURPRISES.clear()
        state = random.getstate()
        random.seed(self.script.seed)
        decide = reconciler.decide

        def watched(desired: Any, observed: Any, ledger: Any) -> Any:
            plan = decide(desired, observed, ledger)
            self.rules.planned(desired, observed, ledger, plan)
            return plan

        reconciler.decide = watched
        try:
            run(self.loop, self._main())
            self.over = True
            for process in self.processes:
                process.die()
            self.loop.finish()
        finally:
            reconciler.decide = decide
            random.setstate(state)
        hit = self.network.hit + self.rules.seen
        return Result(self.script, self.broken, hit, self.network.calls, self.rules.plans, self.loop.now, self.lines)

    def _trace(self, text: str) -> None:
        if self._tracing:
            self.lines.append(f"{self.loop.now:9.2f}  {text}")

    def _break(self, broken: Broken) -> None:
        if self.broken is None and not self.over:
            self.broken = broken
            self._trace(f"BROKEN {broken}")
            self.loop.stop()

    # The course of a run

    async def _main(self) -> None:
        for key, spec in self.script.specs.items():
            self._apply(key, spec)
            if "adoptFrom" in spec or self.world.rng.random() < SHARED_WITH_ANOTHER:
                inhabit(self.world, key, spec)
        supervisor = self.loop.create_task(self._supervise())
        for event in self.script.events:
            self.loop.call_at(event.at, self._happen, event)
        await asyncio.sleep(self.script.quiet_at)
        self._calm()
        await self._settle("in the end")
        await self._stays("the operator restarts", self._restart)
        if self.script.deleted_at_the_end:
            await self._delete_everything()
        supervisor.cancel()

    async def _supervise(self) -> None:
        """There is always a process that leads: another one takes over when the lease of the last one has run out."""
        while True:
            self._trace("a process starts")
            self.world.forget_reports()
            former = self.processes[-1] if self.processes else None
            name = f"p{len(self.processes)}"
            leader = OperatorProcess(self.network, name, skew=self.skew, key_of_job=self._key_of_job, former=former)
            self.processes.append(leader)
            await leader.no_longer_leads.wait()
            await asyncio.sleep(self.world.rng.uniform(1, LEASE_SECONDS))

    def _restart(self) -> None:
        for process in self.processes:
            process.die()

    def _calm(self) -> None:
        """All faults end, the clock is right, and there is work (or there is none any more)."""
        self._trace("-- calm --")
        self.world.calm()
        self.world.work(self.script.tasks)
        if self.world.store.definition_going:
            self.world.store.definition_going, self.world.definition_went_until = False, self.loop.now
        self.silent_until = self.skew = 0.0
        for process in self.processes:
            process.clock.skew = 0.0
        for key in sorted(self.script.specs):
            if self.world.store._objects.get(key) is None and self.definition_went:
                self._apply(key, self.script.specs[key])
        for process in self.processes:
            for key in self.script.specs:
                process.watch_event(key)

    async def _settle(self, when: str) -> None:
        """Wait until nothing is written any more and everything is as it should be."""
        until = self.loop.now + PATIENCE
        before, since = (self._writes(), self.world.changes), self.loop.now
        while self.loop.now < until:
            await asyncio.sleep(RESYNC / 5)
            if (self._writes(), self.world.changes) != before:
                before, since = (self._writes(), self.world.changes), self.loop.now
            if self.loop.now - since >= QUIET and not self._unsettled():
                return
        what = "; ".join(self._unsettled()) or "writes never end"
        self.rules.check(False, "convergence", f"{when}: {what}")

    async def _stays(self, why: str, act: Callable[[], None]) -> None:
        """Nothing is written although something happens that asks for nothing."""
        if any(_tells_anybody(stored.status) for stored in self.world.store._objects.values()):
            return  # Who was told without a name, by a message that was lost perhaps, is told anew at each deadline.
        writes = self._writes()
        act()
        await asyncio.sleep(LEASE_SECONDS + QUIET)
        self.rules.check(
            self._writes() == writes, "steady state", f"{why}, and (Azure, status) writes go from {writes} to "
            f"{self._writes()}",
        )  # fmt: skip

    async def _delete_everything(self) -> None:
        for key in self.script.specs:
            stored = self.world.store._objects.get(key)
            if stored is None:
                continue
            self._delete(key)
            deadline = stored.spec.get("deletionDeadlineSeconds", 86400)
            until = self.loop.now + min(PATIENCE, deadline + 600.0)
            if stored.spec.get("deletionPolicy") == "Orphan":
                until = self.loop.now + 600
            await self._gone(key, until)
            left = self.world.store._objects.get(key)
            # Whoever was told without a name, by a message that was lost perhaps, leaves at the deadline.
            told = left is not None and _tells_anybody(left.status)
            self.rules.check(left is None or told, "rule 10", f"{key.name}: the deletion does not end")

    async def _gone(self, key: Key, until: float) -> None:
        for _ in range(int((until - self.loop.now) // 30) + 1):
            if key not in self.world.store._objects:
                return
            await asyncio.sleep(30)

    def _writes(self) -> tuple[int, int]:
        return self.rules.azure_writes, self.rules.status_writes

    # What should be in the end

    def _unsettled(self) -> list[str]:
        wrong = []
        for key in self.script.specs:
            stored = self.world.store._objects.get(key)
            if stored is None:
                continue
            surveyed = [each.name for each in stored.status.regions if each.surveyed_time is not None]
            if stored.spec.get("suspend") != "Hold":
                wrong += [f"{key.name}: {name} is to be listed once more" for name in surveyed]
            # Read every pollIntervalSeconds by the operator's clock, which was wrong perhaps when it last was.
            known = stored.status.queue_length
            if "autoscaling" in stored.spec and known != self.script.tasks:
                wrong.append(f"{key.name}: {known} tasks are known of {self.script.tasks}")
            if stored.deletion_time is not None:
                deadline = stored.deletion_time + timedelta(seconds=stored.spec.get("deletionDeadlineSeconds", 86400))
                wrong += [f"{key.name} is still being deleted"] if self.world.clock.now() > deadline else []
                continue
            spec = WorkforceSpec.model_validate(stored.spec)
            wrong += self._changing_schedules(key, spec)
            wrong += self._wrong(key, spec, stored.status)
            names_workers = spec.control is not None and spec.control.dialect != "JobQ"
            if names_workers and spec.suspend != "Hold":
                named = [each for each in self.rules.workers_of(key) if each.name in stored.drain_requested]
                stay = [each for each in named if each.address not in self.rules.left_behind]
                wrong += [
                    f"{each.name} was named and stays" for each in stay if self.world.phase(each) is Phase.RUNNING
                ]
        return wrong

    def _wrong(self, key: Key, spec: WorkforceSpec, status: Any) -> list[str]:
        wanted = status.desired_replicas
        right = possible_numbers(spec, self.script.tasks, self.world.clock.now())
        wrong = [] if wanted in right else [f"{key.name}: {wanted} are wanted, not {right}"]
        if spec.suspend == "Hold":
            # The ramp of policy JobQ goes up by what runs, and nobody is hired.
            return wrong if spec.autoscaling and spec.autoscaling.policy != "JobQ" else []
        places = [
            ((region.subscription_id, region.resource_group, region.workspace), f"{key.name}-{region.name}-")
            for region in spec.regions
        ]
        workers = [
            worker
            for worker in self.rules.workers_of(key)
            # What a deleted object or a lost status left behind is nobody's until the spec names its region.
            if worker.address not in self.rules.left_behind
            or any(worker.address[:3] == where and worker.name.startswith(prefix) for where, prefix in places)
        ]
        supply = [
            worker for worker in workers if worker.leaving is None and self.world.phase(worker) is not Phase.ENDING
        ]
        leaving = len(workers) - len(supply)
        told = sum(wave.count or 0 for region in status.regions for wave in region.drains)
        text = f"{key.name}: {len(supply)} work and {leaving} leave, {wanted} wanted, {told} were told"
        # Whoever is told without a name, by a message that was lost perhaps, is not told again before the deadline.
        too_many = len(supply) > wanted + told and not self._forgot_whom_it_told(spec, status)
        if too_many and (spec.control is not None or self._any_waits(supply)):
            wrong.append(text)
        if len(supply) < wanted and self._some_task_waits(spec) and spec.suspend == "None":
            wrong.append(text)
        if leaving and len(supply) >= wanted:
            wrong.append(text)
        wrong += self._awaited(key, spec, status)
        paused = [each.name for each in supply if self.world.phase(each) is Phase.PAUSED]
        if paused and len(supply) <= wanted:
            wrong.append(f"{key.name}: {paused} are paused and wanted")
        if not wrong and not len(supply) - told <= status.replicas <= len(supply):
            wrong.append(f"{key.name}: the status says {status.replicas} replicas, {len(supply)} are there")
        return wrong

    def _forgot_whom_it_told(self, spec: WorkforceSpec, status: Any) -> bool:
        """How many were told without a name went with the status: until their deadline nobody else is told."""
        if spec.control is None or spec.control.dialect is not ControlDialect.JOBQ:
            return False
        forgotten = self.world.clock.now() - timedelta(seconds=spec.drain.deadline_seconds)
        return any(region.restored_time and region.restored_time > forgotten for region in status.regions)

    def _changing_schedules(self, key: Key, spec: WorkforceSpec) -> Iterator[str]:
        now = self.world.clock.now()
        for schedule in spec.autoscaling.schedules if spec.autoscaling else ():
            # What an end of it leads to may come later by the longest stabilisation window.
            edges, quiet = chain(*windows(schedule, now)), timedelta(seconds=QUIET)
            if any(now - 2 * quiet < edge < now + 4 * quiet for edge in edges):
                yield f"{key.name}: the schedule {schedule.name} begins or ends soon, or has just done so"

    def _awaited(self, key: Key, spec: WorkforceSpec, status: Any) -> Iterator[str]:
        """What time alone will change."""
        now = self.world.clock.now()
        for region in status.regions:
            forgotten = timedelta(seconds=spec.drain.deadline_seconds)
            left = region.restored_time and (region.restored_time + forgotten - now).total_seconds()
            if left is not None and left < PATIENCE:
                yield f"{key.name}: who leaves {region.name} is known again in {left} s"
            # Whoever is told without a name and has not left by then is told anew, perhaps the first message was lost.
            due = [wave.deadline_time for wave in region.drains if wave.count]
            if any(now < deadline < now + timedelta(seconds=2 * QUIET) for deadline in due):
                yield f"{key.name}: who was told in {region.name} is told anew soon"
            # A circuit is told as half open by the first pass after its back-off, whether or not a hire is wanted.
            retry = region.circuit.retry_time if region.circuit else None
            if retry is not None and now < retry + timedelta(seconds=1.1 * RESYNC):
                yield f"{key.name}: the circuit of {region.name} is not told as half open yet"

    def _some_task_waits(self, spec: WorkforceSpec) -> bool:
        """Where Service Bus counts all tasks as one, none waits once as many are being run."""
        busy = sum(worker.is_busy and self.world.phase(worker) is Phase.RUNNING for worker in self.world.live())
        return self.script.tasks > (busy if spec.queue.service_bus else 0)

    def _any_waits(self, workers: list[Worker]) -> bool:
        return any(self.world.phase(worker) is Phase.PENDING for worker in workers)

    # What people do

    def _apply(self, key: Key, spec: dict[str, Any]) -> None:
        self.network.hit.update(variants(spec))
        self.world.store.apply(key, spec)
        self.rules.applied(key, spec)
        self._tell(key)

    def _delete(self, key: Key) -> None:
        self.world.store.delete(key)
        self.deleted.add(key)
        self._tell(key)

    def _tell(self, key: Key) -> None:
        if self.loop.now >= self.silent_until and self.processes:
            self.processes[-1].watch_event(key)

    def _key_of_job(self, job: str) -> Key:
        for key in self.script.specs:
            if job.startswith(f"{key.name}-"):
                return key
        raise AssertionError(f"whose is {job}?")

    def _happen(self, event: Event) -> None:
        if self.world.quiet:
            return
        self._trace(f"-- {event.kind} {event.arguments}")
        self.network.hit[event.kind] += 1
        if event.kind == "edit":
            self._edit(*event.arguments)
        else:
            getattr(self, "on_" + event.kind.replace(" ", "_").replace("-", "_").lower())(*event.arguments)

    def _edit(self, key: Key, kind: str, seed: int) -> None:
        stored = self.world.store._objects.get(key)
        if stored is not None:
            self.network.hit[kind] += 1
            self._apply(key, apply_edit(stored.spec, kind, seed))

    def _delete_and_again(self, key: Key) -> None:
        if self.world.store._objects.get(key) is None and not self.world.quiet:
            self._apply(key, self.script.specs[key])

    def on_delete(self, key: Key, number: int, seconds: float) -> None:
        self._delete(key)
        if number % 2:
            for later in (seconds, seconds * 2, seconds * 4):
                self.loop.call_later(later, self._delete_and_again, key)

    # What the platform does: each gets the Workforce, a number to choose by, and for how long

    def _one(self, number: int, *phases: Phase) -> Worker | None:
        workers = [worker for worker in self.world.live() if not phases or self.world.phase(worker) in phases]
        return workers[number % len(workers)] if workers else None

    def _workspace(self, number: int) -> str:
        return sorted(self.script.nodes)[number % len(self.script.nodes)]

    def on_preempt(self, key: Key, number: int, seconds: float) -> None:
        if worker := self._one(number, Phase.RUNNING):
            self.world.preempt(worker)

    def on_fail(self, key: Key, number: int, seconds: float) -> None:
        if worker := self._one(number, Phase.RUNNING, Phase.PENDING):
            self.world.end(worker, "Failed", "it broke")

    def on_complete(self, key: Key, number: int, seconds: float) -> None:
        if worker := self._one(number, Phase.RUNNING):
            self.world.end(worker, "Completed")

    def on_pause(self, key: Key, number: int, seconds: float) -> None:
        if worker := self._one(number, Phase.RUNNING):
            self.world.pause(worker)

    def on_not_responding(self, key: Key, number: int, seconds: float) -> None:
        if worker := self._one(number, Phase.RUNNING):
            self.world._set(worker, "NotResponding")
            self.loop.call_later(seconds, self._responds_again, worker, worker.lives)

    def _responds_again(self, worker: Worker, life: int) -> None:
        if worker.lives == life and self.world.state(worker) == "NotResponding":
            self.world._set(worker, "Running")
            self.world.read_session(worker)

    def on_deaf(self, key: Key, number: int, seconds: float) -> None:
        if worker := self._one(number, Phase.RUNNING):
            worker.deaf_until = self.loop.now + seconds * 3

    def on_stubborn(self, key: Key, number: int, seconds: float) -> None:
        if worker := self._one(number):
            worker.stubborn = True

    def on_region_down(self, key: Key, number: int, seconds: float) -> None:
        self.world.down[self._workspace(number)] = self.loop.now + seconds

    def on_region_denied(self, key: Key, number: int, seconds: float) -> None:
        self.world.denied[self._workspace(number)] = self.loop.now + seconds

    def on_nodes(self, key: Key, number: int, seconds: float) -> None:
        pool = self.world.nodes[self._workspace(number)]
        pool.number = number % 7
        self.world._fill(pool)

    def on_poison(self, key: Key, number: int, seconds: float) -> None:
        pool = self.world.nodes[self._workspace(number)]
        pool.poisoned = True
        self.loop.call_later(seconds, setattr, pool, "poisoned", False)

    def on_control_down(self, key: Key, number: int, seconds: float) -> None:
        self.world.down["control"] = self.loop.now + seconds

    def on_one_channel_down(self, key: Key, number: int, seconds: float) -> None:
        self.world.down[f"bus-of-r{number % 3}"] = self.loop.now + seconds * 2

    def on_queue_unreadable(self, key: Key, number: int, seconds: float) -> None:
        self.world.down["queue"] = self.loop.now + seconds

    def on_queue_empty(self, key: Key, number: int, seconds: float) -> None:
        self.world.work(0)
        self.loop.call_later(seconds, lambda: self.world.quiet or self.world.work(100))

    def on_tail(self, key: Key, number: int, seconds: float) -> None:
        """The last tasks are being run, and who has none completes."""
        running = [worker for worker in self.world.live() if self.world.phase(worker) is Phase.RUNNING]
        self.world.work(sum(worker.is_busy for worker in running), visible=False)
        for worker in running:
            if not worker.is_busy:
                self.loop.call_later(1 + number, self.world.end, worker, "Completed")
        self.loop.call_later(seconds, lambda: self.world.quiet or self.world.work(100))

    def on_queue_length(self, key: Key, number: int, seconds: float) -> None:
        self.world.work((1, 8, 12, 25, 110)[number % 5])

    def on_hires_refused(self, key: Key, number: int, seconds: float) -> None:
        refusals = (
            Denied("no role", scope="jobs"),
            SpecError("there is no such compute", reason="ComputeNotFound"),
            Unavailable("it does not answer"),
        )
        self.world.refuses[self._workspace(number)] = self.loop.now + seconds * 2, refusals[number % 3]

    def on_time_used_up(self, key: Key, number: int, seconds: float) -> None:
        if worker := self._one(number, Phase.RUNNING, Phase.PAUSED):
            self.world.jobs.used_up.add(worker.name)
            self.world.pause(worker)

    def on_new_version(self, key: Key, number: int, seconds: float) -> None:
        self.world.templates.latest[REGISTERED] = str(number)

    def on_lists_stand_still(self, key: Key, number: int, seconds: float) -> None:
        self.world.jobs.freeze_lists()
        self.loop.call_later(seconds, self.world.jobs.thaw_lists)

    def on_lists_short(self, key: Key, number: int, seconds: float) -> None:
        self.world.down["index"] = self.loop.now + seconds

    def on_reports_lost(self, key: Key, number: int, seconds: float) -> None:
        self.world.down["reports"] = self.loop.now + seconds * 3

    def on_api_server_down(self, key: Key, number: int, seconds: float) -> None:
        self.world.down["Kubernetes"] = self.loop.now + seconds

    def on_clock_wrong(self, key: Key, number: int, seconds: float) -> None:
        self.skew = (number - 32) * seconds / 8
        for process in self.processes:
            process.clock.skew = self.skew

    def on_watch_again(self, key: Key, number: int, seconds: float) -> None:
        for process in self.processes:
            process.watch_event(key)

    def on_watch_silent(self, key: Key, number: int, seconds: float) -> None:
        self.silent_until = self.loop.now + seconds

    def on_restart(self, key: Key, number: int, seconds: float) -> None:
        self._restart()

    def on_stand_by_takes_over(self, key: Key, number: int, seconds: float) -> None:
        if self.processes:
            self.processes[-1].freeze("asleep", number / 64)

    def on_status_lost(self, key: Key, number: int, seconds: float) -> None:
        if key in self.world.store._objects:
            self.world.store.lose_status(key)
            self.rules.status_lost(key)
            self._tell(key)

    def on_drain_asked(self, key: Key, number: int, seconds: float) -> None:
        worker = self._one(number, Phase.RUNNING)
        owner = self._key_of_job(worker.name) if worker else key
        if worker and owner in self.world.store._objects:
            asked = self.world.store._objects[owner].drain_requested
            self.world.store.ask_to_drain(owner, *asked, worker.name)
            self._tell(owner)

    def on_definition_goes(self, key: Key, number: int, seconds: float) -> None:
        self.world.store.definition_going = True
        self.definition_went = True
        for each in self.script.specs:
            self._delete(each)


def _tells_anybody(status: Any) -> bool:
    """Whether a wave is under way that names nobody."""
    return any(wave.count for region in status.regions for wave in region.drains)


__all__ = ["INSTALLATION", "Desired", "Result", "play"]
