"""The one entry of all decisions: what to do about one Workforce, from what is wanted, observed and intended.

Pure: the same input gives the same plan, and planning again on the result of a plan does nothing. Regions are decided
one by one; only their shares depend on each other, and are remembered. An unreadable region is left as it is.

Nobody is the first to be hired while ``spec.control`` is set and the region's channel is not known to be ready: workers
listen where they were told to, so a channel that does not exist could not be corrected once they live. While anybody
who listens there lives, or was promised a name, it was ready once, and an outage of it holds no replacement back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from workforce_operator.api.spec import DeletionPolicy, Suspend
from workforce_operator.domain.actions import Action, Hire, Note, Plan, RegionPlan, Resume, cancel_notes
from workforce_operator.domain.cap import with_room
from workforce_operator.domain.deletion import GRACE, end_of_deletion, last_actions
from workforce_operator.domain.desired import Desired, moved_regions
from workforce_operator.domain.ledger import Ledger, RegionLedger
from workforce_operator.domain.observed import Known, Observed, Phase, RegionJobs, Unknown
from workforce_operator.domain.placement.idle import Place, moved_idle
from workforce_operator.domain.placement.regions import sites_of
from workforce_operator.domain.placement.shares import place
from workforce_operator.domain.placement.sites import Placement
from workforce_operator.domain.region import Decision, decide, only_counted
from workforce_operator.domain.replace import ended_here, why_missing
from workforce_operator.domain.scaling.backlog import with_reports
from workforce_operator.domain.situation import Seen, Situation, assess, look
from workforce_operator.domain.sizing import Size, size
from workforce_operator.domain.template import region_hashes
from workforce_operator.domain.template_backoff import template_backoff
from workforce_operator.domain.waves import next_revision

_TURNS: Mapping[type[Action], int] = {Resume: 1, Hire: 2}
_NOT_READ = Unknown("NotRead", "the region was not read")


def plan(desired: Desired, observed: Observed, ledger: Ledger) -> Plan:
    """Decide one pass.

    Args:
        desired: What people want.
        observed: What was read, for every region of ``region_places(desired, ledger)``.
        ledger: What was intended before.

    Returns:
        The new ledger, to be written before anything else, and the actions that it announces.
    """
    work = _work(desired, observed, ledger)
    if desired.deleting:
        return _deletion(work)
    if desired.spec.suspend is Suspend.HOLD:
        # Numbers only: nothing is touched, and nothing is intended that was not intended before.
        held = replace(ledger, decision=work.size.decision)
        return Plan(held, desired=work.size.wanted, regions=work.numbers(work.count()), history=work.size.history)
    return work.plan(work.decide())


@dataclass(frozen=True, slots=True)
class _Work:
    """One pass over all regions; ``gone`` are those that the spec does not have, or has elsewhere by now."""

    desired: Desired
    observed: Observed
    ledger: Ledger
    size: Size
    seen: Mapping[str, Seen]
    placement: Placement
    gone: frozenset[str]
    channels_awaited: frozenset[str]
    templates: Mapping[str, str]

    def decide(self) -> dict[str, Decision]:
        """Decisions about all readable regions."""
        return {name: decide(situation) for name, situation in self._situations().items()}

    def count(self) -> dict[str, Decision]:
        """The numbers of all readable regions, and no decision."""
        return {name: only_counted(situation) for name, situation in self._situations().items()}

    def plan(self, decisions: Mapping[str, Decision]) -> Plan:
        """The plan that follows from the regions' decisions."""
        emptied = frozenset(name for name in decisions if name in self.gone and decisions[name].count.is_empty)
        nowhere = {name: text for name, text in self.nowhere().items() if name in self.gone or self.desired.deleting}
        emptied |= self.gone & nowhere.keys()
        numbers = {name: each for name, each in self.numbers(decisions).items() if name not in emptied}
        retries = [each.retry_at for each in numbers.values() if each.retry_at]
        # The place of a region that has just been emptied is free for what the spec says about it now.
        retries += [self.observed.now] if emptied else []
        return Plan(
            ledger=replace(
                self.ledger,
                regions={name: self._ledger_of(name, decisions) for name in self.ledger.regions},
                decision=self.size.decision,
            ).without(emptied),
            actions=_in_order(action for decision in decisions.values() for action in decision.actions),
            desired=self.size.wanted,
            history=self.size.history,
            regions=numbers,
            channels_awaited=self.channels_awaited,
            shifts=self.placement.shifts,
            full=self.placement.full,
            free=self.placement.free,
            notes=(
                *(note for decision in decisions.values() for note in decision.notes),
                *(note for decision in decisions.values() for note in cancel_notes(decision.actions)),
                *(
                    Note("Moving", f"{name}: jobs that waited for a node for too long move to where nodes are free")
                    for name in sorted(self.placement.moved)
                ),
                *(Note("RegionEmptied", f"{name}: no jobs are left") for name in sorted(emptied - nowhere.keys())),
                *(
                    Note("RegionNotFound", f"{name}: counts as empty, because it does not exist: {text}", warning=True)
                    for name, text in sorted(nowhere.items())
                ),
            ),
            retry_at=min(retries, default=None),
        )

    def numbers(self, decisions: Mapping[str, Decision]) -> dict[str, RegionPlan]:
        """Numbers of all regions."""
        return {
            name: decisions[name].numbers if name in decisions else replace(_UNREADABLE, desired=self._share(name))
            for name in self.ledger.regions
        }

    def unreadable(self) -> dict[str, str]:
        """Why, for all regions that could not be read although they exist."""
        readings = {name: self.observed.regions.get(name, _NOT_READ) for name in self.ledger.regions}
        return {
            name: reading.message or reading.reason
            for name, reading in readings.items()
            if isinstance(reading, Unknown) and not reading.is_missing
        }

    def nowhere(self) -> dict[str, str]:
        """What the service says, for all regions whose workspace (or what holds it) does not exist: nor do jobs."""
        readings = {name: self.observed.regions.get(name, _NOT_READ) for name in self.ledger.regions}
        return {
            name: reading.message or reading.reason
            for name, reading in readings.items()
            if isinstance(reading, Unknown) and reading.is_missing
        }

    def _situations(self) -> dict[str, Situation]:
        limits = {region.name: region.max_replicas for region in self.desired.spec.regions}
        idle = moved_idle({name: self._place(name) for name in self.ledger.regions})
        situations = {
            name: assess(
                self.desired,
                self.observed,
                seen,
                share=self._share(name),
                most=0 if name in self.gone else limits[name],
                reason=self._reason(name),
                channel_awaited=name in self.channels_awaited,
                template=self.templates[name],
                gone=name in self.gone,
                first_sequence=self.ledger.next_sequence,
                idle=idle[name],
            )
            for name, seen in self.seen.items()
        }
        situations = _with_trials(self.desired, self.observed, situations)
        return with_room(self.desired, self.observed, self.ledger, situations)

    def _place(self, name: str) -> Place:
        before, after, seen = self.ledger.regions[name], self._share(name), self.seen.get(name)
        if seen is None:
            # Nobody can be hired in a region that cannot be read, so that nothing counts as gained there.
            return Place(before.share, after, held=after, idle=before.idle)
        supply, first = seen.count.supply, 0
        if before.next_sequence is None:
            # Jobs alone tell what there was, where the status is new or lost.
            first = self.ledger.next_sequence
            ever = supply + len(ended_here(seen.count.ended, self.desired.created, first))
            before = replace(before, share=ever, filled=ever)
        idle = 0
        if before.share is not None and after < before.share:
            vacant = max(0, min(before.share, before.filled) - supply - len(before.hiring & seen.count.absent))
            ended = ended_here(seen.count.ended, self.desired.created, first)
            _, idle = why_missing(vacant, ended, drained=seen.drained, idle=before.idle, failing=before.failing)
        return Place(before.share, after, max(before.filled, supply), idle)

    def _share(self, name: str) -> int:
        return 0 if name in self.gone else self.placement.shares[name]

    def _reason(self, name: str) -> str:
        if self.desired.deleting:
            return "Deletion"
        if name in self.gone:
            return "RegionRemoved"
        if name in self.placement.moved:
            return "Moving"
        return "Suspended" if self.desired.spec.suspend is Suspend.DRAIN else "ScaleDown"

    def _ledger_of(self, name: str, decisions: Mapping[str, Decision]) -> RegionLedger:
        if name in decisions:
            after = decisions[name].ledger
            return replace(after, moved=self.observed.now) if name in self.placement.moved else after
        before = self.ledger.regions[name]
        # A share that is only guessed, because the region was never read, is not remembered.
        share = None if before.share is None else self._share(name)
        return replace(before, share=share, unreadable_since=before.unreadable_since or self.observed.now)


