"""Whatever crashes, lags, gets lost or is edited: the rules hold at every step, and in the end all is as desired.

The rules are checked by the world at the moment in which they would be broken: no more live jobs than maxReplicas, no
hire under a name that was not reserved, no order that the stored ledger does not know, no cancel of a running job.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.property.world import Crash, Faults, World

counts = st.integers(0, 8)
regions = st.sampled_from([frozenset(), frozenset(), frozenset({"r0"}), frozenset({"r1"}), frozenset({"r0", "r1"})])
no_faults = st.just(Faults())
any_faults = st.builds(
    Faults,
    die_after=st.none() | st.integers(0, 6),
    lose=st.frozensets(st.integers(0, 6), max_size=4),
    hide=regions,
    lag=st.booleans(),
    read_at_most=st.sampled_from([0, 1, 3, 50]),
    control_down=st.sampled_from([False, False, False, True]),
)
passes = st.tuples(st.just("pass"), no_faults | any_faults)
events = st.tuples(
    st.sampled_from(["start", "start", "preempt", "complete", "fail", "cancel", "obey", "report"]), st.integers(0, 15)
)
steps = st.one_of(
    passes,
    passes,
    passes,
    events,
    events,
    st.tuples(st.just("scale"), counts),
    st.tuples(st.just("advance"), st.sampled_from([1, 10, 60, 500, 2000])),
    st.tuples(st.just("queue"), st.booleans()),
    st.tuples(st.just("land"), st.none()),
    st.tuples(st.just("suspend"), st.sampled_from(["None", "None", "ScaleUpOnly", "Hold", "Drain"])),
    st.tuples(st.just("regions"), regions),
    st.tuples(st.just("start all"), st.none()),
)
schedules = st.lists(steps, min_size=30, max_size=50)
ENDS = {"complete": "Completed", "fail": "Failed", "cancel": "Canceled"}


def play(world: World, schedule: list[tuple[str, Any]]) -> None:
    edits = {
        "scale": world.scale,
        "suspend": world.suspend,
        "regions": world.keep_regions,
        "advance": world.advance,
    }
    for kind, argument in schedule:
        match kind:
            case "pass":
                with contextlib.suppress(Crash):
                    world.pass_(argument)
            case "queue":
                world.visible = argument
            case "land":
                world.land()
            case "start all":
                for job in list(world.all_jobs()):
                    world.start(job)
            case _ if kind in edits:
                edits[kind](argument)
            case _:
                something_happens(world, kind, argument)


def something_happens(world: World, kind: str, pick: int) -> None:
    live = [job for job in world.all_jobs() if job.live]
    if live:
        job = live[pick % len(live)]
        if kind in ENDS:
            world.end(job, ENDS[kind])
        else:
            getattr(world, kind)(job)


def come_to_rest(world: World) -> None:
    """Faults end, work is there, and all back-offs have passed."""
    world.visible = True
    world.suspend("None")
    world.keep_regions(world.most)
    world.advance(4000)
    world.settle()
    world.advance(4000)
    world.settle()


@given(replicas=counts, most=st.tuples(st.integers(1, 8), counts), schedule=schedules)
def test_any_schedule_of_faults_and_edits_ends_as_desired(replicas: int, most: tuple[int, int], schedule: list[Any]):
    world = World(replicas, most)
    play(world, schedule)
    come_to_rest(world)
    assert len(world.supply()) == min(world.desired.spec.replicas, sum(most))
    assert not [job for job in world.all_jobs() if job.live and job.drained]


@given(replicas=counts, most=st.tuples(st.integers(1, 8), counts), schedule=schedules)
def test_without_control_no_running_job_is_ever_laid_off(replicas: int, most: tuple[int, int], schedule: list[Any]):
    world = World(replicas, most, control=None)
    play(world, schedule)
    come_to_rest(world)
    assert len(world.supply()) >= min(world.desired.spec.replicas, sum(most))
    assert not world.told


@given(replicas=counts, most=st.tuples(st.integers(1, 8), counts), schedule=schedules)
def test_while_the_channel_was_never_ready_it_may_be_corrected(
    replicas: int, most: tuple[int, int], schedule: list[Any]
):
    """What the API server refuses a change of ``spec.control`` by never comes about, whatever else goes wrong."""
    world = World(replicas, most)
    mute = [(kind, replace(argument, control_down=True) if kind == "pass" else argument) for kind, argument in schedule]
    for step in mute:
        play(world, [step])
        assert not world.stored.replicas
        assert not any(region.hiring or region.reserved for region in world.stored.regions)
    come_to_rest(world)
    assert len(world.supply()) == min(world.desired.spec.replicas, sum(most))


@given(
    schedule=schedules,
    policy=st.sampled_from([None, "Drain", "Cancel", "Orphan"]),
    busy=st.booleans(),
    later=schedules,
)
def test_rule_10_deletion_always_ends(schedule: list[Any], policy: str | None, busy: bool, later: list[Any]):
    world = World(5, (4, 4), deletionPolicy=policy, deletionDeadlineSeconds=600)
    play(world, schedule)
    world.deletion_time = world.now
    hired = len(list(world.all_jobs())) + len(world.in_flight)
    play(world, [step for step in later if step[0] != "scale"])
    blind = Faults(hide=frozenset({"r0", "r1"}), control_down=True) if busy else Faults()
    world.advance(661)
    if not world.finished:
        world.pass_(blind)
    assert world.finished
    assert len(list(world.all_jobs())) + len(world.in_flight) <= hired
