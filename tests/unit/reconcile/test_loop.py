"""Passes are made one at a time per key, supervised, counted and scheduled."""

import asyncio
import itertools

import pytest
from structlog.testing import capture_logs

from workforce_operator.api.status import WorkforceStatus
from workforce_operator.domain.errors import Conflict, Denied, Fenced, Throttled, Unavailable
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.loop import Loop, relist
from workforce_operator.reconcile.reconciler import Verdict
from workforce_operator.reconcile.telemetry import Pulse
from workforce_operator.reconcile.work_queue import WorkQueue

KEY = Key("chem", "md")


class Script:
    """Answers of successive passes, with the virtual times at which they were made."""

    def __init__(self, queue, telemetry, answers, **options):
        self.queue, self.answers, self.times = queue, list(answers), []
        self.loop = Loop(queue, self.reconcile, telemetry=telemetry, pulse=Pulse(), **options)

    async def reconcile(self, key):
        self.times.append(round(asyncio.get_running_loop().time(), 1))
        answer = self.answers.pop(0)
        if not self.answers:
            self.queue.close()
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return await answer()
        return answer


@pytest.fixture
def play(world):
    async def run(*answers, **options):
        queue = WorkQueue(jitter=0.0)
        script = Script(queue, world.telemetry, answers, workers=2, **options)
        queue.add(KEY)
        await script.loop.run()
        return script.times

    return run


@pytest.mark.looptime
async def test_a_pass_is_followed_by_the_next_one_after_its_verdicts_delay(play, world):
    first, second = await play(Verdict(delay=30), Verdict(gone=True))
    assert first == 0
    assert 30 <= second <= 33
    assert world.telemetry.passes == {"ok": 1, "gone": 1}


@pytest.mark.looptime
async def test_a_failing_pass_backs_off_and_starts_over_after_a_success(play, world):
    error = Unavailable("no answer")
    times = await play(error, error, error, Verdict(delay=0), error, Verdict(gone=True))
    assert [b - a for a, b in itertools.pairwise(times)] == [1, 2, 4, 0, 1]
    assert world.telemetry.passes["unavailable"] == 4


@pytest.mark.looptime
async def test_a_conflict_is_tried_again_at_once(play, world):
    assert await play(Conflict("edited"), Verdict(gone=True)) == [0, 0]
    assert world.telemetry.passes["conflict"] == 1


@pytest.mark.looptime
async def test_a_pause_that_was_asked_for_is_kept(play):
    assert await play(Throttled("later", retry_after=40), Verdict(gone=True)) == [0, 40]


@pytest.mark.looptime
async def test_failed_actions_back_off_but_never_less_than_the_verdict_says(play):
    times = await play(Verdict(delay=5, failed=True), Verdict(delay=5, failed=True), Verdict(gone=True))
    assert times == [0, 5, 10]


@pytest.mark.looptime
async def test_a_pass_that_takes_too_long_is_given_up(play, world):
    times = await play(asyncio.Event().wait, Verdict(gone=True), pass_seconds=10)
    assert times == [0, 11]
    assert world.telemetry.passes["timeout"] == 1


@pytest.mark.looptime
async def test_a_bug_in_one_pass_does_not_end_the_loop(play, world):
    with capture_logs() as said:
        assert await play(KeyError("oops"), Denied("no", scope="x"), Verdict(gone=True)) == [0, 1, 3]
    assert [line["log_level"] for line in said][:1] == ["error"]
    assert world.telemetry.passes == {"bug": 1, "denied": 1, "gone": 1}


async def test_a_process_that_lost_the_lease_makes_no_more_passes(play, world):
    with pytest.raises(Fenced):
        await play(Fenced("lost"), Verdict())
    assert world.telemetry.passes == {"fenced": 1}


async def test_closing_the_queue_lets_the_pass_under_way_finish(world):
    queue, finished = WorkQueue(), []

    async def reconcile(key):
        queue.close()
        await asyncio.sleep(0)
        finished.append(key)
        return Verdict(delay=5)

    queue.add(KEY)
    await Loop(queue, reconcile, telemetry=world.telemetry, pulse=Pulse(), workers=1).run()
    assert finished == [KEY]


@pytest.mark.looptime
async def test_every_workforce_is_woken_now_and_then(world, looptime):
    world.store.apply(KEY, world.spec())
    queue = WorkQueue()
    task = asyncio.create_task(relist(world.store, queue, seconds=300))
    for _ in range(3):
        key = await queue.get()
        queue.done(key)
    assert looptime == 600
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.looptime
async def test_an_unreachable_api_server_does_not_end_the_listing(world, looptime):
    world.store.apply(KEY, world.spec())
    world.store.faults.next_error("list_keys", Unavailable("down"))
    queue = WorkQueue()
    task = asyncio.create_task(relist(world.store, queue, seconds=300))
    assert await queue.get() == KEY
    assert looptime == 300
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.looptime
async def test_what_a_pass_says_of_its_workforce_is_told_on_until_it_is_gone(play, world):
    status = WorkforceStatus(desired_replicas=3)
    await play(Verdict(delay=1, status=status), Verdict(delay=1, status=status))
    assert world.telemetry.statuses == {KEY: status}
    await play(Verdict(gone=True))
    assert world.telemetry.statuses == {KEY: None}
