"""Random situations of one Workforce: anything that a pass may find."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from tests.support.planning import NOW, desired, entry, job, jobs, ledger, name_of, observed, regions, report, wave
from workforce_operator.api.status import DrainState
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import Job, Observed

LIVE = ("Queued", "Running", "Running", "Running", "Paused", "CancelRequested")
ENDED = ("Completed", "Failed", "Canceled")


@dataclass(frozen=True)
class Case:
    """Input of one pass."""

    desired: Desired
    observed: Observed
    ledger: Ledger


@st.composite
def any_job(draw: st.DrawFn, sequence: int) -> Job:
    state = draw(st.sampled_from((*LIVE, *ENDED)))
    started = draw(st.integers(1, 50))
    times: dict[str, Any] = {"created": 60}
    if state not in ("Queued",):
        times["started"] = started
    if state in ENDED:
        times["ended"] = draw(st.integers(0, started))
    return job(sequence, state, **times)


@st.composite
def cases(draw: st.DrawFn, **spec: Any) -> Case:
    """One region with up to ten reserved names in any state."""
    reserved = draw(st.integers(0, 10))
    fates = [draw(st.sampled_from(["job", "job", "job", "absent", "unread"])) for _ in range(reserved)]
    listed = [draw(any_job(number)) for number, fate in enumerate(fates) if fate == "job"]
    live = [each.sequence for each in listed if each.state in LIVE]
    sent = draw(st.frozensets(st.sampled_from(live), max_size=4)) if live else frozenset()
    recalled = (draw(st.frozensets(st.sampled_from(live), max_size=2)) if live else frozenset()) - sent
    waves = []
    if sent:
        waves.append(wave(*sent, revision=5))
    if recalled:
        waves.append(wave(*recalled, revision=9, state=DrainState.RECALLED))
    busy = draw(st.frozensets(st.integers(0, 9), max_size=5))
    reports = {name_of(each): report(each, busy=each % 2, task_minutes=each) for each in busy}
    replicas, most = draw(st.integers(0, 12)), draw(st.integers(0, 12))
    wanted = desired(replicas=replicas, regions=regions(one=most), **spec)
    here = jobs(
        *listed,
        absent=[number for number, fate in enumerate(fates) if fate == "absent"],
        unread=[number for number, fate in enumerate(fates) if fate == "unread"],
    )
    visible, control = draw(st.sampled_from([True, False, None])), draw(st.sampled_from([True, True, True, None]))
    world = observed(visible=visible, control=control, reports=reports, one=here)
    unseen = [number for number, fate in enumerate(fates) if fate != "job"]
    hiring = draw(st.frozensets(st.sampled_from(unseen))) if unseen else frozenset()
    waiting = {"idle": draw(st.integers(0, 3)), "failing": draw(st.integers(0, 3))}
    restored = draw(st.sampled_from([None, None, NOW - timedelta(minutes=5), NOW]))
    known = entry(
        reserved, restored=restored, filled=draw(st.integers(0, 10)), hiring=hiring, waves=tuple(waves), **waiting
    )
    return Case(wanted, world, ledger(one=known))


LATER = timedelta(seconds=5)
__all__ = ["ENDED", "LATER", "LIVE", "NOW", "Case", "cases"]
