"""A status that is lost at any moment, with a restart and lost reports, drains nobody beyond what is wanted.

PUTs in flight have arrived when the status is lost: a job that no list shows yet cannot be known without the ledger.
"""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.property.world import Crash, Faults, SimJob, World
from workforce_operator.api.status import DrainState
from workforce_operator.domain.ledger import read_ledger
from workforce_operator.domain.observed import Phase, phase_of
from workforce_operator.domain.waves import jobs_in

steps = st.one_of(
    st.tuples(st.just("pass"), st.none() | st.integers(0, 6)),
    st.tuples(st.just("pass"), st.none()),
    st.tuples(st.just("report"), st.integers(0, 15)),
    st.tuples(st.just("report"), st.integers(0, 15)),
    st.tuples(st.sampled_from(["start", "preempt", "obey", "leave", "fail"]), st.integers(0, 15)),
    st.tuples(st.just("scale"), st.integers(0, 8)),
    st.tuples(st.just("advance"), st.sampled_from([1, 60, 400, 2000])),
    st.tuples(st.just("shrink"), st.integers(0, 6)),
    st.tuples(st.just("forget"), st.none()),
    st.tuples(st.just("restart"), st.none()),
)


def stays(job: SimJob, chosen: frozenset[int]) -> bool:
    """Whether a job lives and was not told, or is not about to be told, to leave."""
    return job.live and job.state != "CancelRequested" and not job.told and job.sequence not in chosen


def check_choice(world: World) -> None:
    """Called between the decision and its first act."""
    assert world.last_plan is not None
    before = read_ledger(world.stored).regions
    for name, region in world.last_plan.ledger.regions.items():
        known = jobs_in(before[name].waves, DrainState.SENT) if name in before else frozenset()
        chosen = jobs_in(region.waves, DrainState.SENT)
        fresh = [job for job in world.live(name) if job.sequence in chosen - known and not job.told]
        if any(phase_of(job.state) is Phase.RUNNING for job in fresh):
            left = [job for job in world.live(name) if stays(job, chosen)]
            assert len(left) >= world.last_plan.regions[name].desired


def play(world: World, schedule: list[tuple[str, Any]]) -> None:
    for kind, argument in schedule:
        live = [job for job in world.all_jobs() if job.live]
        match kind:
            case "pass":
                with contextlib.suppress(Crash):
                    world.pass_(Faults(die_after=argument))
            case "scale":
                world.scale(argument)
            case "advance":
                world.advance(argument)
            case "shrink":
                world.scale(argument)
                world.pass_()
            case "forget":
                world.forget()
            case "restart":
                world.reports = {}
            case _ if live:
                happens(world, kind, live[argument % len(live)])


def happens(world: World, kind: str, job: SimJob) -> None:
    match kind:
        case "report":
            # A worker listens all the time: what it was told before, it knows when it reports.
            world.obey(job)
            world.report(job, busy=job.sequence % 2)
        case "leave":
            if job.drained and job.state == "Running":
                world.end(job, "Completed")
        case "fail":
            world.end(job, "Failed")
        case _:
            getattr(world, kind)(job)


IDLE_ONE_SPEAKS_FIRST = [
    ("shrink", 3), ("obey", 4), ("obey", 3), ("forget", None), ("pass", None), ("advance", 1), ("report", 2),
    ("pass", None), ("report", 0), ("report", 1), ("pass", None), ("report", 3), ("pass", None), ("pass", None),
]  # fmt: skip


@example(replicas=5, most=8, schedule=IDLE_ONE_SPEAKS_FIRST)
@given(replicas=st.integers(0, 8), most=st.integers(1, 8), schedule=st.lists(steps, min_size=30, max_size=60))
def test_a_lost_status_drains_nobody_beyond_what_is_wanted(replicas: int, most: int, schedule: list[Any]):
    world = World(replicas, (most,))
    world.decided = lambda: check_choice(world)
    world.settle()
    play(world, schedule)
    world.advance(90_000)
    world.settle()
    world.advance(4000)
    world.settle()
    assert len(world.supply()) == min(world.desired.spec.replicas, most)
    assert not [job for job in world.all_jobs() if job.live and job.drained]
