"""Whose jobs a Workforce's are: an installation's own, another's by `adoptFrom`, and nobody else's ever."""

import pytest

from jobq.control import Operation
from workforce_operator.adapters.memory import MemoryWorkforceStore
from workforce_operator.domain.errors import SpecError
from workforce_operator.domain.observed import Phase
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.wanted import wanted

KEY = Key("chem", "md")
OURS, OTHER = "k3v9x2ab", "otherone"


class Clusters:
    """Two clusters in turn, each with an object of the same name, over one Azure."""

    def __init__(self, world):
        self.world = world
        world.depth.set("acct", "tasks", 10)

    def move(self, installation):
        """The present cluster is left; a new one has an operator of its own and no objects."""
        self.world.store = MemoryWorkforceStore(self.world.clock)
        self.world.restart(installation_id=installation)

    async def settle(self, passes=8, **spec):
        if spec:
            self.world.store.apply(KEY, self.world.spec(**spec))
        for _ in range(passes):
            if (await self.world.reconciler.reconcile(KEY)).gone:
                return
            self.world.jobs.settle()
            self.world.clock.advance(5)

    async def status(self):
        return (await self.world.store.get(KEY)).status

    async def accepted(self):
        (found,) = [each for each in (await self.status()).conditions if each.type == "SpecAccepted"]
        return found.status, found.reason, found.message

    def names(self):
        return {job.name for job in self.world.jobs.live() if job.phase is not Phase.ENDING}


@pytest.fixture
def clusters(world):
    return Clusters(world)


async def test_another_installation_hires_its_own_jobs_and_never_touches_the_others(clusters):
    await clusters.settle(replicas=2)
    theirs = clusters.names()
    clusters.move(OTHER)
    await clusters.settle(replicas=3)
    assert len(clusters.names() - theirs) == 3
    await clusters.settle(replicas=0, deletionPolicy="Cancel")
    clusters.world.store.delete(KEY)
    await clusters.settle()
    assert clusters.names() == theirs


async def test_adopt_from_takes_the_living_jobs_over_and_hires_only_what_is_missing(clusters):
    await clusters.settle(replicas=2)
    theirs = clusters.names()
    clusters.move(OTHER)
    await clusters.settle(replicas=2, adoptFrom=OURS)
    assert clusters.names() == theirs
    assert (await clusters.status()).installation_id == OURS
    await clusters.settle(replicas=3, adoptFrom=OURS)
    (hired,) = clusters.names() - theirs
    assert hired.rpartition("-")[0] == min(theirs).rpartition("-")[0], "one family of names: none is given out twice"


async def test_adopted_workers_are_told_in_the_queues_where_they_listen(clusters):
    await clusters.settle(replicas=2)
    clusters.move(OTHER)
    await clusters.settle(replicas=2, adoptFrom=OURS)
    clusters.world.clock.advance(86_400)
    await clusters.settle(replicas=1, adoptFrom=OURS)
    sends = [call for call in clusters.world.control.faults.calls if call.method == "send"]
    assert {call.arguments[1] for call in sends} == {OURS}
    assert {sent.order.operation for sent in clusters.world.control.orders} == {Operation.GRACEFUL_DOWNSCALE}
    assert f"workforce-{OTHER}-nodes" not in clusters.world.control.entities["bus"]


async def test_a_status_lost_after_adoption_hires_nobody_twice(clusters):
    await clusters.settle(replicas=2)
    clusters.move(OTHER)
    await clusters.settle(replicas=2, adoptFrom=OURS)
    theirs = clusters.names()
    clusters.world.store.lose_status(KEY)
    await clusters.settle(replicas=2, adoptFrom=OURS)
    assert clusters.names() == theirs


async def test_two_operators_that_act_for_one_installation_hire_under_the_same_names(clusters):
    """The old cluster was not lost after all, and neither operator sees yet what the other one hires."""
    await clusters.settle(replicas=2)
    old, first = clusters.world.reconciler, clusters.world.store
    clusters.move(OTHER)
    await clusters.settle(replicas=2, adoptFrom=OURS)
    clusters.world.jobs.freeze_lists()
    for store, more in ((first, {}), (clusters.world.store, {"adoptFrom": OURS})):
        store.apply(KEY, clusters.world.spec(replicas=4, **more))
    await old.reconcile(KEY)
    await clusters.settle(1)
    assert len([call for call in clusters.world.jobs.faults.calls if call.method == "hire"]) == 6
    assert len(clusters.names()) == 4
    clusters.world.jobs.thaw_lists()
    for _ in range(8):
        await old.reconcile(KEY)
        await clusters.settle(1)
    assert len(clusters.names()) == 4


async def test_adopt_from_cannot_be_set_on_a_workforce_that_has_jobs_of_its_own(clusters):
    await clusters.settle(replicas=2)
    own = clusters.names()
    clusters.world.jobs.faults.reset()
    await clusters.settle(replicas=5, adoptFrom=OTHER)
    assert clusters.world.jobs.faults.calls == []
    status, reason, message = await clusters.accepted()
    assert (status, reason) == ("False", "OtherInstallation")
    assert "Remove spec.adoptFrom" in message
    assert clusters.names() == own


async def test_without_adopt_from_a_status_of_another_installation_says_how_to_take_its_jobs_over(clusters):
    await clusters.settle(replicas=2)
    clusters.world.restart(installation_id=OTHER)
    await clusters.settle(replicas=5)
    _, reason, message = await clusters.accepted()
    assert reason == "OtherInstallation"
    assert f"Set spec.adoptFrom to {OURS}" in message
    await clusters.settle(replicas=5, adoptFrom=OURS)
    assert (await clusters.accepted())[:2] == ("True", "Valid")
    assert len(clusters.names()) == 5


async def test_taking_adopt_from_away_touches_nobody(clusters):
    await clusters.settle(replicas=2)
    clusters.move(OTHER)
    await clusters.settle(replicas=2, adoptFrom=OURS)
    theirs = clusters.names()
    clusters.world.jobs.faults.reset()
    await clusters.settle(replicas=0)
    assert (await clusters.accepted())[1] == "OtherInstallation"
    assert clusters.world.jobs.faults.calls == []
    assert clusters.names() == theirs


async def test_a_deleted_workforce_whose_jobs_are_anothers_goes_without_them_whatever_its_policy(clusters):
    await clusters.settle(replicas=2, deletionPolicy="Cancel", deletionDeadlineSeconds=60)
    jobs = clusters.names()
    await clusters.settle(replicas=2, deletionPolicy="Cancel", deletionDeadlineSeconds=60, adoptFrom=OTHER)
    clusters.world.store.delete(KEY)
    await clusters.settle(3)
    stored = await clusters.world.store.get(KEY)
    with pytest.raises(SpecError, match="With deletionPolicy Orphan the object goes at once"):
        wanted(stored, OURS, stored.deletion_time, definition_going=False)
    clusters.world.clock.advance(61)
    await clusters.settle()
    assert await clusters.world.store.get(KEY) is None
    assert clusters.names() == jobs


async def test_an_adopting_workforce_is_deleted_with_the_jobs_that_it_took_over(clusters):
    await clusters.settle(replicas=2)
    clusters.move(OTHER)
    await clusters.settle(replicas=2, adoptFrom=OURS, deletionPolicy="Cancel")
    clusters.world.store.delete(KEY)
    await clusters.settle()
    assert await clusters.world.store.get(KEY) is None
    assert clusters.names() == set()
