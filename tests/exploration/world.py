"""The Azure and the Kubernetes of one run: services that keep their state whatever happens to the operator.

The services are the memory adapters, which pass the contract suites of the real ones. This module brings them to life:
nodes on which jobs start, workers that read their sessions and leave (or not), regions that go down. Everything here
happens by timers of the virtual loop; nothing here is ever told what the operator intends.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from jobq import names
from jobq.control import ORDER_TTL, Exit, Mode, OnDeadline, Operation, Order, State
from tests.exploration.specs import REGISTERED, SERVICE_BUS_QUEUE
from tests.exploration.virtual import VirtualLoop, WallClock
from workforce_operator.adapters.memory import (
    MemoryCapacity,
    MemoryControlChannel,
    MemoryTaskQueueDepth,
    MemoryTemplates,
    MemoryWorkerJobs,
    MemoryWorkforceStore,
    SentOrder,
)
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.errors import OperatorError
from workforce_operator.domain.observed import Phase
from workforce_operator.ports.azure import Workplace

ACCOUNT, QUEUE = "account", "tasks"
REPORT_SECONDS = 300.0
Address = tuple[str, str, str, str]


def address_in(place: Workplace, name: str) -> Address:
    """Where a job of this name would be."""
    at = place.coordinates
    return at.subscription_id, at.resource_group, at.workspace, name


@dataclass
class Session:
    """A job's session on the nodes' queue. Its revision outlives the agents that read it."""

    waiting: deque[SentOrder] = field(default_factory=deque)
    revision: int = 0


@dataclass
class Worker:
    """A job, and the agent in it while it runs.

    Attributes:
        control: It listens to its session and reports. Workers of ai4s-jobq do not: they listen to a topic.
        namespace: Where it does; "" for a worker that listens to nothing.
        topic: That topic; "" for a worker that listens to none.
        lives: Raised whenever the job leaves its node: timers of an earlier life have no effect.
        leaving: The order that it follows, or None.
        leaves_at: When its last task ends, if it is leaving.
        worked: Whether the agent has pulled a task in this life.
    """

    address: Address
    sequence: int
    owner: str
    prefix: str
    control: bool
    namespace: str = ""
    topic: str = ""
    lives: int = 0
    leaving: Order | None = None
    leaves_at: float = 0.0
    deaf_until: float = 0.0
    stubborn: bool = False
    worked: bool = False

    @property
    def name(self) -> str:
        return self.address[3]

    @property
    def is_busy(self) -> bool:
        """Whether it runs a task while it runs."""
        return self.sequence % 3 != 0


@dataclass
class Nodes:
    """The compute of one workspace."""

    number: int
    poisoned: bool = False
    waiting: deque[Worker] = field(default_factory=deque)
    busy: set[Address] = field(default_factory=set)


class World:
    """All services, and what happens in them by itself."""

    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        self.loop, self.rng = loop, rng
        self.clock = WallClock(loop)
        self.store = MemoryWorkforceStore(self.clock)
        self.jobs = MemoryWorkerJobs(self.clock)
        self.control = MemoryControlChannel(self.clock)
        self.depth = MemoryTaskQueueDepth()
        self.capacity = MemoryCapacity()
        self.templates = MemoryTemplates()
        self.workers: dict[Address, Worker] = {}
        self.sessions: dict[tuple[str, str], Session] = {}  # by namespace and job
        self.nodes: dict[str, Nodes] = {}
        self.down: dict[str, float] = {}  # what cannot be reached -> until when
        self.denied: dict[str, float] = {}
        self.refuses: dict[str, tuple[float, OperatorError]] = {}  # workspaces that take no job -> until when, and why
        self.quiet = False
        self.definition_went_until = -1.0
        self.changes = 0
        self.templates.latest[REGISTERED] = "1"
        self.work(100)

    # The task queue

    def work(self, tasks: int, *, visible: bool | None = None) -> None:
        """So many tasks wait or are being run, in the queue of either kind; Service Bus does not tell which."""
        self.depth.set(ACCOUNT, QUEUE, tasks, visible=visible)
        bus = SERVICE_BUS_QUEUE["serviceBus"]
        self.depth.set(bus["namespace"], bus["name"], tasks, told_apart=False)

    # What cannot be reached

    def is_down(self, *what: str) -> bool:
        return any(self.down.get(each, 0.0) > self.loop.now for each in what)

    def is_denied(self, *what: str) -> bool:
        return any(self.denied.get(each, 0.0) > self.loop.now for each in what)

    # Jobs

    def pool(self, address: Address) -> Nodes:
        return self.nodes.setdefault(address[2], Nodes(20))

    def state(self, worker: Worker) -> str:
        return self.jobs.jobs[worker.address].job.state

    def phase(self, worker: Worker) -> Phase:
        return self.jobs.jobs[worker.address].job.phase

    def live(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if self.phase(worker) is not Phase.ENDED]

    def living_in(self, place: Workplace) -> list[Worker]:
        """Live jobs of one region of one Workforce, wherever the region was when they were hired."""
        return [worker for worker in self.live() if worker.prefix == place.prefix]

    def refused(self, workspace: str) -> OperatorError | None:
        """Why a workspace takes no job now."""
        until, why = self.refuses.get(workspace, (0.0, None))
        return why if until > self.loop.now else None

    def tell_nodes(self, place: Workplace) -> None:
        """The cluster tells its nodes as they are now."""
        pool = self.pool(address_in(place, ""))
        target = min(pool.number, len(pool.busy) + len(pool.waiting))
        self.capacity.clusters[place.coordinates.workspace, place.coordinates.compute] = ClusterCapacity(
            most=pool.number, target=max(target, len(pool.busy)), running=len(pool.busy), idle=0
        )

    def born(self, address: Address, place: Workplace, sequence: int, environment: Mapping[str, str]) -> None:
        """A PUT has made a job: its agent listens where its environment says."""
        named = names.NODE_QUEUE_VARIABLE in environment
        namespace = environment.get(names.BACK_CHANNEL_VARIABLE, "").partition(".")[0]
        topic = "" if named else environment.get(names.CONTROL_TOPIC_VARIABLE, "")
        worker = Worker(address, sequence, place.owner, place.prefix, named, namespace, topic)
        self.workers[address] = worker
        self.loop.call_later(self.rng.uniform(1, 20), self._wait_for_node, worker)

    def cancelled(self, address: Address) -> None:
        """A cancel was accepted."""
        worker = self.workers[address]
        if self.phase(worker) is Phase.ENDING:
            self.loop.call_later(self.rng.uniform(1, 200), self.end, worker, "Canceled")

    def end(self, worker: Worker, state: str, error: str | None = None) -> None:
        """The job ends."""
        if self.phase(worker) is not Phase.ENDED:
            if state == "Failed":
                self._last_words(worker, "failed", 1, ["it broke"])
            self._off_its_node(worker)
            self._set(worker, state, error)

    def _last_words(self, worker: Worker, why: str, exit_code: int, error: Sequence[str] = ()) -> None:
        if self._is_heard(worker):
            said = {"job": worker.name, "time": self.clock.now(), "why": why, "exit_code": exit_code}
            self.control.report(worker.namespace, Exit(error=list(error), **said))

    def preempt(self, worker: Worker, state: str = "Queued") -> None:
        """The job loses its node and waits for another one."""
        if self.phase(worker) is Phase.RUNNING:
            self._off_its_node(worker)
            self._set(worker, state)
            self.loop.call_later(self.rng.uniform(5, 60), self._wait_for_node, worker)

    def pause(self, worker: Worker) -> None:
        """The platform pauses it, until somebody resumes it."""
        self.preempt(worker, "Paused")

    def resumed(self, worker: Worker) -> None:
        """A resume was accepted; without effect on a job that is not paused (any more)."""
        if self.phase(worker) is Phase.PENDING:
            self.loop.call_later(self.rng.uniform(1, 30), self._wait_for_node, worker)

    def calm(self) -> None:
        """From now on nothing goes wrong, and tasks end soon."""
        self.quiet = True
        self.down.clear()
        self.denied.clear()
        self.refuses.clear()
        self.jobs.thaw_lists()
        self.jobs.missing.clear()
        for pool in self.nodes.values():
            pool.number, pool.poisoned = 100, False
            self._fill(pool)
        for worker in self.workers.values():
            worker.deaf_until, worker.stubborn = 0.0, False
            if self.state(worker) == "NotResponding":
                self._set(worker, "Running")
            if worker.leaving is not None:
                self._leave(worker, worker.leaving)
            self.read_session(worker)

    def _set(self, worker: Worker, state: str, error: str | None = None) -> None:
        stored, now = self.jobs.jobs[worker.address], self.clock.now()
        job = replace(stored.job, state=state, error=error or stored.job.error)
        if job.phase is Phase.RUNNING and job.started is None:
            job = replace(job, started=now)
        if job.phase is Phase.ENDED:
            job = replace(job, ended=now)
        self.jobs.jobs[worker.address] = replace(stored, job=job)
        self.changes += 1

    def _wait_for_node(self, worker: Worker) -> None:
        if self.state(worker) == "Paused":
            return
        pool = self.pool(worker.address)
        if self.phase(worker) is Phase.PENDING and worker not in pool.waiting:
            self._set(worker, "Queued")
            pool.waiting.append(worker)
            self._fill(pool)

    def _fill(self, pool: Nodes) -> None:
        while pool.waiting and len(pool.busy) < pool.number:
            worker = pool.waiting.popleft()
            if self.phase(worker) is Phase.PENDING:
                pool.busy.add(worker.address)
                self._start(worker)

    def _off_its_node(self, worker: Worker) -> None:
        worker.lives += 1
        worker.leaving, worker.worked = None, False
        pool = self.pool(worker.address)
        if worker.address in pool.busy:
            pool.busy.discard(worker.address)
            self._fill(pool)

    # The agent in a job

    def _start(self, worker: Worker) -> None:
        self._set(worker, "Running")
        life = worker.lives
        if self.pool(worker.address).poisoned:
            self._later(self.rng.uniform(1, 30), worker, life, lambda: self.end(worker, "Failed", "no such image"))
        # It looks at its session before its first pull.
        self.read_session(worker)
        worker.worked = worker.leaving is None
        self._report_now_and_then(worker, life)

    def told(self, order: SentOrder) -> None:
        """An order has reached a session."""
        session = self.sessions.setdefault((order.namespace, order.job), Session())
        session.waiting.append(order)
        for worker in self.workers.values():
            if worker.name == order.job:
                self.loop.call_later(self.rng.uniform(0, 40), self.read_session, worker)

    def read_session(self, worker: Worker) -> None:
        """The agent takes what has come, if it can."""
        session = self.sessions.get((worker.namespace, worker.name))
        if session is None or self.state(worker) != "Running" or worker.deaf_until > self.loop.now:
            return
        while session.waiting:
            sent = session.waiting.popleft()
            if self.clock.now() - sent.at < ORDER_TTL and sent.order.revision >= session.revision:
                session.revision = sent.order.revision
                self._obey(worker, sent.order)

    def told_any(self, namespace: str, topic: str, order: Order) -> None:
        """A message has reached a topic: one of the workers that listen takes it, or it expires."""
        until = self.loop.now + ORDER_TTL.total_seconds()
        self.loop.call_later(self.rng.uniform(0, 40), self._taken, namespace, topic, order, until)

    def _taken(self, namespace: str, topic: str, order: Order, until: float) -> None:
        listening = [
            worker
            for worker in self.live()
            if (worker.namespace, worker.topic) == (namespace, topic)
            and worker.leaving is None
            and self.state(worker) == "Running"
        ]
        if listening and not self.is_down("control", namespace):
            self._leave(self.rng.choice(listening), order)
        elif self.loop.now < until:
            self.loop.call_later(20.0, self._taken, namespace, topic, order, until)

    def _obey(self, worker: Worker, order: Order) -> None:
        if order.operation is Operation.ACCEPT_NEW_TASKS:
            worker.leaving, worker.worked = None, True
        elif worker.leaving is None or order.revision > worker.leaving.revision:
            self._leave(worker, order)
        self.report(worker)

    def _leave(self, worker: Worker, order: Order) -> None:
        worker.leaving = order
        longest = 60.0 if self.quiet else 7200.0 if worker.stubborn else 600.0
        if order.mode is Mode.CHECKPOINT or (worker.topic and order.operation is Operation.GRACEFUL_DOWNSCALE):
            longest = 20.0
        seconds = self.rng.uniform(1, longest) if worker.worked else 1.0
        if order.on_deadline is OnDeadline.CHECKPOINT and order.deadline is not None:
            seconds = min(seconds, max(0.0, (order.deadline - self.clock.now()).total_seconds()) + 20)
        worker.leaves_at = self.loop.now + seconds
        self._later(seconds, worker, worker.lives, lambda: self._left(worker))

    def _left(self, worker: Worker) -> None:
        """Its last task has ended, unless it was told to stay meanwhile, or its task takes longer."""
        if worker.leaving is not None and self.loop.now >= worker.leaves_at - 1e-3:
            self._last_words(worker, "drain-finish", 0)
            self.end(worker, "Completed")

    def _later(self, seconds: float, worker: Worker, life: int, act) -> None:
        def unless_it_has_gone() -> None:
            if worker.lives == life and self.phase(worker) is Phase.RUNNING:
                act()

        self.loop.call_later(seconds, unless_it_has_gone)

    def _report_now_and_then(self, worker: Worker, life: int) -> None:
        self.report(worker)
        self.read_session(worker)
        self._later(REPORT_SECONDS, worker, life, lambda: self._report_now_and_then(worker, life))

    def report(self, worker: Worker) -> None:
        """The agent says what it does, if it is heard."""
        if not self._is_heard(worker):
            return
        session = self.sessions.get((worker.namespace, worker.name), Session())
        self.control.report(
            worker.namespace,
            State(
                job=worker.name,
                time=self.clock.now(),
                busy_slots=int(worker.is_busy),
                oldest_task_start=self.clock.now() - timedelta(seconds=worker.sequence * 60),
                completed=0,
                failed=0,
                accepting=worker.leaving is None,
                drain_id=worker.leaving.id if worker.leaving else None,
                revision=session.revision,
            ),
        )

    def forget_reports(self) -> None:
        """A process that starts knows nothing of what workers said to the one before it."""
        self.control._reports.clear()
        self.control._last_words.clear()

    def _is_heard(self, worker: Worker) -> bool:
        return worker.control and self.state(worker) == "Running" and not self.is_down("reports")
