"""A decision record in plain words, one line each, for a terminal. Pure: the record says everything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from workforce_operator.api.base import Model
from workforce_operator.domain.decision import Act, Fact, Record, Step

_WORDS = {
    "hire": "hired",
    "order": "told to leave",
    "recall": "told to stay",
    "cancel_pending": "cancelled while waiting",
    "cancel": "cancelled",
    "resume": "resumed",
}
_RESULTS = {
    "not_needed": "not needed any more",
    "failed": "failed",
    "put_off": "left for the next pass",
}
_DONE = "done"
_TOLD = ("order", "recall")
_TOLD_BEFORE = "told before"
_MANY_JOBS = 3


class Entry(Model):
    """A record and the passes that it is the record of."""

    first_time: datetime
    """Of the first pass."""
    last_time: datetime
    """Of the last pass."""
    passes: int
    """How many passes in a row had this record."""
    decision: Record
    """The record."""


def in_words(entry: Entry, now: datetime, *, everything: bool = False) -> list[str]:
    """Lines of text.

    Args:
        entry: What was decided.
        now: For ages.
        everything: Also the regions in which nothing is to be done; else they are only counted.
    """
    decision = entry.decision
    return [
        f"generation {decision.generation}, decided {_when(entry, now)}",
        "",
        "What was known",
        *_facts(decision, everything=everything),
        "",
        f"What was decided: {decision.desired} wanted",
        *_steps(decision.steps, everything=everything),
        "",
        "What was done",
        *(_acts(decision.acts) or ["  nothing: none was needed"]),
    ]


def age(seconds: float) -> str:
    """A time span as kubectl writes it: 12s, 5m, 3h, 2d."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size or (unit == "d" and seconds >= size):
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def _when(entry: Entry, now: datetime) -> str:
    ago = f"{age((now - entry.last_time).total_seconds())} ago"
    if entry.passes == 1:
        return ago
    return f"{ago}; the same in {entry.passes} passes, for {age((entry.last_time - entry.first_time).total_seconds())}"


def _facts(decision: Record, *, everything: bool) -> list[str]:
    quiet = {step.about for step in decision.steps if step.idle}
    shown = [fact for fact in decision.facts if everything or not fact.known or fact.about not in quiet]
    width = max((len(fact.about) for fact in shown), default=0)
    lines = [f"  {fact.about:<{width}}  {_fact(fact)}" for fact in shown]
    left = len(decision.facts) - len(shown)
    return [*lines, f"  regions where nothing is to be done: {left}"] if left else lines


def _fact(fact: Fact) -> str:
    return fact.text if fact.known else f"not known: {fact.text}"


def _steps(steps: Iterable[Step], *, everything: bool) -> Iterator[str]:
    for step in steps:
        if step.idle and not everything:
            continue
        about = "" if step.about == "workforce" else f"{step.about}: "
        rule = f"  [rule {step.rule}]" if step.rule is not None else ""
        yield f"  {about}{step.text}{rule}"


def _acts(acts: Iterable[Act]) -> list[str]:
    return [f"  {_act(act)}" for act in acts]


def _act(act: Act) -> str:
    names = ", ".join(act.jobs[:_MANY_JOBS]) + (", …" if act.count > _MANY_JOBS else "")
    result, what = _result(act), _WORDS.get(act.kind, act.kind)
    if result not in (_DONE, _TOLD_BEFORE):
        what = f"not {what}"
    after = "" if result == _DONE else f" – {result}"
    error = f": {act.error}" if act.error else ""
    why = f" ({act.why})" if act.why else ""
    return f"{act.region}: {act.count} {what}{why}: {names}{after}{error}"


def _result(act: Act) -> str:
    """What came of an act; an order that needs no sending is one that was sent, and still holds."""
    if act.kind in _TOLD and act.result == "not_needed":
        return _TOLD_BEFORE
    return _RESULTS.get(act.result, act.result)
