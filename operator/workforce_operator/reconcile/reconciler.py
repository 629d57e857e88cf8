"""One pass over one Workforce: read, decide, announce, act, tell. The world is read anew; nothing is remembered of it.

The order is what makes a crash between any two lines harmless:

1. the finalizer, before any side effect;
2. the ledger into the status under a resourceVersion precondition, before the acts that it announces; if it announces
   none, with the rest of the status;
3. the acts, each idempotent;
4. the status and the Events, which no decision is made from.

It decides nothing itself: that is `domain.plan`. What is kept in memory between passes only spares writes and reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from jobq.cloud import DEFAULT_CLOUD, Cloud
from workforce_operator.api.base import FINALIZER
from workforce_operator.api.spec import Suspend
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.actions import Cancel, Note, Plan
from workforce_operator.domain.decision import Record, record, refusal
from workforce_operator.domain.desired import Desired, region_places
from workforce_operator.domain.errors import Conflict, Fenced, Missing, OperatorError, SpecError
from workforce_operator.domain.job_environment import job_environment, secret_refs
from workforce_operator.domain.ledger import Ledger, read_ledger
from workforce_operator.domain.observed import Known, Observed, QueueDepth, ScalingHistory, Unknown
from workforce_operator.domain.outcomes import Failure, Outcomes
from workforce_operator.domain.pins import pinned, to_look_up, with_versions
from workforce_operator.domain.plan import plan as decide
from workforce_operator.domain.status import announce, build_status, refused_status, transitions, worth_writing
from workforce_operator.domain.template import region_hash
from workforce_operator.domain.workers import Workers, workers
from workforce_operator.ports.azure import JobBody, Templates, Workplace, WriteGuard
from workforce_operator.ports.kubernetes import Clock, EventSink, Key, StoredWorkforce, WorkforceStore
from workforce_operator.reconcile.decisions import Decisions, Unrecorded, deeds
from workforce_operator.reconcile.execute import Done, Executor, OncePerRegion, Work, retry_after
from workforce_operator.reconcile.losses import Losses
from workforce_operator.reconcile.objects import Objects
from workforce_operator.reconcile.observe import Observer, Subject
from workforce_operator.reconcile.recent import Recent
from workforce_operator.reconcile.results import notes_of, outcomes_of, without_unsent
from workforce_operator.reconcile.telemetry import ActionResult
from workforce_operator.reconcile.wanted import wanted

log = structlog.stdlib.get_logger(__name__)

LIVELY = timedelta(minutes=2)
"""A Workforce in which nothing has changed for so long is looked at at the regular interval, even if it is not done."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """When to look again.

    Attributes:
        gone: Never; the object is gone, or none of our business any more.
        delay: After so many seconds.
        failed: Something did not work that may work later: also back off.
        status: What is told to people now, written or not.
    """

    gone: bool = False
    delay: float = 0.0
    failed: bool = False
    status: WorkforceStatus | None = field(default=None, compare=False)


@dataclass(slots=True)
class _Memory:
    """What spares work in the next pass over the same object; losing it does no harm.

    Without ``history`` autoscaling shrinks later than it might. ``generation`` is that of ``queue_read``.
    """

    last_written: datetime | None = None
    last_status: WorkforceStatus | None = None
    changed: datetime | None = None
    history: ScalingHistory | None = None
    queue_read: Known[QueueDepth] | None = None
    generation: int = 0


class Reconciler:
    """Makes passes. One instance serves all Workforces; the caller never runs two passes over one at a time.

    Args:
        store: The objects.
        events: Where notes go.
        observer: Reads the world.
        executor: Changes it.
        templates: Turns templates into job bodies.
        clock: The time.
        guard: Tells whether this process leads.
        losses: Counts the work that shrinking costs.
        cloud: Where the workers find Service Bus.
        installation_id: Whose jobs are ours.
        cloud_setting: The operator's own cloud setting, for its workers.
        insights: Connection string of Application Insights, for its workers.
        poll_seconds: Until the next pass while something changes.
        resync_seconds: Until the next pass otherwise.
        decisions: Where records of the passes go; by default nowhere.
        outdated: Whether the object has changed since its pass began, as far as it is known; by default never.
        recent: Spares reading objects, and has to be told of each change that others make; by default each is read.
    """

    def __init__(
        self,
        *,
        store: WorkforceStore,
        events: EventSink,
        observer: Observer,
        executor: Executor,
        templates: Templates,
        clock: Clock,
        guard: WriteGuard,
        losses: Losses,
        cloud: Cloud,
        installation_id: str,
        cloud_setting: str = DEFAULT_CLOUD,
        insights: str | None = None,
        poll_seconds: float = 5.0,
        resync_seconds: float = 30.0,
        decisions: Decisions | None = None,
        outdated: Callable[[Key], bool] = lambda _: False,
        recent: Recent | None = None,
    ) -> None:
        self._store, self._objects = store, Objects(store, clock, recent)
        self._events, self._observer, self._executor = events, observer, executor
        self._templates, self._clock, self._guard = templates, clock, guard
        self._cloud, self._cloud_setting, self._installation_id = cloud, cloud_setting, installation_id
        self._insights = insights
        self._poll, self._resync = poll_seconds, resync_seconds
        self._decisions, self._outdated = decisions or Unrecorded(), outdated
        self._losses = losses
        self._memory: dict[Key, _Memory] = {}

    async def reconcile(self, key: Key) -> Verdict:
        """Make one pass.

        Raises:
            OperatorError: Kubernetes could not be read or written, or this process does not lead any more. Failures of
                Azure are not raised: they are unknown readings and failed actions, and show in the status.
        """
        self._guard.check()
        stored = await self._objects.take(key)
        if stored is None or (stored.deletion_time is not None and FINALIZER not in stored.finalizers):
            self._forget(key)
            return Verdict(gone=True)
        try:
            desired = await self._desired(stored)
        except SpecError as error:
            return await self._refuse(stored, Failure.of(error))
        if FINALIZER not in stored.finalizers:
            stored = await self._objects.add_finalizer(stored)
        return await self._pass(stored, desired)

    async def _desired(self, stored: StoredWorkforce) -> Desired:
        going = stored.deletion_time is not None and await self._store.definition_is_going()
        return wanted(stored, self._installation_id, self._clock.now(), definition_going=going)

    async def _refuse(self, stored: StoredWorkforce, failure: Failure) -> Verdict:
        now = self._clock.now()
        status = refused_status(stored.generation, failure, stored.status, now)
        await self._write(stored, status, now)
        await self._events.emit(stored, Note(failure.reason, failure.message, warning=True))
        self._decisions.decided(stored.key, refusal(stored.generation, failure), now)
        return Verdict(delay=self._resync, status=status)

    async def _pass(self, stored: StoredWorkforce, desired: Desired) -> Verdict:
        ledger = read_ledger(stored.status)
        places = workplaces(desired, ledger)
        before = stored.status
        observed = await self._observe(stored.key, desired, ledger, places)
        # They were taken from the channel: they count whatever becomes of this pass, before it can be broken off.
        self._losses.returned(observed.finished)
        plan, unresolved = await self._look_up(desired, decide(desired, observed, ledger), places)
        intended = plan.ledger != ledger or stored.status.installation_id != desired.installation_id
        if intended and plan.actions:
            stored = await self._objects.write_status(stored, announce(desired, observed, plan, stored.status))
            intended = False
        elif plan.actions:
            await self._objects.confirm(stored)
        self._memory[stored.key].history = plan.history
        if any(region.queue_outdated for region in plan.regions.values()):
            self._memory[stored.key].queue_read = None
        done = await self._executor.execute(self._work(desired, plan, places, unresolved))
        self._count_cancelled(observed, done)
        plan = without_unsent(plan, done)
        outcomes = outcomes_of(done)
        self._record(
            stored.key, desired, observed, plan, record(desired, observed, plan, deeds(done), outcomes.control)
        )
        if plan.finished:
            return await self._finish(stored, plan)
        status = build_status(desired, observed, plan, outcomes, stored.status)
        told = (*plan.notes, *_failed(outcomes), *notes_of(done))
        try:
            stored = await self._write(stored, status, observed.now, surely=intended)
        except Conflict:
            # An edit breaks the pass off; the next one does not tell what this one has done.
            await self._tell(stored, told)
            raise
        await self._tell(stored, (*told, *transitions(before, stored.status)))
        verdict = self._verdict(stored.key, observed, plan, done, status)
        delay = verdict.delay if verdict.failed else min(verdict.delay, _until_poll(desired, observed))
        return replace(verdict, delay=delay, status=status)

    async def _observe(self, key: Key, desired: Desired, ledger: Ledger, places: dict[str, Workplace]) -> Observed:
        """Read the world. Autoscaling reads the queue every pollIntervalSeconds, and at once after an edit."""
        memory = self._memory.setdefault(key, _Memory())
        if memory.generation != desired.generation or not _is_young(memory.queue_read, desired, self._clock.now()):
            memory.queue_read = None
        observed = await self._observer.observe(_subject(desired, ledger, places, memory.queue_read))
        memory.queue_read = observed.queue if isinstance(observed.queue, Known) else None
        memory.generation = desired.generation
        return replace(observed, history=memory.history)

    def _count_cancelled(self, observed: Observed, done: Sequence[Done]) -> None:
        for each in done:
            if isinstance(each.action, Cancel) and each.result is ActionResult.DONE:
                self._losses.cancelled(each.action.job, observed.reports.get(each.action.job), observed.now)

    def _work(
        self, desired: Desired, plan: Plan, places: dict[str, Workplace], unresolved: Mapping[str, OperatorError]
    ) -> Work:
        async def resolve(place: Workplace) -> JobBody:
            if place.region in unresolved:
                raise unresolved[place.region]
            return await self._body(desired, plan.ledger, place)

        return Work(
            actions=plan.actions,
            installation_id=desired.installation_id,
            places=places,
            control=desired.spec.control,
            body=OncePerRegion(resolve),
            outdated=lambda: self._outdated(Key(desired.namespace, desired.name)),
        )

    async def _look_up(
        self, desired: Desired, plan: Plan, places: dict[str, Workplace]
    ) -> tuple[Plan, dict[str, OperatorError]]:
        """Look up the environments' labels that this plan's hires need; the plan remembers them.

        Returns:
            The plan, and why nobody can be hired by it, by region.
        """
        versions: dict[str, str] = {}
        unresolved: dict[str, OperatorError] = {}
        for region, name in to_look_up(desired, plan).items():
            try:
                versions[region] = await self._templates.latest_version(places[region], name)
            except Fenced:
                raise
            except OperatorError as error:
                unresolved[region] = error
        return with_versions(desired, plan, versions), unresolved

    async def _body(self, desired: Desired, ledger: Ledger, place: Workplace) -> JobBody:
        """The job of a region, with the Secrets as they are now."""
        template = pinned(desired, ledger, place.region)
        secrets: dict[tuple[str, str], str] = {}
        for ref in secret_refs(template):
            try:
                secrets[ref.name, ref.key] = await self._store.secret_value(desired.namespace, ref.name, ref.key)
            except Missing as error:
                needed = f"nobody is hired without the Secret {ref.name} and its key {ref.key}"
                text = f"spec.template.environmentVariables: {needed}: {error}"
                raise SpecError(text, reason="SecretNotFound") from error
        environment = job_environment(
            desired,
            template,
            place.coordinates,
            cloud=self._cloud,
            cloud_setting=self._cloud_setting,
            insights=self._insights,
            secrets=secrets,
        )
        digest = region_hash(desired.spec, place.region)
        return await self._templates.resolve(template, place, environment=environment, template_hash=digest)

    async def _finish(self, stored: StoredWorkforce, plan: Plan) -> Verdict:
        """The resource is being deleted and nothing is left to do for it."""
        await self._tell(stored, plan.notes)
        if plan.left_behind:
            log.warning("worker jobs are left behind", jobs=list(plan.left_behind))
        await self._store.remove_finalizer(stored)
        log.info("finished")
        self._forget(stored.key)
        return Verdict(gone=True)

    async def _write(
        self, stored: StoredWorkforce, status: WorkforceStatus, now: datetime, *, surely: bool = False
    ) -> StoredWorkforce:
        """Write the status if it says something new, or ``surely``; numbers alone not too often."""
        memory = self._memory.setdefault(stored.key, _Memory())
        if not (surely or worth_writing(stored.status, status, now, memory.last_written)):
            return stored
        written = await self._objects.write_status(stored, status)
        memory.last_written = now
        return written

    async def _tell(self, stored: StoredWorkforce, notes: Iterable[Note]) -> None:
        for note in notes:
            await self._events.emit(stored, note)

    def _record(self, key: Key, desired: Desired, observed: Observed, plan: Plan, found: Record) -> None:
        def living() -> Workers:
            return workers(desired, observed, plan.ledger, studio=self._cloud.ml_index)

        self._decisions.decided(key, found, observed.now, living)

    def _verdict(
        self, key: Key, observed: Observed, plan: Plan, done: Sequence[Done], status: WorkforceStatus
    ) -> Verdict:
        memory, now = self._memory.setdefault(key, _Memory()), observed.now
        if status != memory.last_status or memory.changed is None:
            memory.last_status, memory.changed = status, now
        if any(each.result is ActionResult.FAILED for each in done):
            return Verdict(delay=max(self._poll, retry_after(done)), failed=True)
        if any(each.result is ActionResult.PUT_OFF for each in done):
            return Verdict()
        lively = changing(plan, observed) and now - memory.changed < LIVELY
        delay = self._poll if lively else self._resync
        if plan.retry_at is not None:
            delay = min(delay, max(0.0, (plan.retry_at - now).total_seconds()))
        return Verdict(delay=delay)

    def _forget(self, key: Key) -> None:
        self._memory.pop(key, None)
        self._decisions.forget(key)


def workplaces(desired: Desired, ledger: Ledger) -> dict[str, Workplace]:
    """Where to look for this Workforce's jobs, as the adapters need it."""
    return {
        name: Workplace(
            region=name,
            owner=desired.owner,
            installation_id=desired.installation_id,
            hash10=desired.hash10(name),
            prefix=desired.job_prefix(name),
            coordinates=coordinates,
        )
        for name, coordinates in region_places(desired, ledger).items()
    }


