"""One list of jobs for all Workforces of a workspace, where that takes fewer pages than their own."""

import asyncio
from dataclasses import dataclass, replace

import pytest

from tests.contract.operator_ports.conftest import body_for, name_of, place
from workforce_operator.adapters.memory import MemoryWorkerJobs
from workforce_operator.domain.errors import Throttled
from workforce_operator.reconcile.shared import SharedJobs

PLACES = [place(name=name) for name in ("one", "two", "three")]
FIRST = frozenset({0})


class Slow(MemoryWorkerJobs):
    """Shows in a list of all what there was when it was asked for, when told to."""

    def __init__(self):
        super().__init__()
        self.go = asyncio.Event()
        self.go.set()

    async def list_installation(self, place, *, most_pages):
        answer = await super().list_installation(place, most_pages=most_pages)
        await self.go.wait()
        return answer


@dataclass
class Parts:
    source: Slow
    shared: SharedJobs
    now: float = 0.0

    async def hire(self, where, sequence=0):
        await self.source.hire(where, name_of(where, sequence), sequence, body_for(where))

    async def names(self, where, cohorts=FIRST):
        return [job.name for job in await self.shared.list_cohorts(where, cohorts)]

    @property
    def lists(self):
        """How often each kind of list was asked for: of cohorts, of all."""
        return tuple(len(self.source.faults.made(kind)) for kind in ("list_cohorts", "list_installation"))


@pytest.fixture
async def parts():
    source = Slow()
    parts = Parts(source, SharedJobs(source, seconds=2, clock=lambda: parts.now))
    for where in PLACES:
        await parts.hire(where)
    yield parts
    await parts.shared.close()


async def test_a_workforce_alone_in_its_workspace_lists_its_cohort(parts):
    assert await parts.names(PLACES[0]) == [name_of(PLACES[0], 0)]
    elsewhere = replace(PLACES[1], coordinates=place(workspace="ws-other").coordinates)
    await parts.names(elsewhere)
    assert parts.lists == (2, 0)


async def test_workforces_that_ask_at_about_the_same_time_share_one_list(parts):
    for where in PLACES:
        assert await parts.names(where) == [name_of(where, 0)]
    assert parts.lists == (1, 1)


async def test_workforces_whose_names_are_not_known_share_one_list_too(parts):
    await parts.hire(PLACES[1], 300)
    owned = [await parts.shared.list_owned(where) for where in PLACES]
    assert [[job.sequence for job in found] for found in owned] == [[0], [0, 300], [0]]
    assert (len(parts.source.faults.made("list_owned")), parts.lists) == (1, (0, 1))


async def test_those_that_ask_one_after_the_other_list_their_own(parts):
    for where in PLACES:
        await parts.names(where)
        parts.now += 2
    assert parts.lists == (3, 0)


async def test_a_workforce_with_many_cohorts_has_its_jobs_from_one_list(parts):
    await parts.hire(PLACES[0], 300)
    await parts.hire(PLACES[0], 600)
    found = await parts.names(PLACES[0], frozenset({0, 2}))
    assert found == [name_of(PLACES[0], 0), name_of(PLACES[0], 600)]
    assert parts.lists == (0, 1)


async def test_a_list_of_all_that_is_too_long_is_given_up_until_more_ask_than_it_has_pages(parts):
    parts.source.page_size = 1
    for asking, lists in ((2, (2, 1)), (2, (4, 1)), (3, (7, 2)), (3, (10, 2)), (4, (13, 3))):
        for where in (*PLACES, place(name="four"))[:asking]:
            assert await parts.names(where) == [name_of(where, 0)][: where in PLACES]
        assert parts.lists == lists
        parts.now += 2
    assert [call.arguments[1] for call in parts.source.faults.made("list_installation")] == [1, 2, 3]


async def test_a_workforce_is_never_answered_by_a_list_from_before_its_own_write(parts):
    writes = [
        lambda where: parts.shared.hire(where, name_of(where, 1), 1, body_for(where)),
        lambda where: parts.shared.cancel(where, name_of(where, 0)),
        lambda where: parts.shared.resume(where, name_of(where, 0)),
    ]
    await parts.names(PLACES[0])
    for number, write in enumerate(writes):
        parts.source.go.clear()
        others = asyncio.create_task(parts.names(PLACES[1]))
        await asyncio.sleep(0)
        await write(PLACES[2])
        own = asyncio.create_task(parts.names(PLACES[2]))
        await asyncio.sleep(0)
        parts.source.go.set()
        await others
        assert name_of(PLACES[2], 1) in await own
        assert parts.lists[1] == 2 * (number + 1)


async def test_a_workforce_is_never_answered_twice_by_the_same_list(parts):
    for where in PLACES[:2]:
        await parts.names(where)
    parts.source.set_state(name_of(PLACES[1], 0), "Completed")
    (job,) = await parts.shared.list_cohorts(PLACES[1], FIRST)
    assert job.state == "Completed"


async def test_a_list_that_fails_fails_for_all_who_wait_for_it(parts):
    await parts.names(PLACES[0])
    parts.source.faults.next_error("list_installation", Throttled("slower", retry_after=9))
    answers = await asyncio.gather(*(parts.names(where) for where in PLACES[1:]), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Throttled, Throttled]
    assert await parts.names(PLACES[1]) == [name_of(PLACES[1], 0)]