_UNREADABLE = RegionPlan(desired=0, supply=0, pending=0, running=0, paused=0, draining=0, live=0, readable=False)


def _work(desired: Desired, observed: Observed, ledger: Ledger) -> _Work:
    known = _with_regions(desired, ledger)
    observed = replace(observed, queue=with_reports(observed.queue, observed))
    named = {region.name for region in desired.spec.regions}
    moved = frozenset(moved_regions(desired, known))
    gone = frozenset(name for name in known.regions if name not in named) | moved
    awaited = _channels_awaited(desired, observed, known)
    seen = _look(desired, observed, known)
    sites = sites_of(desired, observed, known, seen, moved=moved, channels_awaited=awaited)
    wanted = size(desired, observed, known, {name: each.count for name, each in seen.items()})
    held = desired.spec.suspend is Suspend.HOLD and not desired.deleting
    rankings = {name: each.ranking for name, each in seen.items()}
    placement = place(wanted.wanted, sites, desired.spec.placement.strategy, None if held else rankings)
    if held:
        placement = _as_remembered(placement, known)
    templates = region_hashes(desired.spec, known.regions)
    return _Work(desired, observed, known, wanted, seen, placement, gone, awaited, templates)


def _as_remembered(placement: Placement, ledger: Ledger) -> Placement:
    """The shares of the ledger, where it has any: what is not intended is not shown as if it were."""
    known = {name: ledger.regions[name].share for name in placement.shares}
    return replace(
        placement,
        shares=placement.shares | {name: share for name, share in known.items() if share is not None},
    )


