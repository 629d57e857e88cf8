"""Passes that do not read the object: what spares a read never lets anything be done for an object that has changed."""

import pytest

from workforce_operator.domain.errors import Conflict, Unavailable
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.recent import Recent

KEY = Key("chem", "md")


@pytest.fixture
def recent(world):
    kept = Recent()
    world.restart(recent=kept)
    world.depth.set("acct", "tasks", 10)
    return kept


def apply(world, **spec):
    return world.store.apply(KEY, world.spec(**spec))


async def once(world):
    await world.reconciler.reconcile(KEY)
    world.jobs.settle()
    world.clock.advance(5)


async def with_a_hire_to_repeat(world, recent):
    """A name is reserved, its hire was refused, and the next pass sends it again without writing first."""
    recent.changed(KEY, apply(world, replicas=1))
    world.jobs.faults.always_error("hire", Unavailable("later"))
    await once(world)
    await once(world)
    world.jobs.faults.reset()
    world.jobs.faults.always_error("hire", None)
    world.store.faults.reset()


async def test_a_new_workforce_becomes_ready_without_being_read(world, recent):
    recent.changed(KEY, apply(world))
    await once(world)
    await once(world)
    assert world.store.faults.made("get") == []
    ready = next(each for each in (await world.store.get(KEY)).status.conditions if each.type == "Ready")
    assert ready.status == "True"


async def test_a_settled_workforce_is_read_in_each_pass(world, recent):
    recent.changed(KEY, apply(world))
    for _ in range(4):
        await once(world)
    world.store.faults.reset()
    await once(world)
    await once(world)
    assert len(world.store.faults.made("get")) == 2


async def test_a_new_object_that_was_edited_meanwhile_is_read_before_anything_is_done(world, recent):
    recent.changed(KEY, apply(world, replicas=5))
    apply(world, replicas=1)
    with pytest.raises(Conflict):
        await world.reconciler.reconcile(KEY)
    assert world.jobs.live() == []
    await once(world)
    assert len(world.jobs.live()) == 1


async def test_an_edit_that_the_watch_has_lost_hires_nobody_by_the_old_spec(world, recent):
    recent.changed(KEY, apply(world, replicas=1))
    await once(world)
    apply(world, replicas=1, suspend="ScaleToZero")
    for job in world.jobs.live():
        world.jobs.set_state(job.name, "Completed")
    with pytest.raises(Conflict):
        await world.reconciler.reconcile(KEY)
    await once(world)
    assert world.jobs.live() == []


async def test_an_act_without_a_write_before_it_is_done_for_an_object_that_is_as_it_was(world, recent):
    await with_a_hire_to_repeat(world, recent)
    recent.wrote(await world.store.get(KEY), world.clock.now())
    await once(world)
    assert len(world.jobs.live()) == 1


@pytest.mark.parametrize("change", ["edited", "gone"])
async def test_an_act_without_a_write_before_it_is_not_done_for_an_object_that_has_changed(world, recent, change):
    await with_a_hire_to_repeat(world, recent)
    recent.wrote(await world.store.get(KEY), world.clock.now())
    if change == "edited":
        apply(world, replicas=1, suspend="Hold")
    else:
        world.store._objects.clear()
    with pytest.raises(Conflict):
        await world.reconciler.reconcile(KEY)
    assert world.jobs.live() == []
    assert world.jobs.faults.made("hire") == []
