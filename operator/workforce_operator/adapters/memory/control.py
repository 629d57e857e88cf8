"""A control channel without Service Bus: entities, orders with duplicate detection, and reports given by tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobq.control import DrainFinished, Exit, Hello, Order, State
from jobq.names import node_queue_name, reports_queue_name
from workforce_operator.adapters.memory.clock import ManualClock
from workforce_operator.adapters.memory.faults import Faults
from workforce_operator.adapters.memory.guard import MemoryGuard
from workforce_operator.api.spec import Control, ControlDialect
from workforce_operator.domain.errors import Missing
from workforce_operator.domain.observed import LastReport
from workforce_operator.ports.azure import WriteGuard
from workforce_operator.ports.kubernetes import Clock

DUPLICATE_WINDOW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class SentOrder:
    """An order that reached a job's session."""

    namespace: str
    job: str
    order: Order
    message_id: str
    at: datetime


class MemoryControlChannel:
    """Service Bus namespaces by name. All exist until ``namespaces`` is set to those that do."""

    def __init__(self, clock: Clock | None = None, guard: WriteGuard | None = None) -> None:
        self.faults = Faults()
        self.namespaces: set[str] | None = None
        self.entities: dict[str, set[str]] = {}
        self.orders: list[SentOrder] = []
        self.announced: list[tuple[str, Order, str]] = []
        self._clock = clock or ManualClock()
        self._guard = guard or MemoryGuard()
        self._reports: dict[str, dict[str, LastReport]] = {}
        self._last_words: dict[str, dict[str, Exit]] = {}
        self._finished: dict[str, list[DrainFinished]] = {}

    async def ensure(self, control: Control, topics: frozenset[str], installation_id: str) -> None:
        """See ``ports.azure.ControlChannel``."""
        with self.faults.call("ensure", control, topics, installation_id):
            namespace = self._namespace(control)
            entities = self.entities.setdefault(namespace, set())
            queues = {node_queue_name(installation_id), reports_queue_name(installation_id)}
            wanted = topics | (queues if control.dialect is ControlDialect.WORKFORCE else set())
            if not wanted <= entities:
                self._guard.check()
                entities |= wanted

    async def send(self, control: Control, installation_id: str, job: str, order: Order, message_id: str) -> None:
        """See ``ports.azure.ControlChannel``."""
        with self.faults.call("send", control, installation_id, job, order, message_id):
            self._guard.check()
            namespace, now = self._namespace(control), self._clock.now()
            if node_queue_name(installation_id) not in self.entities.get(namespace, ()):
                raise Missing(f"queue {node_queue_name(installation_id)} does not exist in {namespace}")
            if not any(self._same(sent, namespace, message_id, now) for sent in self.orders):
                self.orders.append(SentOrder(namespace, job, order, message_id, now))

    async def send_to_any(self, control: Control, topic: str, order: Order, message_id: str) -> None:
        """See ``ports.azure.ControlChannel``."""
        with self.faults.call("send_to_any", control, topic, order, message_id):
            self._guard.check()
            namespace = self._namespace(control)
            if topic not in self.entities.get(namespace, ()):
                raise Missing(f"topic {topic} does not exist in {namespace}")
            self.announced.append((topic, order, message_id))

    def reports(self, control: Control, jobs: Collection[str]) -> Mapping[str, LastReport]:
        """See ``ports.azure.ControlChannel``."""
        known = self._reports.get(control.service_bus.namespace, {})
        return {job: known[job] for job in jobs if job in known}

    def last_words(self, control: Control, jobs: Collection[str]) -> Mapping[str, Exit]:
        """See ``ports.azure.ControlChannel``."""
        known = self._last_words.get(control.service_bus.namespace, {})
        return {job: known[job] for job in jobs if job in known}

    def take_finished(self, control: Control) -> tuple[DrainFinished, ...]:
        """See ``ports.azure.ControlChannel``."""
        return tuple(self._finished.pop(control.service_bus.namespace, ()))

    def recall_confirmed(self, control: Control, job: str, revision: int) -> bool:
        """See ``ports.azure.ControlChannel``."""
        report = self._reports.get(control.service_bus.namespace, {}).get(job)
        return report is not None and report.accepting and report.revision >= revision

    def report(self, namespace: str, state: State | Hello | Exit | DrainFinished) -> None:
        """Deliver a worker's report. Only states and last words are remembered, the latest per job."""
        if isinstance(state, DrainFinished):
            self._finished.setdefault(namespace, []).append(state)
        words = self._last_words.setdefault(namespace, {})
        if state.job in words and words[state.job].time < state.time:
            del words[state.job]
        if isinstance(state, Exit):
            words[state.job] = state
            self._reports.get(namespace, {}).pop(state.job, None)
        reports = self._reports.setdefault(namespace, {})
        if isinstance(state, State) and (state.job not in reports or reports[state.job].time <= state.time):
            reports[state.job] = LastReport.of(state)

    def orders_for(self, job: str) -> list[SentOrder]:
        """What a job was told, in order."""
        return [sent for sent in self.orders if sent.job == job]

    def _namespace(self, control: Control) -> str:
        namespace = control.service_bus.namespace
        if self.namespaces is not None and namespace not in self.namespaces:
            raise Missing(f"Service Bus namespace {namespace} does not exist")
        return namespace

    @staticmethod
    def _same(sent: SentOrder, namespace: str, message_id: str, now: datetime) -> bool:
        return (sent.namespace, sent.message_id) == (namespace, message_id) and now - sent.at < DUPLICATE_WINDOW
