"""The contract of every queue backend, run against each of them."""

import asyncio
from datetime import timedelta

import pytest

from jobq.dead_letter import Failure, decode_dead_letter, encode_dead_letter, encode_malformed
from jobq.errors import LockLost, TaskTooLarge
from jobq.queue import JobQ
from jobq.task import MESSAGE_LIMIT, Task, shell_kwargs

LONG = timedelta(minutes=5)
SHORT = timedelta(seconds=1)


async def taken(queue, count=1, visibility=LONG):
    return list(await queue.receive(count, visibility))


async def eventually(queue, visibility=LONG):
    """The next message, as soon as it is visible."""
    async with asyncio.timeout(30):
        while True:
            if found := await taken(queue, 1, visibility):
                return found[0]
            await asyncio.sleep(0.1)


async def test_an_empty_queue_answers_at_once_with_nothing(backend):
    assert await taken(backend, 32) == []
    assert list(await backend.peek(32)) == []
    assert (await backend.size()).total == 0


async def test_creating_an_existing_queue_changes_nothing(backend):
    await backend.send("kept")
    await backend.create()
    assert (await taken(backend))[0].body == "kept"


@pytest.mark.parametrize("body", ["plain", '{"a": "<é> & \\"q\\""}', "line\nline", "  spaces  ", "x" * MESSAGE_LIMIT])
async def test_a_text_arrives_as_it_was_sent(backend, body):
    await backend.send(body)
    (delivery,) = await taken(backend)
    assert delivery.body == body
    assert delivery.attempts == 1


async def test_a_text_above_the_limit_is_refused_before_sending(backend):
    with pytest.raises(TaskTooLarge, match=f"above the limit of {backend.limit} bytes"):
        await backend.send("x" * (backend.limit + 1))
    assert (await backend.size()).total == 0


async def test_a_page_holds_as_many_as_were_asked_for_and_no_more(backend):
    for number in range(5):
        await backend.send(str(number))
    assert len(await taken(backend, 3)) == 3
    assert len(await taken(backend, 32)) == 2


async def test_a_taken_message_is_hidden_and_comes_back_after_its_timeout(backend):
    await backend.send("x")
    await taken(backend, visibility=SHORT)
    assert await taken(backend) == []
    assert (await eventually(backend)).attempts == 2


async def test_a_delayed_message_is_not_visible_at_once(backend):
    await backend.send("x", delay=timedelta(minutes=1))
    assert await taken(backend) == []
    size = await backend.size()
    assert (size.total, size.visible, size.in_flight) == (1, 0, 1)


async def test_a_completed_message_is_gone(backend):
    await backend.send("x")
    (delivery,) = await taken(backend, visibility=SHORT)
    await backend.complete(delivery)
    assert (await backend.size()).total == 0


async def test_a_renewed_message_stays_ours_and_only_the_new_receipt_counts(backend):
    await backend.send("x")
    (delivery,) = await taken(backend, visibility=SHORT)
    renewed = await backend.renew(delivery, LONG)
    assert renewed.body == "x"
    with pytest.raises(LockLost):
        await backend.complete(delivery)
    await asyncio.sleep(1.1)
    assert await taken(backend) == []
    await backend.complete(renewed)


async def test_a_message_can_be_renewed_for_its_owner(backend):
    await backend.send("x")
    (delivery,) = await taken(backend, visibility=SHORT)
    renewed = await backend.renew_for(backend, delivery, LONG)
    await asyncio.sleep(1.1)
    assert await taken(backend) == []
    await backend.complete(renewed)
    with pytest.raises(LockLost):
        await backend.renew_for(backend, delivery, LONG)


async def test_a_message_that_somebody_else_took_is_lost_to_the_first(backend):
    await backend.send("x")
    (first,) = await taken(backend, visibility=SHORT)
    second = await eventually(backend)
    for settle in (backend.renew(first, LONG), backend.complete(first), backend.release(first)):
        with pytest.raises(LockLost):
            await settle
    await backend.complete(second)


