"""One operator process's view of the services: every call travels, and on the way anything may happen to it.

Each port here is the memory adapter behind a network. A call begins, its request travels, the service does what was
asked, and the answer travels back; the script says by number which calls go wrong, and how. What the service does is
done by the service: a process that is killed or stopped meanwhile changes nothing about it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from jobq.control import DrainFinished, Exit, Order
from tests.exploration.rules import Rules
from tests.exploration.script import Script
from tests.exploration.specs import VIRTUAL_CLUSTER
from tests.exploration.world import World, address_in
from workforce_operator.adapters.arm.governor import Governor, Kind
from workforce_operator.api.spec import Control, Queue
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.api.template import Template
from workforce_operator.domain.actions import Note
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.errors import Conflict, Denied, Throttled, Unavailable
from workforce_operator.domain.observed import Job, LastReport, QueueDepth
from workforce_operator.ports.azure import JobBody, Listing, Workplace
from workforce_operator.ports.kubernetes import Key, StoredWorkforce

T = TypeVar("T")
KUBERNETES, AZURE = "Kubernetes", "Azure"
LATEST = 90.0
"""A request that was given up arrives at the latest after so many seconds."""


class Process(Protocol):
    """What the network knows of the operator process that calls."""

    dead: bool
    read_at: dict[Key, float]  # when the API server last told it, or took a write of, an object
    confirmed: set[Key]  # of which objects that was in the pass under way

    def check_lease(self) -> None: ...
    @property
    def leads(self) -> bool: ...
    def now(self) -> datetime: ...
    def die(self) -> None: ...
    def freeze(self, how: str, share: float) -> None: ...
    async def awake(self) -> None: ...


@dataclass
class Network:
    """All calls of all processes of a run, numbered in the order in which they begin."""

    world: World
    rules: Rules
    script: Script
    trace: Callable[[str], None]
    calls: int = 0
    hit: Counter[str] = field(default_factory=Counter)
    last_lists: dict[tuple[str, str, frozenset[int] | None], tuple[Job, ...]] = field(default_factory=dict)
    last_listings: dict[tuple[str, str], Listing] = field(default_factory=dict)
    in_flight: int = 0
    tracing: bool = False

    def next_fault(self, what: str) -> tuple[str, float]:
        number, self.calls = self.calls, self.calls + 1
        fault = ("", 0.0) if self.world.quiet else self.script.faults.get(number, ("", 0.0))
        if fault[0]:
            self.hit[fault[0]] += 1
        self.trace(f"#{number} {what}{' ! ' + fault[0] if fault[0] else ''}")
        return fault


class Line:
    """The network between one process and the services."""

    def __init__(self, network: Network, process: Process, governor: Governor) -> None:
        self.network, self.process, self.governor = network, process, governor
        self.world, self.rules = network.world, network.rules

    async def call(
        self,
        what: str,
        service: Callable[[], Any],
        *,
        reach: tuple[str, ...],
        writes: Key | None = None,
        answer: Callable[[Any, str], Any] = lambda value, _fault: value,
        sending: Callable[[], None] = lambda: None,
    ) -> Any:
        """One call.

        Args:
            what: For the trace.
            service: Does it, when the request arrives; raises what the service answers.
            reach: What must be up.
            writes: The Workforce for which Azure is written to; such calls are fenced.
            answer: What becomes of the answer under a fault.
            sending: Called when the request goes out.
        """
        await self._boundary()
        fault, share = self.network.next_fault(what)
        if fault == "killed before":
            await self._die()
        if writes is not None:
            self.process.check_lease()
            self.rules.sent(writes, leads=self.process.leads, confirmed=writes in self.process.confirmed)
        if fault in ("frozen", "asleep"):
            self.process.freeze(fault, share)
            await self.process.awake()
        sending()
        arrived = self._send(service, fault, share, reach, what)
        value = await self._answered(arrived, fault, share)
        if fault == "killed after":
            await self._die()
        await self._boundary()
        return answer(value, fault)

    def _send(
        self, service: Callable[[], Any], fault: str, share: float, reach: tuple[str, ...], what: str
    ) -> asyncio.Future[Any]:
        """Let the request travel; the future is the service's answer."""
        loop, world = self.world.loop, self.world
        arrived: asyncio.Future[Any] = loop.create_future()
        arrived.add_done_callback(lambda future: future.cancelled() or future.exception())
        self.network.in_flight += 1

        def arrive() -> None:
            self.network.in_flight -= 1
            try:
                value = service()
            except Exception as error:  # the service's answer
                _settle(arrived, error)
            else:
                _settle(arrived, value)

        def refuse() -> None:
            self.network.in_flight -= 1
            _settle(arrived, _refusal(fault, share, what))

        travel = world.rng.uniform(0.01, 0.3 if reach[0] == KUBERNETES else 3.0)
        if world.is_down(*reach):
            fault = "refused"
        elif world.is_denied(*reach):
            fault = "denied"
        if fault in ("refused", "throttled", "denied"):
            loop.call_later(travel, refuse)
        elif fault == "late":
            loop.call_later(travel + share * LATEST, arrive)
        else:
            loop.call_later(travel, arrive)
        if fault == "twice":
            self.network.in_flight += 1
            loop.call_later(travel + 1 + share * 20, arrive)
        return arrived

    async def _answered(self, arrived: asyncio.Future[Any], fault: str, share: float) -> Any:
        if fault == "late":
            await asyncio.sleep(share * 5)
            raise Unavailable("the connection was reset")
        if fault == "hangs":
            await asyncio.sleep(7200)
        try:
            value = await asyncio.shield(arrived)
        except Throttled:
            raise
        except Exception:
            await self._boundary()
            raise
        if fault == "answer lost":
            raise Unavailable("the answer was lost")
        return value

    async def _boundary(self) -> None:
        if self.process.dead:
            await self._die()
        await self.process.awake()

    async def _die(self) -> None:
        self.process.die()
        await self.world.loop.create_future()

    async def arm(self, kind: Kind, what: str, place: Workplace, service: Callable[[], T], **more: Any) -> T:
        """One call of Azure Resource Manager, paced by the governor."""
        subscription = place.coordinates.subscription_id
        async with self.governor.slot(subscription, kind, turn=place.owner):
            try:
                return await self.call(what, service, reach=(AZURE, place.coordinates.workspace), **more)
            except Throttled as error:
                self.governor.report(subscription, kind, remaining=0, retry_after=error.retry_after)
                raise


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if future.done():
        return
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)


