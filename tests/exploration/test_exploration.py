"""A small part of ``make explore`` in every test run: some seeds, every mutant, and the explorer itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pytest
import structlog

from tests.exploration.explore import explore, shrink
from tests.exploration.mutants import MUTANTS
from tests.exploration.run import play, silence
from tests.exploration.script import CALL_FAULTS, HAPPENINGS, apply_edit, draw
from tests.exploration.specs import EDITS, VARIANTS, variants
from tests.exploration.virtual import VirtualLoop, WallClock, run
from workforce_operator.domain.placement.sites import Why
from workforce_operator.domain.validate import read_spec

RUNS = 64
DECISIONS = {
    *(f"decided {kind}" for kind in ("Hire", "Resume", "SendOrder", "SendToAny", "CancelPending", "Cancel")),
    *(f"drain {kind}" for kind in ("Finish Sent", "Finish Recalled", "Checkpoint Sent")),
    *(f"share {why}" for why in (Why.FOUND, Why.GROWTH, Why.TAKEN_BACK, Why.SHRINK, Why.MIN_REPLICAS)),
    "circuit open",
}
"""What the operator has to be led to, for the rules about it to mean something. Other changes of shares are rarer."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    silence()
    yield
    structlog.reset_defaults()


def test_no_rule_is_broken_whatever_goes_wrong_and_everything_does():
    found = explore(0, RUNS)
    assert found.failed == {}
    assert found.runs == RUNS
    assert {*CALL_FAULTS, *HAPPENINGS, *EDITS, *VARIANTS, *DECISIONS} - found.hit.keys() == set()


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mistake_breaks_a_rule(name: str):
    """The seed that caught it first is tried first; when scripts have changed, others are."""
    mutant = MUTANTS[name]
    with mutant.installed():
        assert any(play(draw(seed)).broken for seed in chain([mutant.seed], range(300)))


def test_a_run_is_the_same_each_time():
    first, again = play(draw(7), trace=True), play(draw(7), trace=True)
    assert first.trace == again.trace
    assert len(first.trace) > 50


def test_scripts_reach_every_kind_of_fault_and_event():
    scripts = [draw(seed) for seed in range(1000)]
    drawn = {fault for script in scripts for fault, _ in script.faults.values()}
    drawn |= {event.kind for script in scripts for event in script.events}
    assert drawn == {*CALL_FAULTS, *HAPPENINGS, "edit"}


def test_a_few_dozen_scripts_in_a_row_have_every_variant_and_draw_every_fault_and_happening():
    scripts = [draw(seed) for seed in range(500, 500 + len(HAPPENINGS))]
    assert {fault for script in scripts for fault, _ in script.faults.values()} == set(CALL_FAULTS)
    assert {event.kind for script in scripts for event in script.events} == {*HAPPENINGS, "edit"}
    assert {name for script in scripts for spec in script.specs.values() for name in variants(spec)} >= set(VARIANTS)


def test_every_spec_that_is_drawn_or_edited_is_one_that_the_operator_accepts():
    for seed in range(300):
        script = draw(seed)
        for key, spec in script.specs.items():
            read_spec(key.namespace, key.name, spec)
            for kind in EDITS:
                read_spec(key.namespace, key.name, apply_edit(spec, kind, seed))


def test_a_failing_run_is_shrunk_to_what_it_needs():
    mutant = MUTANTS["the finalizer goes early"]
    with mutant.installed():
        seed = next(seed for seed in chain([mutant.seed], range(300)) if play(draw(seed)).broken)
        whole = draw(seed)
        smaller, result = shrink(whole)
    assert result.broken is not None
    assert result.broken.rule == "rule 10"
    assert len(smaller.faults) <= len(whole.faults)
    assert len(smaller.events) <= 2


def test_hours_pass_at_once_on_the_virtual_clock():
    loop, seen = VirtualLoop(), []

    async def main() -> None:
        import asyncio

        clock = WallClock(loop)
        before = clock.now()
        await asyncio.sleep(7200)
        seen.append((clock.now() - before).total_seconds())

    assert run(loop, main())
    loop.finish()
    assert seen == [pytest.approx(7200)]