async def test_completing_what_is_gone_is_what_was_wanted(backend):
    await backend.send("x")
    (delivery,) = await taken(backend)
    await backend.complete(delivery)
    await backend.complete(delivery)
    with pytest.raises(LockLost):
        await backend.renew(delivery, LONG)


async def test_a_released_message_is_visible_at_once_with_its_text(backend):
    await backend.send("x")
    (delivery,) = await taken(backend)
    await backend.release(delivery)
    assert (await taken(backend))[0].body == "x"


async def test_a_released_message_can_carry_another_text_and_wait(backend):
    await backend.send("x")
    (delivery,) = await taken(backend)
    await backend.release(delivery, body="y", delay=SHORT)
    assert await taken(backend) == []
    assert (await eventually(backend)).body == "y"


async def give_up(backend, body, letter):
    await backend.send(body)
    await backend.dead_letter(await eventually(backend), letter)


async def test_a_dead_letter_moves_to_a_queue_of_its_own_with_why(backend):
    task = Task.new(shell_kwargs("exit 1"))
    failure = Failure(error="exit code 1", exit_code=1, last_lines=["a", "b"], attempts=3, worker="w")
    await give_up(backend, task.encode(), encode_dead_letter(task, failure))
    await give_up(backend, "nonsense", encode_malformed("nonsense", failure))
    assert (await backend.size()).total == 0
    assert backend.failed.full_name.startswith(backend.full_name)
    assert (await backend.failed.size()).total == 2
    found = [decode_dead_letter(seen.body) for seen in await backend.failed.peek(5)]
    assert [letter.failure for letter in found] == [failure, failure]
    assert [(letter.task, letter.malformed) for letter in found] == [(task, None), (None, "nonsense")]


async def test_attempts_are_counted_over_retries_that_carry_another_text(backend):
    await backend.send("x", key="k")
    first = await eventually(backend)
    await backend.release(first)
    second = await eventually(backend)
    await backend.release(second, body="y")
    third = await eventually(backend)
    assert [delivery.attempts for delivery in (first, second, third)] == [1, 2, 3]
    assert third.body == "y"
    assert (await backend.size()).total == 1


async def test_peeking_takes_nothing(backend):
    await backend.send("x")
    assert [(seen.body, seen.attempts) for seen in await backend.peek(5)] == [("x", 0)]
    assert len(await taken(backend)) == 1


async def test_visible_and_in_flight_are_counted_apart(backend):
    for number in range(4):
        await backend.send(str(number))
    await taken(backend, 1)
    size = await backend.size()
    assert size.total == 4
    assert (size.visible, size.in_flight) in {(3, 1), (None, None)}  # where the service can tell


async def test_clear_removes_everything(backend):
    await backend.send("x")
    await backend.clear()
    assert (await backend.size()).total == 0


async def test_dead_letters_are_listed_found_retried_and_dropped(backend):
    queue = JobQ(backend)
    assert (await queue.failed(), await queue.retry_failed(), await queue.drop_failed(["none"])) == ([], [], [])
    tasks = [Task.new(shell_kwargs(f"exit {number}")) for number in range(3)]
    failure = Failure(error="exit code 1", exit_code=1)
    for task in tasks:
        await give_up(backend, task.encode(), encode_dead_letter(task, failure))
    await give_up(backend, "nonsense", encode_malformed("nonsense", failure))

    assert {letter.id for letter in await queue.failed()} == {*(task.id for task in tasks), None}
    found = await queue.find_failed(tasks[1].id)
    assert found is not None
    assert found.failure is not None
    assert found.failure.exit_code == 1
    assert await queue.find_failed("unknown") is None

    assert await queue.retry_failed([tasks[0].id], num_retries=2) == [tasks[0].id]
    (looked,) = await queue.peek(32)
    assert looked.task is not None
    assert (looked.task.id, looked.task.num_retries, "failure" in looked.text) == (tasks[0].id, 2, False)
    assert await queue.drop_failed([tasks[1].id, "unknown"]) == [tasks[1].id]
    assert await queue.retry_failed() == [tasks[2].id]
    assert [letter.malformed for letter in await queue.failed()] == ["nonsense"]
    assert await queue.drop_failed() == [None]
    assert await queue.failed() == []