def _refusal(fault: str, share: float, what: str) -> Exception:
    if fault == "throttled":
        return Throttled("too many requests", retry_after=1 + share * 60)
    if fault == "denied":
        return Denied("no role", scope=what)
    return Unavailable("no answer")


def key_of(place: Workplace) -> Key:
    return Key(*place.owner.split("/")[1:])


class WiredJobs:
    """See ``ports.azure.WorkerJobs``."""

    def __init__(self, line: Line) -> None:
        self._line, self._world, self._rules = line, line.world, line.rules
        self._jobs = line.world.jobs
        self._read: dict[str, str] = {}  # phase of each job when this process last read it by name

    async def list_cohorts(self, place: Workplace, cohorts: frozenset[int]) -> tuple[Job, ...]:
        return await self._list(place, cohorts, lambda: _now(self._jobs.list_cohorts(place, cohorts)))

    async def list_owned(self, place: Workplace) -> tuple[Job, ...]:
        return await self._list(place, None, lambda: _now(self._jobs.list_owned(place)))

    async def list_installation(self, place: Workplace, *, most_pages: int) -> Listing | None:
        memory, question = self._line.network.last_listings, (place.installation_id, place.coordinates.workspace)

        def answer(value: Listing | None, fault: str) -> Listing | None:
            before = memory.get(question)
            if value is None:
                return None
            memory[question] = value
            if fault == "stale list" and before is not None:
                return before
            if fault == "short list" or self._world.is_down("index"):
                return replace(value, jobs={key: jobs[::2] for key, jobs in value.jobs.items()})
            return value

        def service() -> Listing | None:
            return _now(self._jobs.list_installation(place, most_pages=most_pages))

        return await self._line.arm(Kind.READ, f"list all for {place.region}", place, service, answer=answer)

    async def _list(
        self, place: Workplace, cohorts: frozenset[int] | None, service: Callable[[], tuple[Job, ...]]
    ) -> tuple[Job, ...]:
        memory, question = self._line.network.last_lists, (place.prefix, place.coordinates.workspace, cohorts)

        def answer(value: tuple[Job, ...], fault: str) -> tuple[Job, ...]:
            before = memory.get(question)
            memory[question] = value
            if fault == "stale list" and before is not None and cohorts is not None:
                return before
            if (fault == "short list" or self._world.is_down("index")) and cohorts is not None:
                return value[::2]
            return value

        return await self._line.arm(Kind.READ, f"list {place.region}", place, service, answer=answer)

    async def get(self, place: Workplace, name: str) -> Job | None:
        job = await self._line.arm(Kind.READ, f"get {name}", place, lambda: _now(self._jobs.get(place, name)))
        self._read[name] = job.phase.value if job else "none"
        return job

    async def hire(self, place: Workplace, name: str, sequence: int, body: JobBody) -> Job:
        key = key_of(place)
        decided_at = self._line.process.read_at.get(key, 0.0)
        address = address_in(place, name)

        def service() -> Job:
            new = address not in self._jobs.jobs
            if new and (refusal := self._world.refused(place.coordinates.workspace)) is not None:
                raise refusal
            job = _now(self._jobs.hire(place, name, sequence, body))
            if new:
                self._world.born(address, place, sequence, body.properties["environmentVariables"])
                self._rules.submitted(key, place, body.properties["environmentId"], decided_at=decided_at)
            self._rules.hired(key, place, sequence, decided_at=decided_at, created=new)
            return job

        return await self._line.arm(Kind.WRITE, f"hire {name}", place, service, writes=key)

    async def cancel(self, place: Workplace, name: str) -> None:
        key, address = key_of(place), address_in(place, name)
        now, seen = self._line.process.now(), self._read.get(name)

        def service() -> None:
            worker = self._world.workers.get(address)
            if worker is not None:
                self._rules.cancelled(key, worker, place.owner, now, seen=seen)
            _now(self._jobs.cancel(place, name))
            if worker is not None:
                self._world.cancelled(address)

        await self._line.arm(Kind.WRITE, f"cancel {name}", place, service, writes=key)

    async def resume(self, place: Workplace, name: str) -> bool:
        address = address_in(place, name)

        def service() -> bool:
            resumed = _now(self._jobs.resume(place, name))
            worker = self._world.workers.get(address)
            if worker is not None:
                self._world.resumed(worker)
            return resumed

        return await self._line.arm(Kind.WRITE, f"resume {name}", place, service, writes=key_of(place))