def _look(desired: Desired, observed: Observed, ledger: Ledger) -> dict[str, Seen]:
    """All readable regions."""
    revision = next_revision(ledger, observed.now)
    readings = {name: observed.regions.get(name, _NOT_READ) for name in ledger.regions}
    return {
        name: look(
            desired,
            observed,
            name,
            listed=reading.value,
            ledger=ledger.regions[name],
            revision=revision + index,
        )
        for index, (name, reading) in enumerate(readings.items())
        if isinstance(reading, Known)
    }


def _with_trials(desired: Desired, observed: Observed, situations: Mapping[str, Situation]) -> dict[str, Situation]:
    """The situations, with the few hires that are allowed if the template is in back-off."""
    backoff = template_backoff(
        [job for each in situations.values() for job in each.count.ended if job.template_hash == each.template],
        (job for each in situations.values() for job in each.count.live_jobs if job.template_hash == each.template),
        observed.last_words,
        desired.spec.failure_policy,
        observed.now,
    )
    if backoff is None:
        return dict(situations)
    # Where nobody can be hired now, the turn would stay for ever: it is the trials that move it.
    short = [name for name, each in situations.items() if each.count.supply < each.share and each.can_hire]
    tried = short[backoff.turn % len(short)] if short else None
    return {
        name: replace(each, backoff=backoff, trials=backoff.allowed if name == tried else 0)
        for name, each in situations.items()
    }


def _channels_awaited(desired: Desired, observed: Observed, ledger: Ledger) -> frozenset[str]:
    """Regions whose control channel is not ready, and was not before as far as anybody knows."""
    awaited = frozenset(name for name in ledger.regions if not observed.can_order(name))
    if desired.spec.control is None or not awaited:
        return frozenset()
    in_use = {
        region.coordinates.control
        for name, region in ledger.regions.items()
        if _in_use(region, observed.regions.get(name, _NOT_READ))
    }
    return frozenset(name for name in awaited if ledger.regions[name].coordinates.control not in in_use)


def _in_use(region: RegionLedger, reading: Known[RegionJobs] | Unknown) -> bool:
    """Whether somebody lives here, or perhaps lives, or was promised a name."""
    if region.hiring or isinstance(reading, Unknown):
        return bool(region.hiring or region.reserved)
    return bool(reading.value.unread) or any(job.phase is not Phase.ENDED for job in reading.value.jobs)


def _with_regions(desired: Desired, ledger: Ledger) -> Ledger:
    """The ledger in the spec's order, with an entry for every region of the spec."""
    regions = {
        region.name: ledger.regions.get(region.name) or RegionLedger(desired.coordinates(region))
        for region in desired.spec.regions
    }
    return replace(
        ledger, regions=regions | {name: region for name, region in ledger.regions.items() if name not in regions}
    )


def _deletion(work: _Work) -> Plan:
    """The plan of a Workforce that is being deleted: like any other with nothing desired, and an end to it."""
    desired, now = work.desired, work.observed.now
    orphan = desired.deletion_policy is DeletionPolicy.ORPHAN
    decisions = work.count() if orphan else work.decide()
    for name, decision in decisions.items():
        last = () if orphan else last_actions(desired, name, decision.count, decision.actions, now)
        if last is not None:
            # Whom `Cancel` ends, nobody asks to leave.
            notes = () if desired.deletion_policy is DeletionPolicy.CANCEL else decision.notes
            decisions[name] = replace(decision, actions=last, notes=notes)
    regular = work.plan(decisions)
    counts = {name: decision.count for name, decision in decisions.items()}
    end = end_of_deletion(desired, work.ledger, counts, work.unreadable(), now)
    return replace(
        regular,
        ledger=work.ledger if orphan else regular.ledger,
        notes=regular.notes + end.notes,
        finished=end.finished,
        left_behind=end.left_behind,
        retry_at=_earliest_after(now, regular.retry_at, desired.deletion_deadline),
    )


def _earliest_after(now: datetime, regular: datetime | None, deadline: datetime | None) -> datetime | None:
    times = [] if regular is None else [regular]
    if deadline is not None:
        times += [time for time in (deadline, deadline + GRACE) if time > now]
    return min(times, default=None)


def _in_order(actions: Iterable[Action]) -> tuple[Action, ...]:
    """Orders and cancels first, then resumes, then hires."""
    return tuple(sorted(actions, key=lambda action: _TURNS.get(type(action), 0)))
