"""What must never happen, each with the rule of the resource that it breaks. Checked where it would happen.

Everything here is judged by what the services know: the stored objects, the jobs and the sessions. Only ``planned``
looks at a decision, and judges it by what was observed and not by what the planner thinks of it.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from jobq import names
from jobq.control import Operation, Order
from tests.exploration.placing import judge, kinds, surely_unnamed
from tests.exploration.specs import INSTALLATION, installation_of
from tests.exploration.world import Address, Worker, World
from workforce_operator.api.base import FINALIZER
from workforce_operator.api.spec import DeadlineAction, DeletionPolicy, DrainMode, Suspend
from workforce_operator.api.status import DrainState, RegionCoordinates, WorkforceStatus
from workforce_operator.domain.actions import Action, Cancel, CancelPending, Hire, Plan, SendOrder, SendToAny
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import SURVEY_AGAIN, Ledger, RegionLedger, read_ledger
from workforce_operator.domain.observed import Known, Observed, Phase, RegionJobs
from workforce_operator.domain.plan import plan as plan_again
from workforce_operator.domain.waves import MAX_WAVES, jobs_in
from workforce_operator.ports.azure import Workplace
from workforce_operator.ports.kubernetes import Key, StoredWorkforce

T = TypeVar("T")
GRACE = timedelta(seconds=60)
HIDDEN_SECONDS = SURVEY_AGAIN.total_seconds() + 900
"""After a status was lost all jobs are listed a second time, and lists that stand still have gone on by then."""
_IN_ALL = ""
"""Stands for all regions together among their caps; no region has this name."""


@dataclass(frozen=True)
class Broken:
    """A rule that was broken, and how."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass
class _Announced:
    """What the stored status of one Workforce has ever said."""

    next_sequence: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))  # by job name prefix
    revisions: defaultdict[str, dict[int, DrainState]] = field(default_factory=lambda: defaultdict(dict))  # by job
    deadlines: dict[str, datetime] = field(default_factory=dict)  # by job
    told: dict[str, DrainState] = field(default_factory=dict)  # by job, as of the last status that was stored
    caps: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    environments: list[tuple[float, dict[str, str]]] = field(default_factory=list)  # how each region's begins
    counts: dict[str, int] = field(default_factory=dict)  # by wave that names nobody: how many it tells
    messages: dict[str, set[str]] = field(default_factory=dict)  # by such a wave
    installation: str = INSTALLATION
    lost_at: float = -1.0
    hidden: set[str] = field(default_factory=set)  # jobs that neither a status nor a list has shown since it was lost
    places: dict[str, RegionCoordinates] = field(default_factory=dict)  # by job
    gone_at: float | None = None
    gone_by_force: bool = False  # at its deadline, or without its jobs: nothing was waited for


