"""Pacing and fairness of ARM requests, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from workforce_operator.adapters.arm.buckets import WRITE_LIMITS, Limits
from workforce_operator.adapters.arm.governor import Governor, Kind
from workforce_operator.domain.errors import Throttled

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]
SLOW = {Kind.READ: Limits(3, 1), Kind.WRITE: Limits(3, 1)}
"""Two at once: one token is kept."""


def governor(**options) -> Governor:
    options = {"limits": SLOW, **options}
    return Governor(clock=asyncio.get_running_loop().time, **options)


async def run(it: Governor, turn: str, log: list[tuple[str, float]], *, seconds: float = 0, kind: Kind = Kind.WRITE):
    async with it.slot("sub", kind, turn=turn):
        log.append((turn, asyncio.get_running_loop().time()))
        await asyncio.sleep(seconds)


async def test_requests_beyond_the_burst_follow_at_the_pace_of_the_refill():
    it, log = governor(), []
    await asyncio.gather(*(run(it, "a", log) for _ in range(5)))
    assert [round(at, 3) for _, at in log] == [0, 0, 1, 2, 3]


async def test_a_small_workforce_does_not_wait_behind_a_large_one():
    it, log = governor(), []
    await asyncio.gather(*(run(it, "large", log) for _ in range(20)), *(run(it, "small", log) for _ in range(2)))
    assert [at for turn, at in log if turn == "small"][-1] <= 5


async def test_reads_and_writes_have_budgets_of_their_own():
    it, log = governor(), []
    await asyncio.gather(
        *(run(it, "a", log, kind=Kind.WRITE) for _ in range(3)), *(run(it, "a", log, kind=Kind.READ) for _ in range(2))
    )
    assert [at for _, at in log].count(0) == 4


async def test_no_more_than_the_bound_are_in_flight():
    it, log = governor(concurrency=2, limits={Kind.READ: Limits(9, 9), Kind.WRITE: Limits(9, 9)}), []
    await asyncio.gather(*(run(it, "a", log, seconds=10) for _ in range(4)))
    assert [round(at) for _, at in log] == [0, 0, 10, 10]


async def test_a_short_pause_that_the_service_asks_for_is_waited_out():
    it, log = governor(), []
    it.report("sub", Kind.WRITE, remaining=None, retry_after=3)
    await run(it, "a", log)
    assert log == [("a", 3)]


async def test_a_long_pause_is_told_to_everybody_who_waits_and_to_who_comes():
    it, log = governor(), []
    waiting = [asyncio.ensure_future(run(it, "a", log)) for _ in range(4)]
    await asyncio.sleep(0.5)
    it.report("sub", Kind.WRITE, remaining=None, retry_after=120)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), type(None), Throttled, Throttled]
    assert {str(result) for result in results[2:]} == {"Azure Resource Manager asks for a pause"}
    with pytest.raises(Throttled) as caught:
        await run(it, "b", log)
    assert 119 < caught.value.retry_after <= 120
    await run(it, "b", log, kind=Kind.READ)


async def test_the_service_s_remaining_number_slows_us_down():
    it, log = governor(), []
    it.report("sub", Kind.WRITE, remaining=0, retry_after=None)
    await run(it, "a", log)
    assert log == [("a", 1)]


async def test_who_gives_up_waiting_takes_no_token_and_no_place():
    it, log = governor(), []
    await asyncio.gather(*(run(it, "a", log) for _ in range(2)))
    given_up = asyncio.ensure_future(run(it, "a", log))
    await asyncio.sleep(0.1)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    await run(it, "b", log)
    assert log[-1] == ("b", 1)


async def test_a_place_is_given_back_when_the_request_fails():
    it = governor(concurrency=1)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            async with it.slot("sub", Kind.READ, turn="a"):
                raise ValueError("broken")


async def serve(it: Governor, place: str, log: list[tuple[str, float]]):
    async with it.slot("sub", Kind.WRITE, turn="a", place=place):
        log.append((place, asyncio.get_running_loop().time()))


async def test_places_share_a_bucket_until_their_answers_say_that_different_regions_serve_them():
    it, log = governor(), []
    await asyncio.gather(*(serve(it, place, log) for place in ("one", "two", "three")))
    assert [at for _, at in log] == [0, 0, 1]
    it.answered("one", "westus2")
    it.answered("two", "uksouth")
    log.clear()
    await asyncio.gather(*(serve(it, place, log) for place in ("one", "two") * 2))
    assert {at for _, at in log} == {1}


async def test_places_that_one_region_serves_share_its_bucket_and_its_pauses():
    it, log = governor(), []
    for place in ("one", "two"):
        it.answered(place, "westus2")
    it.report("sub", Kind.WRITE, remaining=None, retry_after=4, place="two")
    await asyncio.gather(serve(it, "one", log), serve(it, "elsewhere", log))
    assert dict(log) == {"one": 4, "elsewhere": 0}


async def test_all_regions_together_keep_to_the_subscription_s_own_limit():
    it, log = governor(), []
    places = [f"place-{number}" for number in range(30)]
    for place in places:
        it.answered(place, place)
    await asyncio.gather(*(serve(it, place, log) for place in places * 2))
    # 15 times three at once, less half a second's refill that is kept; then 15 a second.
    assert sum(at == 0 for _, at in log) == 37
    assert max(at for _, at in log) < 2


async def test_an_answer_that_was_long_on_its_way_takes_away_nothing_that_came_back_since():
    it, log = governor(), []

    async def hire():
        async with it.slot("sub", Kind.WRITE, turn="a") as sent:
            log.append(("a", sent))
            await asyncio.sleep(2)
        it.report("sub", Kind.WRITE, remaining=0, retry_after=None, sent=sent)

    await asyncio.gather(hire(), hire())
    await asyncio.gather(*(run(it, "a", log) for _ in range(2)))
    assert [round(at, 3) for _, at in log] == [0, 0, 2, 2]


async def test_a_burst_of_writes_is_spread_over_two_seconds_so_that_its_connections_are_made_in_time():
    it, log = governor(limits={Kind.WRITE: WRITE_LIMITS}), []
    await asyncio.gather(*(run(it, "a", log, seconds=1) for _ in range(220)))
    times = [at for _, at in log]
    assert max(sum(start <= at < start + 0.995 for at in times) for start in times) == 100
    # 200 and 10 for each second, less the five that are kept.
    assert times[-1] == pytest.approx(2.5, abs=0.02)