def changing(plan: Plan, observed: Observed) -> bool:
    """Whether the numbers are on their way, or something could not be read: the next look should be soon."""
    unread = any(isinstance(reading, Unknown) for reading in observed.regions.values())
    moving = any(
        region.hires
        or region.lay_offs
        or region.pending
        or region.paused
        or region.draining
        or region.supply != region.desired
        for region in plan.regions.values()
    )
    return unread or moving or any(isinstance(each, Unknown) for each in (observed.queue, *observed.channels))


def _failed(outcomes: Outcomes) -> list[Note]:
    failures = [outcomes.spec, *outcomes.control.values(), *outcomes.regions.values()]
    return [Note(each.reason, each.message, warning=True) for each in failures if each is not None]


def _is_young(reading: Known[QueueDepth] | None, desired: Desired, now: datetime) -> bool:
    """Whether autoscaling does not ask for another reading of the queue yet. A clock that was set back makes it old."""
    scaling = desired.spec.autoscaling
    if reading is None or scaling is None:
        return False
    return timedelta(0) <= now - reading.at < timedelta(seconds=scaling.poll_interval_seconds)


def _until_poll(desired: Desired, observed: Observed) -> float:
    """Seconds until autoscaling wants another reading of the queue."""
    scaling = desired.spec.autoscaling
    if scaling is None or desired.deleting:
        return math.inf
    read = observed.queue.at if isinstance(observed.queue, Known) else observed.now
    due = read + timedelta(seconds=scaling.poll_interval_seconds)
    return max(0.0, (due - observed.now).total_seconds())


def _subject(
    desired: Desired, ledger: Ledger, places: dict[str, Workplace], queue_read: Known[QueueDepth] | None
) -> Subject:
    spec = desired.spec
    return Subject(
        installation_id=desired.installation_id,
        places=places,
        ledger=ledger.regions,
        queue=spec.queue if spec.queue.storage or spec.queue.service_bus else None,
        queue_read=queue_read,
        control=spec.control,
        hold=spec.suspend is Suspend.HOLD and not desired.deleting,
    )
