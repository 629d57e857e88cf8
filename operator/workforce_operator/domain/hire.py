"""Hiring: how many workers, under which reserved names, and who is not replaced yet."""

from __future__ import annotations

from dataclasses import replace

from workforce_operator.domain.ledger import Row
from workforce_operator.domain.replace import Gate, ended_here, gate
from workforce_operator.domain.situation import Situation
from workforce_operator.domain.value import value


@value
class Hiring:
    """What hiring changes.

    Attributes:
        sequences: Names to submit jobs under: first those that were reserved before and do not exist.
        next_sequence: The region's from now on.
        filled: The region's from now on.
        hiring: The region's from now on.
        idle: The region's from now on.
        failing: The region's from now on.
        row: The region's from now on.
        gate: What holds replacements back.
        room: False = maxReplicas leaves no room for all that is wanted.
        fresh: How many of the hires were not decided in an earlier pass.
    """

    sequences: tuple[int, ...]
    next_sequence: int
    filled: int
    hiring: frozenset[int]
    idle: int
    failing: int
    row: Row | None
    gate: Gate
    room: bool = True
    fresh: int = 0


def no_hiring(situation: Situation) -> Hiring:
    """Nobody is hired now; decided hires are remembered as long as they are wanted and may still come about."""
    ledger, count = situation.ledger, situation.count
    missing = max(0, situation.share - count.supply)
    open_names = count.unread if situation.may_hire else count.unread | count.absent
    hiring = frozenset(sorted(ledger.hiring & open_names)[:missing])
    idle = min(missing - len(hiring), ledger.idle)
    return Hiring(
        sequences=(),
        next_sequence=ledger.next_sequence or 0,
        filled=ledger.filled,
        hiring=hiring,
        idle=idle,
        failing=min(missing - len(hiring) - idle, ledger.failing),
        row=ledger.row,
        gate=Gate(0),
    )


def hire(situation: Situation, deficit: int) -> Hiring:
    """Decide hires for what is missing after everybody who can be taken back was.

    Hires of an earlier pass whose jobs do not exist yet go on; growth beyond what was ever filled is hired at once;
    the rest are replacements, which ``replace.gate`` decides about.
    """
    ledger, count = situation.ledger, situation.count
    going_on = sorted(ledger.hiring & count.absent, key=lambda name: (name not in count.late, name))[:deficit]
    growth = min(situation.share - ledger.filled, deficit - len(going_on))
    allowed = gate(
        deficit - len(going_on) - growth,
        ended_here(count.ended, situation.desired.created),
        drained=situation.drained,
        desired=situation.share,
        queue=situation.queue,
        now=situation.now,
        idle=ledger.idle,
        failing=ledger.failing,
        row=ledger.row,
        living=count.running,
        policy=situation.desired.spec.failure_policy,
        last_words=situation.last_words,
        template=situation.template,
    )
    wanted = len(going_on) + growth + allowed.allowed
    # Held back by the template's back-off or the region's circuit, but not given up.
    held = frozenset() if situation.limit is None else frozenset(going_on)
    wanted = wanted if situation.limit is None else min(wanted, situation.limit)
    sequences, next_sequence = _names(situation, going_on, wanted)
    fresh = max(0, len(sequences) - len(going_on))
    return Hiring(
        sequences=sequences,
        next_sequence=next_sequence,
        filled=ledger.filled + min(growth, fresh),
        hiring=frozenset(sequences) | (ledger.hiring & count.unread) | held,
        idle=allowed.completed,
        failing=allowed.failed,
        row=_longer(allowed, max(0, fresh - growth)),
        gate=allowed,
        room=len(sequences) == wanted,
        fresh=fresh,
    )


def _longer(allowed: Gate, replacements: int) -> Row | None:
    """The row with those that are replaced now."""
    row = allowed.row
    return None if row is None else replace(row, replaced=row.replaced + min(replacements, allowed.of_row))


def _names(situation: Situation, going_on: list[int], wanted: int) -> tuple[tuple[int, ...], int]:
    """Names for the hires. Caps count every name that may have a job, so that no late or repeated PUT exceeds them.

    First come those under which a hire may arrive anyway: they are counted, and repeating them adds nobody.
    """
    count, first_new = situation.count, situation.ledger.next_sequence or 0
    decided = frozenset(going_on)
    unused = sorted(count.absent, key=lambda name: (name not in count.late, name not in decided, name))
    reused = unused[: max(0, min(wanted, situation.most - count.possibly_live))]
    room = max(0, situation.most - count.possibly_live - len(count.absent))
    new = min(wanted - len(reused), room)
    return (*reused, *range(first_new, first_new + new)), first_new + new