class Rules:
    """Watches one run.

    Args:
        world: The services.
        broken: Called with the first rule that is broken.
        thorough: Plan a second time now and then, to see that it is the same.
    """

    def __init__(self, world: World, broken: Callable[[Broken], None]) -> None:
        self.world, self._broken = world, broken
        self._said: defaultdict[Key, _Announced] = defaultdict(_Announced)
        self.left_behind: set[Address] = set()
        self.azure_writes = 0
        self.status_writes = 0
        self.plans = 0
        self.seen: Counter[str] = Counter()

    def check(self, holds: bool, rule: str, text: str) -> None:
        if not holds:
            self._broken(Broken(rule, text))

    # Kubernetes

    def applied(self, key: Key, spec: dict[str, Any]) -> None:
        caps = {region["name"]: region["maxReplicas"] for region in spec["regions"]}
        if "autoscaling" in spec:
            caps[_IN_ALL] = spec["autoscaling"]["maxReplicas"]
        self._said[key].caps.append((self.world.loop.now, caps))
        environments = {region["name"]: _environment(spec, region) for region in spec["regions"]}
        self._said[key].environments.append((self.world.loop.now, environments))
        self._said[key].gone_at = None
        self._said[key].installation = installation_of(spec)
        if "adoptFrom" in spec or self._said[key].lost_at >= 0:
            self._never_seen(key, spec)

    def _never_seen(self, key: Key, spec: dict[str, Any]) -> None:
        """Jobs of a region that went before any status knew it, or knew it again, stay where they are."""
        known = {each["name"] for each in spec["regions"]}
        known |= {each.name for each in self.world.store._objects[key].status.regions}
        prefixes = tuple(f"{key.name}-{name}-" for name in known)
        self.left_behind |= {each.address for each in self.workers_of(key) if not each.name.startswith(prefixes)}

    def _forgotten(self, key: Key) -> None:
        """From now on lists alone tell who lives, and those may stand still."""
        said, listed = self._said[key], self.world.jobs._frozen
        said.lost_at, said.told = self.world.loop.now, {}
        said.hidden = {each.name for each in self.workers_of(key) if listed is not None and each.address not in listed}

    def status_lost(self, key: Key) -> None:
        self._forgotten(key)
        # The status alone knew of regions that the spec does not name any more.
        named = tuple(f"{key.name}-{region['name']}-" for region in self.world.store._objects[key].spec["regions"])
        self.left_behind |= {worker.address for worker in self.workers_of(key) if not worker.name.startswith(named)}

    def status_written(self, stored: StoredWorkforce, status: WorkforceStatus) -> None:
        """A status is stored now."""
        self.status_writes += 1
        said, ledger = self._said[stored.key], read_ledger(status)
        self.check(FINALIZER in stored.finalizers or not status.regions, "finalizer", "the ledger comes before it")
        for name, region in ledger.regions.items():
            prefix = self._prefix(stored.key, name)
            said.next_sequence[prefix] = max(said.next_sequence[prefix], region.next_sequence or 0)
            self.check(len(region.waves) <= MAX_WAVES, "bounded status", f"{name} has {len(region.waves)} waves")
            self._announce(said, prefix, region)
        self._kept(stored.key, said, ledger)

    def _announce(self, said: _Announced, prefix: str, region: RegionLedger) -> None:
        for wave in region.waves:
            if wave.count:
                said.counts[wave.id] = max(wave.count, said.counts.get(wave.id, 0))
            for sequence in wave.jobs:
                job = f"{prefix}-{sequence}"
                known = said.revisions[job]
                highest = max(known, default=0)
                # What a lost status had given out is not known any more: the clock alone sees to it then.
                rises = said.lost_at >= 0 or wave.revision > highest or known.get(wave.revision) is wave.state
                self.check(rises, "revisions rise", f"{job}: {wave.state} {wave.revision} after {known}")
                known[wave.revision] = wave.state
                said.deadlines[job] = wave.deadline

    def _kept(self, key: Key, said: _Announced, ledger: Ledger) -> None:
        """Who was told to leave is in the ledger until it has left, or was told to stay."""
        now = {
            f"{self._prefix(key, name)}-{sequence}": wave.state
            for name, region in ledger.regions.items()
            for wave in region.waves
            for sequence in wave.jobs
        }
        for worker in self.workers_of(key) if said.told else ():
            if said.told.get(worker.name) is DrainState.SENT:
                self.check(
                    worker.name in now, "the ledger keeps drains", f"{worker.name} is told to leave and forgotten"
                )
        said.told = now

    def finalizer_removed(self, stored: StoredWorkforce, now: datetime, *, going: bool) -> None:
        """The operator lets an object go. ``now`` is the operator's time."""
        said = self._said[stored.key]
        # Whoever makes the object again begins with an empty status.
        self._forgotten(stored.key)
        said.gone_at = said.lost_at
        workers = [worker for worker in self.workers_of(stored.key) if self._is_known(worker, stored)]
        self.left_behind |= {worker.address for worker in self.workers_of(stored.key)}
        deleted = stored.deletion_time
        said.gone_by_force = going
        if going:
            return
        self.check(deleted is not None, "rule 10", "the finalizer is removed and nobody deletes the object")
        assert deleted is not None
        policy = stored.spec.get("deletionPolicy")
        deadline = deleted + timedelta(seconds=stored.spec.get("deletionDeadlineSeconds", 86400))
        said.gone_by_force = policy == DeletionPolicy.ORPHAN or now >= deadline + GRACE
        if said.gone_by_force:
            return
        stays = policy is None and stored.spec.get("control") is None
        for worker in workers:
            overdue = now >= deadline
            allowed = self.world.phase(worker) is Phase.RUNNING and (stays or overdue)
            allowed = allowed or (overdue and self.world.phase(worker) is Phase.ENDING)
            self.check(allowed, "rule 10", f"{worker.name} is {self.world.state(worker)} and the finalizer is removed")

    def _is_known(self, worker: Worker, stored: StoredWorkforce) -> bool:
        """What a deleted object or a lost status left behind is nobody's until the spec names its region."""
        named = tuple(f"{stored.key.name}-{region['name']}-" for region in stored.spec["regions"])
        return worker.address not in self.left_behind or worker.name.startswith(named)

    # Azure

    def sent(self, key: Key, *, leads: bool, confirmed: bool) -> None:
        """A write is about to go out, just after the lease was checked."""
        self.azure_writes += 1
        self.check(leads, "fencing", "a process that lost the lease writes to Azure")
        self.check(confirmed, "act for what is there", f"{key.name} was neither read nor written in this pass")

    def hired(self, key: Key, place: Workplace, sequence: int, *, decided_at: float, created: bool) -> None:
        """A PUT has arrived."""
        said, name = self._said[key], f"{place.prefix}-{sequence}"
        self._acts_for(key, place.owner, name)
        self.check(sequence < said.next_sequence[place.prefix], "reserve before the act", f"{name} was never reserved")
        if not created:
            return
        gone = said.gone_at is not None and said.gone_at >= decided_at
        self.check(not gone or said.gone_by_force, "leak", f"{name} arrives after its Workforce was let go")
        first = said.places.setdefault(name, place.coordinates)
        once = first == place.coordinates or said.lost_at >= 0
        self.check(once, "names are used once", f"{name} was another job's elsewhere")
        if said.lost_at >= decided_at:
            return
        stored = self.world.store._objects.get(key)
        looked_at = [] if stored is None else [(each.name, each.coordinates) for each in stored.status.regions]
        self.check((place.region, place.coordinates) in looked_at, "leak", f"{name} arrives where nobody looks")
        live = self.world.living_in(place)
        most = self._most(said, decided_at, lambda caps: caps.get(place.region, 0))
        self.check(len(live) <= most, "rule 2", f"{len(live)} live jobs in {place.region}, maxReplicas {most}")
        everybody = [each for each in self.workers_of(key) if each.address not in self.left_behind]
        if self.world.loop.now < said.lost_at + HIDDEN_SECONDS:
            everybody = [each for each in everybody if each.name not in said.hidden]
        most = self._most(said, decided_at, lambda caps: caps.get(_IN_ALL, sys.maxsize))
        self.check(len(everybody) <= most, "rule 2", f"{len(everybody)} live jobs, autoscaling.maxReplicas {most}")

    def submitted(self, key: Key, place: Workplace, environment: str, *, decided_at: float) -> None:
        """A job was made."""
        known = self._in_force(self._said[key].environments, decided_at)
        wanted = {regions[place.region] for regions in known if place.region in regions}
        fits = any(environment.startswith(each) for each in wanted)
        self.check(fits or not wanted, "overrides", f"{place.region}: {environment} is hired, not {sorted(wanted)}")

    def announced(self, key: Key, message_id: str) -> None:
        """A message for whichever worker takes it is about to be sent."""
        said, wave = self._said[key], message_id.split("-", 1)[0]
        sent = said.messages.setdefault(wave, set())
        self.check(message_id not in sent, "messages are sent once", f"{message_id} is sent again")
        sent.add(message_id)
        most = said.counts.get(wave, 0)
        self.check(len(sent) <= most, "ledger before the act", f"{len(sent)} messages of {wave}, which tells {most}")

    def ordered(self, key: Key, job: str, order: Order, namespace: str) -> None:
        """An order is about to be sent."""
        deaf = [each.namespace for each in self.workers_of(key) if each.name == job and each.namespace != namespace]
        self.check(not deaf, "own channels", f"{job} listens in {deaf}, and its order goes to {namespace}")
        known = self._said[key].revisions[job]
        wanted = DrainState.SENT if order.operation is Operation.GRACEFUL_DOWNSCALE else DrainState.RECALLED
        self.check(
            known.get(order.revision) is wanted,
            "ledger before the act",
            f"{job} is sent {order.operation} under revision {order.revision}, the ledger said {known}",
        )
        self.check(order.node == job, "targeted orders", f"{job} is sent the order of {order.node}")

    def cancelled(self, key: Key, worker: Worker, owner: str, now: datetime, *, seen: str | None) -> None:
        """A cancel has arrived.

        Args:
            key: Whose.
            worker: Of the job.
            owner: Whose jobs the canceller means.
            now: The operator's time.
            seen: The phase in which the canceller has just read the job, if it has.
        """
        self.check(worker.owner == owner, "ownership", f"{worker.name} belongs to {worker.owner}, not to {owner}")
        self._acts_for(key, owner, worker.name)
        if self.world.phase(worker) is not Phase.RUNNING or not worker.worked:
            return
        stored = self.world.store._objects.get(key)
        started_since = seen is not None and not worker.control
        self.check(
            started_since or (stored is not None and self._may_cancel(stored, worker, now)),
            "rule 3",
            f"{worker.name} is cancelled at work ({self.world.state(worker)}, read as {seen})",
        )

    def _acts_for(self, key: Key, owner: str, job: str) -> None:
        """Nobody's jobs are touched but the own ones, or those that the spec says to take over."""
        installation = self._said[key].installation
        self.check(owner.startswith(f"{installation}/"), "ownership", f"{job}: acts for {owner}, not {installation}")

    def _may_cancel(self, stored: StoredWorkforce, worker: Worker, now: datetime) -> bool:
        spec, deleted = stored.spec, stored.deletion_time
        if deleted is not None and spec.get("deletionPolicy") == DeletionPolicy.CANCEL:
            return True
        if spec.get("drain", {}).get("onDeadline") != DeadlineAction.CANCEL:
            return False
        if deleted is not None and now >= deleted + timedelta(seconds=spec.get("deletionDeadlineSeconds", 86400)):
            return True
        deadline = self._said[stored.key].deadlines.get(worker.name)
        return deadline is not None and now >= deadline

    def _most(self, said: _Announced, since: float, cap: Callable[[dict[str, int]], int]) -> int:
        """The largest cap that was in force since a time."""
        return max(cap(caps) for caps in self._in_force(said.caps, since))

    @staticmethod
    def _in_force(said: list[tuple[float, T]], since: float) -> list[T]:
        """What was said since a time, and what stood then."""
        before = [each for at, each in said if at < since]
        return [*before[-1:], *(each for at, each in said if at >= since)]

    def workers_of(self, key: Key) -> list[Worker]:
        """Live jobs of a Workforce, or of the one whose jobs it takes over."""
        owner = names.owner(self._said[key].installation, key.namespace, key.name)
        return [worker for worker in self.world.live() if worker.owner == owner]

    def _prefix(self, key: Key, region: str) -> str:
        return job_prefix(self._said[key].installation, key, region)

    # Decisions

    def planned(self, desired: Desired, observed: Observed, ledger: Ledger, plan: Plan) -> None:
        """A pass has decided."""
        self.plans += 1
        self.seen.update(kinds(plan, ledger))
        self._suspended(desired, ledger, plan)
        for rule, text in judge(desired, observed, ledger, plan):
            self.check(False, rule, text)
        said = self._said[Key(desired.namespace, desired.name)]
        for name, reading in observed.regions.items():
            if isinstance(reading, Known):
                said.hidden -= {job.name for job in reading.value.jobs}
            actions = [action for action in plan.actions if action.region == name]
            before, after = ledger.regions.get(name), plan.ledger.regions.get(name)
            if not isinstance(reading, Known):
                self.check(not actions, "rule 1", f"{name} could not be read, and {actions[:1]}")
                # Its share may move to others; what was reserved and ordered there stays.
                same = before is None or after is None or replace(before, share=after.share) == after
                self.check(same, "rule 1", f"{name}: could not be read, and its ledger is changed")
            elif after is not None:
                self._region(desired, name, reading.value, before=before, after=after, plan=plan, observed=observed)
        if self.plans % 8 == 0:
            self._same_again(desired, observed, ledger, plan)

    def _suspended(self, desired: Desired, ledger: Ledger, plan: Plan) -> None:
        hires = [action for action in plan.actions if isinstance(action, Hire)]
        if desired.deleting or desired.spec.suspend is not Suspend.NONE:
            self.check(not hires, "suspend", f"hires while {'deleting' if desired.deleting else desired.spec.suspend}")
        if desired.spec.suspend is Suspend.HOLD and not desired.deleting:
            self.check(not plan.actions and plan.ledger == ledger, "suspend", "something is touched while Hold")

    def _region(
        self,
        desired: Desired,
        name: str,
        read: RegionJobs,
        *,
        before: RegionLedger | None,
        after: RegionLedger,
        plan: Plan,
        observed: Observed,
    ) -> None:
        actions = [action for action in plan.actions if action.region == name]
        left = jobs_in(before.waves, DrainState.SENT) if before else frozenset()
        leaving = jobs_in(after.waves, DrainState.SENT)
        phases = {job.sequence: job.phase for job in read.jobs}
        live = {number for number, phase in phases.items() if phase is not Phase.ENDED}
        supply = {number for number in live if phases[number] is not Phase.ENDING}
        hires = [action.sequence for action in actions if isinstance(action, Hire)]
        named = {job.sequence for job in read.jobs if job.name in desired.drain_requested}
        self._hires(desired, name, hires, phases=phases, maybe_live=live | read.unread, after=after)
        numbers = plan.regions.get(name)
        if numbers is not None:
            here, runs = len(supply - leaving), {job.sequence for job in read.jobs if job.phase is Phase.RUNNING}
            fewest, most = (
                min(each, len(runs - leaving)) for each in surely_unnamed(after.waves, read.jobs, observed.now)
            )
            expected = here - most, here - fewest
            self.check(
                expected[0] <= numbers.supply <= expected[1],
                "rule 6",
                f"{name}: supply {numbers.supply}, not {expected}",
            )
            chosen = leaving - left - named
            wanted = 0 if name not in {region.name for region in desired.spec.regions} else numbers.desired
            kept = len(supply - leaving)
            fresh = bool(chosen & supply) and before is not None and before.restored is None
            self.check(not fresh or kept >= wanted, "rule 3", f"{name}: keeps {kept} of {wanted} that are wanted")
            if any(isinstance(action, SendToAny) for action in actions) and before and before.restored is None:
                cancels = {action.job for action in actions if isinstance(action, CancelPending)}
                waits = {job.name for job in read.jobs if job.phase is Phase.PENDING}
                self.check(numbers.supply >= wanted, "rule 3", f"{name}: keeps {numbers.supply} of {wanted}")
                self.check(waits <= cancels, "rule 3", f"{name}: running ones are told to leave, pending ones stay")
            pending = {number for number in supply - leaving if phases[number] is Phase.PENDING}
            running = {number for number in chosen & supply if phases[number] is Phase.RUNNING}
            self.check(
                not (fresh and running and pending), "rule 3", f"{name}: drains {running} and keeps pending {pending}"
            )
        if hires and observed.can_order(name):
            self._taken_back_first(
                desired, name, after, {number: phases[number] for number in phases if number not in named}, observed.now
            )
        for action in actions:
            self._act(desired, action, after, phases, observed.now)

    def _hires(
        self,
        desired: Desired,
        name: str,
        hires: list[int],
        *,
        phases: dict[int, Phase],
        maybe_live: set[int] | frozenset[int],
        after: RegionLedger,
    ) -> None:
        if not hires:
            return
        most = {region.name: region.max_replicas for region in desired.spec.regions}.get(name, 0)
        self.check(len(maybe_live) + len(hires) <= most, "rule 2", f"{name}: {len(maybe_live)} + {hires} > {most}")
        used = [number for number in hires if number in phases]
        self.check(not used, "names are used once", f"{name}: {used} have jobs and are hired again")
        self.check(max(hires) < (after.next_sequence or 0), "reserve before the act", f"{name}: {hires}")

    def _taken_back_first(
        self, desired: Desired, name: str, after: RegionLedger, phases: dict[int, Phase], now: datetime
    ) -> None:
        waits = desired.spec.drain.on_deadline is DeadlineAction.WAIT
        back = {
            number
            for wave in after.waves
            if wave.state is DrainState.SENT and wave.mode is DrainMode.FINISH and (waits or now < wave.deadline)
            for number in wave.jobs
            if phases.get(number) in (Phase.RUNNING, Phase.PENDING, Phase.PAUSED)
        }
        self.check(not back, "rule 4", f"{name}: hires while {sorted(back)} could be taken back")

    def _act(
        self, desired: Desired, action: Action, after: RegionLedger, phases: dict[int, Phase], now: datetime
    ) -> None:
        sequence = int(action.job.rsplit("-", 1)[1])
        match action:
            case SendOrder() | CancelPending(order=SendOrder()):
                order = action.order.order if isinstance(action, CancelPending) else action.order
                in_waves = {(wave.revision, wave.state) for wave in after.waves if sequence in wave.jobs}
                drains = order.operation is Operation.GRACEFUL_DOWNSCALE
                wanted = (order.revision, DrainState.SENT if drains else DrainState.RECALLED)
                self.check(wanted in in_waves, "ledger before the act", f"{action.job}: {wanted} is not in {in_waves}")
            case SendToAny():
                tells = sum(wave.count for wave in after.waves if wave.id == action.wave)
                self.check(tells > 0, "ledger before the act", f"{action.message_id} is of no wave")
            case Cancel():
                allowed = desired.deletion_policy is DeletionPolicy.CANCEL and desired.deleting
                overdue = desired.deletion_deadline is not None and now >= desired.deletion_deadline
                late = overdue or any(now >= wave.deadline for wave in after.waves if sequence in wave.jobs)
                by_deadline = late and desired.spec.drain.on_deadline is DeadlineAction.CANCEL
                self.check(allowed or by_deadline, "rule 3", f"{action.job} ({phases.get(sequence)}) is cancelled")
            case _:
                pass

    def _same_again(self, desired: Desired, observed: Observed, ledger: Ledger, plan: Plan) -> None:
        """Planning again on the same reading, with the ledger that was just written, changes nothing (rule 5)."""
        known = [ledger.regions[name].next_sequence for name in plan.ledger.regions if name in ledger.regions]
        if plan.finished or None in known or len(known) < len(plan.ledger.regions):
            return  # a pass that finds the names in use decides nothing else yet
        if any(region.name not in plan.ledger.regions for region in desired.spec.regions):
            return  # a region that has just been emptied where it was stands where it is wanted from the next pass on
        if any(action.job in desired.drain_requested for action in plan.actions):
            return  # who takes the place of a worker that was named is decided by the next pass
        again = plan_again(desired, _nothing_done(observed, plan), plan.ledger)
        for name, region in again.ledger.regions.items():
            once = plan.ledger.regions.get(name)
            if once is None or not isinstance(observed.regions.get(name), Known):
                continue
            self.check(region.next_sequence == once.next_sequence, "rule 5", f"{name}: reserves again {once} {region}")
            twice = jobs_in(region.waves, DrainState.SENT)
            self.check(twice <= jobs_in(once.waves, DrainState.SENT), "rule 5", f"{name}: chooses again {twice}")
            more = sum(wave.count for wave in region.waves) - sum(wave.count for wave in once.waves)
            self.check(more <= 0, "rule 5", f"{name}: {more} more are told to leave")
        self.check(_hires_of(again.actions) <= _hires_of(plan.actions), "rule 5", "hires more when planning again")


def _nothing_done(observed: Observed, plan: Plan) -> Observed:
    """The same reading after a crash before the first act: the names that were reserved do not exist."""
    new: defaultdict[str, set[int]] = defaultdict(set)
    for action in plan.actions:
        if isinstance(action, Hire):
            new[action.region].add(action.sequence)
    regions = {
        name: Known(replace(reading.value, absent=reading.value.absent | new[name]), reading.at)
        if isinstance(reading, Known)
        else reading
        for name, reading in observed.regions.items()
    }
    return replace(observed, regions=regions, history=plan.history)


def _hires_of(actions: Iterable[Action]) -> set[str]:
    return {action.job for action in actions if isinstance(action, Hire)}


def _environment(spec: dict[str, Any], region: dict[str, Any]) -> str:
    """How the environment of a region's jobs begins; a label stands for some version."""
    environment = region.get("overrides", {}).get("environment") or spec["template"]["environment"]
    return environment.get("image") or f"environments/{environment['name']}/versions/"


def job_prefix(installation: str, key: Key, region: str) -> str:
    """Everything of a job's name before the sequence."""
    return Desired(key.namespace, key.name, installation, 1, None).job_prefix(region)  # type: ignore[arg-type]
