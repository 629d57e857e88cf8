"""Mistakes that somebody might make, put into the running code one at a time: the exploration must find each.

They are the proof that the rules look where they should. Each replaces something by a wrong version of itself for as
long as it is installed; no file is edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from tests.exploration.process import OperatorProcess
from tests.exploration.run import play, silence
from tests.exploration.script import draw
from tests.exploration.specs import OTHER_INSTALLATION
from tests.exploration.wire import WiredStore
from workforce_operator.domain import counting, hire, orders, plan, region, situation
from workforce_operator.domain.actions import Hire
from workforce_operator.domain.circuit import Circuit
from workforce_operator.domain.deletion import End
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import Job, Known, Observed, Phase, RegionJobs, Unknown
from workforce_operator.domain.scaling import decide
from workforce_operator.domain.scaling.backlog import Proposal
from workforce_operator.domain.shrink import Shrunk
from workforce_operator.reconcile import execute, reconciler
from workforce_operator.reconcile.execute import Executor
from workforce_operator.reconcile.objects import Objects
from workforce_operator.reconcile.observe import Observer
from workforce_operator.reconcile.reconciler import Reconciler
from workforce_operator.reconcile.telemetry import ActionResult

MOST_SEEDS = 400
"""A mutant that survives so many runs is not caught."""


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Attributes:
        owner: In which module or class something is replaced.
        attribute: What.
        wrong: Makes the wrong version from the right one.
        seed: A run that found it when it was last looked for; only spares time.
    """

    owner: Any
    attribute: str
    wrong: Callable[[Any], Any]
    seed: int = 0

    def install(self) -> Any:
        """Put it in, for good."""
        return patch.object(self.owner, self.attribute, self.wrong(getattr(self.owner, self.attribute))).start()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put it in for a while."""
        with patch.object(self.owner, self.attribute, self.wrong(getattr(self.owner, self.attribute))):
            yield


def _cap_off_by_one(assess: Any) -> Any:
    return lambda *args, most, **more: assess(*args, most=most + 1, **more)


def _ledger_after_the_act(_pass: Any) -> Any:
    async def wrong(self: Any, stored: Any, desired: Any) -> Any:
        ledger = reconciler.read_ledger(stored.status)
        places = reconciler.workplaces(desired, ledger)
        observed = await self._observe(stored.key, desired, ledger, places)
        decided, unresolved = await self._look_up(desired, reconciler.decide(desired, observed, ledger), places)
        done = await self._executor.execute(self._work(desired, decided, places, unresolved))
        if decided.ledger != ledger:
            status = reconciler.announce(desired, observed, decided, stored.status)
            stored = await self._store.write_status(stored, status)
        self._memory[stored.key].history = decided.history
        if decided.finished:
            return await self._finish(stored, decided)
        status = reconciler.build_status(desired, observed, decided, reconciler.outcomes_of(done), stored.status)
        stored = await self._write(stored, status, observed.now)
        return self._verdict(stored.key, observed, decided, done, status)

    return wrong


def _drains_forgotten(read_ledger: Any) -> Any:
    def wrong(status: Any) -> Ledger:
        read = read_ledger(status)
        return replace(read, regions={name: replace(each, waves=()) for name, each in read.regions.items()})

    return wrong


def _unknown_is_zero(read: Any) -> Any:
    async def wrong(self: Any, subject: Any, name: str) -> Any:
        answer = await read(self, subject, name)
        return Known(RegionJobs(), self._clock.now()) if isinstance(answer, Unknown) else answer

    return wrong


def _name_reused(names: Any) -> Any:
    def wrong(at: Any, going_on: Any, wanted: int) -> Any:
        sequences, following = names(at, going_on, wanted)
        used = [job.sequence for job in at.count.ended]
        return (*used, *sequences)[: len(sequences)], following

    return wrong


def _another_job_is_told(order: Any) -> Any:
    def wrong(words: Any, job: str, sequence: int, **more: Any) -> Any:
        other = max(0, sequence - 1)
        return order(words, f"{job.rsplit('-', 1)[0]}-{other}", other, **more)

    return wrong


def _recall_ignored(take_back: Any) -> Any:
    return lambda at, deficit: Shrunk(at.ledger.waves)


def _running_is_cancelled(cancel: Any) -> Any:
    async def wrong(self: Any, place: Any, name: str) -> ActionResult:
        job = await self._jobs.get(place, name)
        if job is not None and job.phase is not Phase.ENDED:
            await self._jobs.cancel(place, name)
        return ActionResult.DONE

    return wrong


def _failed_is_supply(count_jobs: Any) -> Any:
    def alive(job: Job) -> Job:
        return replace(job, state="Running") if job.state == "Failed" else job

    return lambda listed, waves: count_jobs(replace(listed, jobs=tuple(map(alive, listed.jobs))), waves)


def _revision_stays(next_revision: Any) -> Any:
    return lambda ledger, now: 1


def _absent_names_are_free(names: Any) -> Any:
    def wrong(at: Any, going_on: Any, wanted: int) -> Any:
        count, first = at.count, at.ledger.next_sequence or 0
        new = max(0, min(wanted, at.most - count.live))
        return tuple(range(first, first + new)), first + new

    return wrong


def _one_too_many_leaves(lay_off: Any) -> Any:
    return lambda at, excess: lay_off(at, excess + 1)


def _hold_is_ignored(decide_pass: Any) -> Any:
    def wrong(desired: Any, observed: Observed, ledger: Ledger) -> Any:
        if desired.spec.suspend == "Hold":
            desired = replace(desired, spec=desired.spec.model_copy(update={"suspend": plan.Suspend.NONE}))
        return decide_pass(desired, observed, ledger)

    return wrong


def _time_in_the_status(build_status: Any) -> Any:
    def wrong(desired: Any, observed: Observed, *more: Any) -> Any:
        status = build_status(desired, observed, *more)
        return status.model_copy(update={"selector": f"at={observed.now:%M%S}"})

    return wrong


def _lost_hire_gets_another_name(decide_pass: Any) -> Any:
    """Each pass hires what is missing under new names, instead of going on with those that it has reserved."""

    def wrong(desired: Any, observed: Observed, ledger: Ledger) -> Any:
        decided = decide_pass(desired, observed, ledger)
        actions = tuple(
            Hire(each.region, desired.job_name(each.region, each.sequence + 1), each.sequence + 1)
            if isinstance(each, Hire)
            else each
            for each in decided.actions
        )
        return replace(decided, actions=actions)

    return wrong


def _finalizer_comes_late(add_finalizer: Any) -> Any:
    async def wrong(self: Any, stored: Any) -> Any:
        return stored

    return wrong


def _executor_forgets_the_order(order: Any) -> Any:
    async def wrong(self: Any, work: Any, action: Any) -> ActionResult:
        return ActionResult.NOT_NEEDED

    return wrong


def _unreadable_queue_is_empty(proposal: Any) -> Any:
    def wrong(autoscaling: Any, slots: int, given: Any, history: Any) -> Any:
        if isinstance(given.queue, Unknown):
            return Proposal(0, "no tasks")
        return proposal(autoscaling, slots, given, history)

    return wrong


def _orders_to_the_common_channel(channel: Any) -> Any:
    return lambda work, region: work.control


def _adoption_is_ignored(wanted: Any) -> Any:
    def wrong(stored: Any, *args: Any, **more: Any) -> Any:
        own = {name: value for name, value in stored.spec.items() if name != "adoptFrom"}
        return wanted(replace(stored, spec=own), *args, **more)

    return wrong


def _everybodys_jobs_are_taken_over(wanted: Any) -> Any:
    return lambda stored, _, *args, **more: wanted(stored, OTHER_INSTALLATION, *args, **more)


def _all_tasks_wait(with_reports: Any) -> Any:
    return lambda queue, observed: queue


def _never_confirmed(confirm: Any) -> Any:
    async def wrong(self: Any, stored: Any) -> None:
        pass

    return wrong


def _names_begin_anew(without: Any) -> Any:
    return lambda self, regions: replace(without(self, regions), next_sequence=0)


MUTANTS = {
    "the cap is off by one": Mutant(plan, "assess", _cap_off_by_one, seed=7),
    "nobody counts over all regions": Mutant(
        plan, "with_room", lambda _: lambda _desired, _observed, _ledger, each: each, seed=1
    ),
    "the ledger is written after the act": Mutant(Reconciler, "_pass", _ledger_after_the_act, seed=2),
    "drains in the ledger are forgotten": Mutant(reconciler, "read_ledger", _drains_forgotten, seed=9),
    "unknown is read as zero": Mutant(Observer, "_region", _unknown_is_zero, seed=39),
    "a used name is used again": Mutant(hire, "_names", _name_reused, seed=2),
    "another job is told to leave": Mutant(orders._Words, "order", _another_job_is_told, seed=9),
    "drains are not taken back": Mutant(region, "take_back", _recall_ignored, seed=13),
    "a running job is cancelled": Mutant(Executor, "_cancel_if_waiting", _running_is_cancelled, seed=27),
    "a failed job is supply": Mutant(situation, "count_jobs", _failed_is_supply, seed=13),
    "the finalizer goes early": Mutant(plan, "end_of_deletion", lambda _: lambda *_: End(finished=True), seed=10),
    "the deletion waits for ever": Mutant(plan, "end_of_deletion", lambda _: lambda *_: End(finished=False), seed=7),
    "revisions do not rise": Mutant(plan, "next_revision", _revision_stays, seed=23),
    "the lease is not checked": Mutant(OperatorProcess, "check", lambda _: lambda self: None, seed=10),
    "names without a job are forgotten": Mutant(hire, "_names", _absent_names_are_free, seed=10),
    "one too many is told to leave": Mutant(region, "lay_off", _one_too_many_leaves, seed=11),
    "a worker that was named stays": Mutant(region, "requested", lambda _: lambda situation: None, seed=53),
    "Hold is ignored": Mutant(reconciler, "decide", _hold_is_ignored, seed=2),
    "the status holds the time": Mutant(reconciler, "build_status", _time_in_the_status),
    "hires use names beyond the reserved ones": Mutant(reconciler, "decide", _lost_hire_gets_another_name, seed=2),
    "there is no finalizer": Mutant(WiredStore, "add_finalizer", _finalizer_comes_late),
    "orders are never sent": Mutant(Executor, "_order", _executor_forgets_the_order, seed=9),
    "an unreadable queue is empty": Mutant(decide, "_proposal", _unreadable_queue_is_empty, seed=16),
    "paused jobs stay paused": Mutant(region, "resumes", lambda _: lambda *_: (), seed=10),
    "an open circuit is tried at once": Mutant(Circuit, "allowed", lambda _: lambda self, now: None, seed=42),
    "overrides are ignored": Mutant(reconciler, "pinned", lambda _: lambda desired, *_: desired.spec.template, seed=7),
    "messages for anybody are sent at every pass": Mutant(counting, "unanswered", lambda _: lambda *_: {}, seed=7),
    "orders go to the common channel": Mutant(execute, "_channel", _orders_to_the_common_channel, seed=27),
    "schedules are ignored": Mutant(decide, "highest", lambda _: lambda schedules, now: None, seed=86),
    "adoptFrom is ignored": Mutant(reconciler, "wanted", _adoption_is_ignored, seed=14),
    "another installation's jobs are taken over": Mutant(reconciler, "wanted", _everybodys_jobs_are_taken_over, seed=2),
    "tasks that are being run count as waiting": Mutant(plan, "with_reports", _all_tasks_wait, seed=194),
    "acts follow an object that was not read": Mutant(Objects, "confirm", _never_confirmed, seed=15),
    "names of a region that was taken out are given out again": Mutant(Ledger, "without", _names_begin_anew, seed=109),
}
"""By name."""


def seeds_needed(name: str, most: int = MOST_SEEDS) -> tuple[int, str | None]:
    """How many runs it takes to catch a mutant, and by which rule; None if it was not caught."""
    silence()
    with MUTANTS[name].installed():
        for seed in range(most):
            broken = play(draw(seed)).broken
            if broken is not None:
                return seed + 1, str(broken)
    return most, None


def hunt(*, processes: int = 1) -> dict[str, tuple[int, str | None]]:
    """All mutants: how many runs each took, and which rule it broke."""
    with ProcessPoolExecutor(processes) as pool:
        return dict(zip(MUTANTS, pool.map(seeds_needed, MUTANTS), strict=True))
