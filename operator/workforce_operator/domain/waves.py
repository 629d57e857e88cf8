"""Book-keeping of drain waves in the ledger: new ones, moves between them, and how they end. Decides nothing.

A region holds at most 16 waves; with a further one two of the same kind are merged, so that the status stays bounded
whatever people do, and who may be taken back stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from jobq.control import ORDER_TTL
from workforce_operator.api.status import DrainState
from workforce_operator.domain.ledger import Ledger, Wave
from workforce_operator.domain.observed import Job, LastReport

MAX_WAVES = 16
REQUESTED = "Requested"
"""Reason of the waves of jobs that somebody named: they are not taken back."""

RECALL_ENDS_AFTER = 2 * ORDER_TTL
"""A recall that nobody confirmed is given up after this: the job counts as supply either way."""

MOST_REVISION = 2**53 - 1
"""The largest integer that every JSON reader keeps; as a time, in the year 2255. No higher one was ever given out."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def next_revision(ledger: Ledger, now: datetime) -> int:
    """A revision higher than any that was ever given out, also by a ledger that was lost: the clock is the floor.

    Microseconds, because a pass gives one revision to each region: what it gives out must be past when the next pass
    begins. Otherwise the revisions run ahead of the clock, and fall back to it when the waves have gone.
    """
    used = (wave.revision for region in ledger.regions.values() for wave in region.waves)
    return max(max(used, default=0) + 1, (now - _EPOCH) // timedelta(microseconds=1))


def above_seen(revision: int, reports: Iterable[LastReport | None]) -> int:
    """The revision for a wave of workers who have reported this, or not: one that none of them ignores.

    A worker ignores what is lower than anything it has seen. If the clock was put back after the waves had gone from
    the ledger, only the workers themselves still know how far the revisions had come. A report that names what was
    never given out counts for nothing.
    """
    seen = (report.revision for report in reports if report is not None and report.revision < MOST_REVISION)
    return max(revision, max(seen, default=0) + 1)


def wave_id(revision: int) -> str:
    """Id of the wave that was made with this revision."""
    digits = ""
    while revision:
        revision, digit = divmod(revision, 36)
        digits = _DIGITS[digit] + digits
    return f"w{digits or '0'}"


def jobs_in(waves: Iterable[Wave], state: DrainState) -> frozenset[int]:
    """Sequences of all jobs in waves of a state."""
    return frozenset(job for wave in waves if wave.state is state for job in wave.jobs)


def without(waves: Iterable[Wave], jobs: Collection[int]) -> tuple[Wave, ...]:
    """The waves less these jobs; empty waves go, waves that keep all their jobs stay as they are."""
    gone = frozenset(jobs)
    kept = (wave if gone.isdisjoint(wave.jobs) else replace(wave, jobs=wave.jobs - gone) for wave in waves)
    return tuple(wave for wave in kept if wave.jobs or wave.count)


def unanswered(waves: Iterable[Wave], ended: Iterable[Job]) -> dict[str, int]:
    """By wave that names nobody: how many workers that it told to leave have not left yet.

    Every worker that has ended since a wave was sent answers one wave, the oldest that still waits. Jobs that never
    ran have heard nothing.
    """
    left = {wave.id: wave.count for wave in sorted(waves, key=lambda wave: wave.sent) if wave.count}
    sent = {wave.id: wave.sent for wave in waves}
    if not left:
        return left
    ends = sorted(job.ended for job in ended if job.started is not None and job.ended is not None)
    for end in ends:
        answered = next((each for each, number in left.items() if number and sent[each] <= end), None)
        if answered is not None:
            left[answered] -= 1
    return left


def withdrawn(waves: Iterable[Wave], identity: str, number: int) -> tuple[Wave, ...]:
    """The waves, with so many fewer told by one that names nobody: its messages were surely not sent."""
    kept = (replace(wave, count=max(0, wave.count - number)) if wave.id == identity else wave for wave in waves)
    return tuple(wave for wave in kept if wave.jobs or wave.count)


def add(waves: Iterable[Wave], new: Wave) -> tuple[Wave, ...]:
    """The waves with the new one's jobs moved into it, merged if they would be too many."""
    waves = (*without(waves, new.jobs), new)
    while len(waves) > MAX_WAVES:
        waves = _merge_youngest(waves)
    return waves


def settle(
    waves: Iterable[Wave],
    ended: Sequence[Job],
    absent: Collection[int],
    confirmed: Callable[[int, int], bool],
    now: datetime,
) -> tuple[Wave, ...]:
    """The waves less what has come to an end.

    Args:
        waves: As they were.
        ended: Jobs that have ended.
        absent: Sequences of jobs that do not exist.
        confirmed: Whether the job (by sequence) has said that it accepts tasks under this revision or a later one.
        now: The time of this pass.
    """
    waves = tuple(waves)
    left = unanswered(waves, ended)
    # An answered wave is kept while a younger one waits: who answered the one would count as an answer to the other.
    waiting = [wave.sent for wave in waves if wave.count and left[wave.id] and now < wave.deadline]
    needed_until = max(waiting, default=None)
    gone = {job.sequence for job in ended}.union(absent)
    return tuple(
        wave
        for wave in (_settle_recall(wave, confirmed) for wave in without(waves, gone))
        if (_is_open(wave, left, needed_until, now) if wave.count else wave.jobs and not _recall_is_over(wave, now))
    )


def _is_open(wave: Wave, left: Mapping[str, int], needed_until: datetime | None, now: datetime) -> bool:
    """Whether a wave that names nobody still matters."""
    if left[wave.id]:
        return now < wave.deadline
    return needed_until is not None and wave.sent <= needed_until


def _settle_recall(wave: Wave, confirmed: Callable[[int, int], bool]) -> Wave:
    if wave.state is not DrainState.RECALLED:
        return wave
    return replace(wave, jobs=frozenset(job for job in wave.jobs if not confirmed(job, wave.revision)))


def _recall_is_over(wave: Wave, now: datetime) -> bool:
    return wave.state is DrainState.RECALLED and now >= wave.sent + RECALL_ENDS_AFTER


def _merge_youngest(waves: tuple[Wave, ...]) -> tuple[Wave, ...]:
    """Merge the two youngest waves of the kind that has most waves.

    There are always two of a kind: recalls are of one, and drains of three for each of the two modes.
    """
    kinds: dict[tuple[str, str, bool, bool], list[Wave]] = {}
    for wave in sorted(waves, key=lambda wave: wave.revision):
        kinds.setdefault((wave.mode, wave.state, bool(wave.count), wave.reason == REQUESTED), []).append(wave)
    older, youngest = max(kinds.values(), key=len)[-2:]
    merged = replace(
        youngest,
        jobs=older.jobs | youngest.jobs,
        count=older.count + youngest.count,
        deadline=max(older.deadline, youngest.deadline),
        # Who has ended since the older one was sent has answered either.
        sent=min(older.sent, youngest.sent) if youngest.count else max(older.sent, youngest.sent),
    )
    return (*(wave for wave in waves if wave not in (older, youngest)), merged)