class WiredControl:
    """See ``ports.azure.ControlChannel``. What workers reported is known to the process that was told."""

    def __init__(self, line: Line, key_of_job: Callable[[str], Key]) -> None:
        self._line, self._control, self._key_of_job = line, line.world.control, key_of_job

    async def ensure(self, control: Control, topics: frozenset[str], installation_id: str) -> None:
        await self._line.call(
            "ensure",
            lambda: _now(self._control.ensure(control, topics, installation_id)),
            reach=_channel(control),
        )

    async def send(self, control: Control, installation_id: str, job: str, order: Order, message_id: str) -> None:
        key, world = self._key_of_job(job), self._line.world

        def service() -> None:
            before = len(self._control.orders)
            _now(self._control.send(control, installation_id, job, order, message_id))
            for sent in self._control.orders[before:]:
                world.told(sent)

        await self._line.call(
            f"send {order.operation.value} r{order.revision} to {job}",
            service,
            reach=_channel(control),
            writes=key,
            sending=lambda: self._line.rules.ordered(key, job, order, control.service_bus.namespace),
        )

    async def send_to_any(self, control: Control, topic: str, order: Order, message_id: str) -> None:
        key, world = self._key_of_topic(topic), self._line.world

        def service() -> None:
            # The topic detects duplicates, within the network's patience.
            if not any(sent == message_id for _, _, sent in self._control.announced):
                _now(self._control.send_to_any(control, topic, order, message_id))
                world.told_any(control.service_bus.namespace, topic, order)

        await self._line.call(
            f"send {order.operation.value} to {topic}",
            service,
            reach=_channel(control),
            writes=key,
            sending=lambda: self._line.rules.announced(key, message_id),
        )

    def _key_of_topic(self, topic: str) -> Key:
        return next(key for key in self._line.network.script.specs if topic.startswith(f"{key.namespace}-{key.name}-"))

    def take_finished(self, control: Control) -> tuple[DrainFinished, ...]:
        return self._control.take_finished(control)

    def reports(self, control: Control, jobs: Collection[str]) -> Mapping[str, LastReport]:
        return self._control.reports(control, jobs)

    def last_words(self, control: Control, jobs: Collection[str]) -> Mapping[str, Exit]:
        return self._control.last_words(control, jobs)

    def recall_confirmed(self, control: Control, job: str, revision: int) -> bool:
        return self._control.recall_confirmed(control, job, revision)


def _channel(control: Control) -> tuple[str, ...]:
    """What must be up: all of Service Bus, and this namespace."""
    return AZURE, "control", control.service_bus.namespace


class WiredCapacity:
    """See ``ports.azure.Capacity``."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def read(self, place: Workplace) -> ClusterCapacity | None:
        world, told = self._line.world, self._line.network.script.told

        def service() -> ClusterCapacity | None:
            if place.coordinates.workspace in told and place.coordinates.compute != VIRTUAL_CLUSTER:
                world.tell_nodes(place)
            return _now(world.capacity.read(place))

        return await self._line.arm(Kind.READ, f"nodes of {place.region}", place, service)


class WiredDepth:
    """See ``ports.azure.TaskQueueDepth``."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def read(self, queue: Queue) -> QueueDepth:
        depth = self._line.world.depth
        return await self._line.call("read the queue", lambda: _now(depth.read(queue)), reach=(AZURE, "queue"))


