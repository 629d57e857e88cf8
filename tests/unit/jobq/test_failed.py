"""Looking through dead letters."""

from datetime import UTC, datetime, timedelta

from jobq import JobQ
from jobq.backends.memory import MemoryQueue
from jobq.queue import SEARCH_VISIBILITY
from jobq.task import Task


async def test_a_slow_reader_sees_each_dead_letter_once():
    """They are hidden from others for a while only, and a reader may stand still, as a pager does."""
    clock = [datetime(2030, 1, 1, tzinfo=UTC)]
    backend = MemoryQueue(now=lambda: clock[0])
    for number in range(70):
        await backend.failed.send(Task.new({"cmd": "x"}, id=str(number)).encode())
    seen = []
    async for letter in JobQ(backend).all_failed():
        seen.append(letter.id)
        clock[0] += SEARCH_VISIBILITY / 20
    assert sorted(seen, key=int) == [str(number) for number in range(70)]
    clock[0] += timedelta(hours=1)
    assert (await backend.failed.size()).visible == 70