class WiredStore:
    """See ``ports.kubernetes.WorkforceStore``."""

    def __init__(self, line: Line) -> None:
        self._line, self._store = line, line.world.store

    async def get(self, key: Key) -> StoredWorkforce | None:
        times: list[float] = []

        def service() -> StoredWorkforce | None:
            times.append(self._line.world.loop.now)
            return _now(self._store.get(key))

        found = await self._line.call(f"get {key.name}", service, reach=(KUBERNETES,))
        # A request that arrives once more, later, tells the process nothing.
        self._is_known(key, times[0])
        return found

    def _is_known(self, key: Key, at: float | None = None) -> None:
        """What the process has of the object is what is stored just now, or was then."""
        self._line.process.read_at[key] = self._line.world.loop.now if at is None else at
        self._line.process.confirmed.add(key)

    async def list_keys(self) -> tuple[Key, ...]:
        return await self._line.call("list keys", lambda: _now(self._store.list_keys()), reach=(KUBERNETES,))

    async def write_status(self, stored: StoredWorkforce, status: WorkforceStatus) -> StoredWorkforce:
        def service() -> StoredWorkforce:
            written = _now(self._store.write_status(stored, status))
            self._is_known(stored.key)
            if self._line.network.tracing:
                self._line.network.trace(f"stored: {changes(stored.status, written.status)}")
            self._line.rules.status_written(written, written.status)
            return written

        return await self._line.call(f"write status of {stored.key.name}", service, reach=(KUBERNETES,))

    async def add_finalizer(self, stored: StoredWorkforce) -> StoredWorkforce:
        def service() -> StoredWorkforce:
            written = _now(self._store.add_finalizer(stored))
            self._is_known(stored.key)
            return written

        return await self._line.call("add the finalizer", service, reach=(KUBERNETES,))

    async def remove_finalizer(self, stored: StoredWorkforce) -> None:
        now, read_at = self._line.process.now(), self._line.process.read_at.get(stored.key, 0.0)

        def service() -> None:
            current = self._store._objects.get(stored.key)
            if current is not None and current.uid == stored.uid and current.finalizers:
                # Once it goes, a definition does not stay in earnest: whoever saw it going may be late.
                going = self._store.definition_going or read_at < self._line.world.definition_went_until
                self._line.rules.finalizer_removed(current, now, going=going)
            _now(self._store.remove_finalizer(stored))

        await self._line.call("remove the finalizer", service, reach=(KUBERNETES,))

    async def secret_value(self, namespace: str, name: str, key: str) -> str:
        return await self._line.call(
            "read a secret", lambda: _now(self._store.secret_value(namespace, name, key)), reach=(KUBERNETES,)
        )

    async def definition_is_going(self) -> bool:
        return await self._line.call(
            "read the definition", lambda: _now(self._store.definition_is_going()), reach=(KUBERNETES,)
        )


class WiredTemplates:
    """See ``ports.azure.Templates``."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def resolve(
        self, template: Template, place: Workplace, *, environment: Mapping[str, str], template_hash: str
    ) -> JobBody:
        templates = self._line.world.templates
        return await self._line.call(
            f"resolve for {place.region}",
            lambda: _now(templates.resolve(template, place, environment=environment, template_hash=template_hash)),
            reach=(AZURE, place.coordinates.workspace),
        )

    async def latest_version(self, place: Workplace, name: str) -> str:
        templates = self._line.world.templates
        return await self._line.call(
            f"look up {name} for {place.region}",
            lambda: _now(templates.latest_version(place, name)),
            reach=(AZURE, place.coordinates.workspace),
        )


class Events:
    """See ``ports.kubernetes.EventSink``. Counts."""

    def __init__(self) -> None:
        self.notes = 0

    async def emit(self, stored: StoredWorkforce, note: Note) -> None:
        self.notes += 1


def changes(old: WorkforceStatus, new: WorkforceStatus) -> str:
    """What differs between two statuses, for people."""
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    keys = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    return ", ".join(f"{key} {before.get(key)} -> {after.get(key)}" for key in keys)


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        pairs = [(str(key), each) for key, each in value.items()]
    elif isinstance(value, list):
        pairs = [(each.get("name") or each.get("type") or str(n), each) if isinstance(each, dict) else (str(n), each)
                 for n, each in enumerate(value)]  # fmt: skip
    else:
        return {path: value}
    return {deep: leaf for key, each in pairs for deep, leaf in _flat(each, f"{path}.{key}".lstrip(".")).items()}


def _now(coroutine: Any) -> Any:
    """The result of a memory adapter's method: none of them ever waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a memory adapter waits")


__all__ = ["Conflict", "Events", "Line", "Network"]
