"""What is particular to Service Bus: keys, locks, copies of retries, reasons, and a service that fails."""

import asyncio
from datetime import timedelta

import pytest

from jobq.backends.service_bus import ServiceBusQueue
from jobq.dead_letter import Failure, encode_dead_letter
from jobq.errors import LockLost, MaybeStored, NotStored, QueueMissing, QueueRefused, QueueUnavailable, TaskTooLarge
from jobq.queue import JobQ
from jobq.task import Task, shell_kwargs
from tests.support.service_bus import AnyToken

LONG = timedelta(minutes=5)
SDK_LEAVES_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
"""The SDK leaves the sockets of connections that were cut to the garbage collector."""


async def take(backend, visibility=LONG, seconds=30):
    async with asyncio.timeout(seconds):
        while True:
            for delivery in await backend.receive(1, visibility):
                return delivery


async def until(condition, seconds=30):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited is told by nobody
            await asyncio.sleep(0.05)


# Keys


async def test_a_task_pushed_twice_within_the_window_is_one_message(backend, counts):
    queue = JobQ(backend)
    assert await queue.push("echo a") == await queue.push("echo a")
    await queue.push("echo b")
    assert counts()["active"] == 2


async def test_the_messages_id_is_the_tasks(backend, service_bus, queue_name):
    task_id = await JobQ(backend).push("echo a")
    (message,) = service_bus.run(lambda: service_bus.broker.queue(queue_name).peek(1, 10))
    assert message.message.message_id == task_id


async def test_an_id_longer_than_the_services_limit_is_pushed_all_the_same(backend, counts):
    for number in range(2):
        await JobQ(backend).push("echo a", id="x" * 200 + str(number))
    assert counts()["active"] == 2
    assert (await JobQ(backend).peek(1))[0].task.id == "x" * 200 + "0"


async def test_a_dead_letter_is_retried_although_its_id_was_seen(backend, counts):
    """The service would drop a second message of the task's own id, and the task would be lost."""
    queue = JobQ(backend)
    task = Task.new(shell_kwargs("exit 1"))
    await queue.push_task(task)
    await backend.dead_letter(await take(backend), encode_dead_letter(task, Failure(error="exit code 1")))
    assert counts() == {"active": 0, "locked": 0, "scheduled": 0, "dead": 1}
    assert await queue.retry_failed() == [task.id]
    assert counts() == {"active": 1, "locked": 0, "scheduled": 0, "dead": 0}


# Copies of retries


async def test_a_retry_waits_in_the_service_with_its_new_text(backend, counts):
    await backend.send("two left", key="k")
    await backend.release(await take(backend), body="one left", delay=timedelta(hours=1))
    assert counts() == {"active": 0, "locked": 0, "scheduled": 1, "dead": 0}
    await backend.clear()
    assert counts()["scheduled"] == 0


async def test_a_crash_between_the_copy_and_the_completion_of_a_retry_loses_nothing_and_adds_no_copy(backend, counts):
    """The message comes back when its lock ends, fails again, and its second copy is dropped as a duplicate."""
    await backend.send("two left", key="k")
    first = await take(backend)

    async def crash(*_, **__):
        raise asyncio.CancelledError

    settle, backend._settle = backend._settle, crash
    with pytest.raises(asyncio.CancelledError):
        await backend.release(first, body="one left")
    backend._settle = settle
    assert counts()["active"] == 2
    await backend._abandon(backend.holds.owned(first.message_id, first.receipt).raw)

    found = [await take(backend), await take(backend)]
    assert sorted(delivery.body for delivery in found) == ["one left", "two left"]
    again = next(delivery for delivery in found if delivery.body == "two left")
    await backend.release(again, body="one left")
    assert counts()["active"] == 1


async def test_retries_of_equal_tasks_do_not_swallow_each_other(backend, service_bus, counts):
    """Two messages of one key, as after the window of duplicate detection: each has its own copy."""
    for key in ("a", "b"):
        await backend.send("two left", key=key)
    held = [await take(backend), await take(backend)]
    for hold in held:
        backend.holds.owned(hold.message_id, hold.receipt).raw.message_id = "same"
        await backend.release(hold, body="one left")
    assert counts()["active"] == 2


async def test_a_copy_that_cannot_be_sent_leaves_the_message_ours(backend, counts, monkeypatch):
    await backend.send("x")
    delivery = await take(backend)
    monkeypatch.setattr(backend._send, "send", refuse(NotStored("no")))
    with pytest.raises(QueueUnavailable):
        await backend.release(delivery, body="y")
    monkeypatch.setattr(backend._send, "send", refuse(MaybeStored("silence")))
    with pytest.raises(QueueUnavailable, match="no clear answer in 4 attempts"):
        await backend.release(delivery, body="y")
    await backend.complete(delivery)
    assert counts()["active"] == 0


def refuse(error):
    async def send(_):
        raise error

    return send


# Locks


async def test_a_message_stays_ours_beyond_the_services_lock_as_long_as_its_timeout_runs(backend, counts):
    await backend.send("x")
    delivery = await take(backend, timedelta(seconds=60))
    await asyncio.sleep(6)
    assert counts()["locked"] == 1
    assert list(await backend.receive(1, LONG)) == []
    await backend.complete(delivery)
    assert counts()["active"] == 0


async def test_a_holder_that_dies_frees_its_message_when_the_services_lock_ends(backend, service_bus, address):
    from jobq.opening import open_backend

    await backend.send("x")
    async with open_backend(address, service_bus.cloud(), AnyToken()) as dying:
        await take(dying, LONG)
    assert (await take(backend)).attempts == 2


async def test_a_lock_that_the_service_took_away_is_noticed_and_the_holder_told(backend, service_bus, queue_name):
    await backend.send("x")
    delivery = await take(backend)
    queue = service_bus.broker.queue(queue_name)
    service_bus.run(lambda: [queue._unlock(one, failed=True) for one in list(queue._locked.values())])
    await until(lambda: delivery.message_id not in backend.holds._holds)
    for lost in (backend.renew(delivery, LONG), backend.complete(delivery), backend.release(delivery, body="y")):
        with pytest.raises(LockLost):
            await lost
    assert (await take(backend)).body == "x"


async def test_nothing_more_than_was_asked_for_is_locked(backend, counts):
    for number in range(6):
        await backend.send(str(number))
    assert len(await backend.receive(2, LONG)) == 2
    assert counts()["locked"] == 2


# Dead letters


async def test_the_services_own_tools_show_why_a_task_was_given_up(backend, service_bus, queue_name):
    task = Task.new(shell_kwargs("exit 3"))
    await JobQ(backend).push_task(task)
    failure = Failure(error="exit code 3", exit_code=3, last_lines=["boom"], worker="w")
    await backend.dead_letter(await take(backend), encode_dead_letter(task, failure))
    (letter,) = service_bus.run(lambda: service_bus.broker.queue(queue_name).dead_letters.peek(1, 10))
    assert letter.added["DeadLetterReason"] == "exit code 3"
    assert '"lastLines": ["boom"]' in letter.added["DeadLetterErrorDescription"]
    (found,) = await JobQ(backend).failed()
    assert found.failure == failure


async def test_a_dead_letter_queue_is_not_written_to(backend):
    with pytest.raises(QueueRefused, match="cannot be sent to"):
        await backend.failed.send("x")


# Sizes, pages, limits


async def test_a_text_that_only_a_larger_tier_takes_is_refused_with_its_size(backend, counts):
    with pytest.raises(
        TaskTooLarge, match=r"task big was not stored: it is 300\d\d\d bytes as sent, above the limit of 26"
    ):
        await JobQ(backend).push("x" * 300_000, id="big")
    await JobQ(backend).push("x" * 200_000)
    assert counts()["active"] == 1


async def test_pushes_at_the_same_time_go_out_together_and_all_arrive(backend, counts):
    bodies = [f"{number} " + "x" * 5000 for number in range(120)]
    await asyncio.gather(*(backend.send(body, key=str(number)) for number, body in enumerate(bodies)))
    assert counts()["active"] == 120
    assert len(await backend.peek(32)) == 32


async def test_a_push_that_was_given_up_before_its_turn_is_not_sent(backend, counts):
    async with backend._send._turn:
        waiting = asyncio.create_task(backend.send("x"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
    await backend.send("y")
    assert counts()["active"] == 1


# Faults


async def test_a_queue_that_is_missing_says_how_to_make_it(service_bus, queue_name):
    from jobq.address import QueueAddress
    from jobq.opening import open_backend

    async with open_backend(
        QueueAddress("bus", queue_name, service_bus=True), service_bus.cloud(), AnyToken()
    ) as missing:
        with pytest.raises(QueueMissing, match="make it with duplicate detection"):
            await missing.create()
        for call in (missing.receive(1, LONG), missing.peek(1), missing.size(), missing.send("x")):
            with pytest.raises(QueueMissing, match=f"{queue_name} does not exist"):
                await call


@SDK_LEAVES_SOCKETS
async def test_links_that_were_cut_are_made_again(backend, service_bus, counts):
    await backend.send("x")
    delivery = await take(backend)
    service_bus.run(service_bus.server.drop_connections)
    await backend.complete(delivery)
    async with asyncio.timeout(60):
        while True:
            try:
                await backend.send("y", key="y")
                break
            except (NotStored, MaybeStored):
                await asyncio.sleep(0.2)
    assert (await take(backend)).body == "y"


@SDK_LEAVES_SOCKETS
async def test_a_push_whose_answer_is_lost_is_reported_as_unknown(backend, service_bus):
    await backend.send("first")

    def swallow(_wire, direction, data, pass_on):
        if direction == "IN" and b"second" in data:
            _wire.abort()
        else:
            pass_on(data)

    service_bus.server.interfere = swallow
    try:
        with pytest.raises(MaybeStored, match="task t may or may not have been stored"):
            await JobQ(backend).push("second", id="t")
    finally:
        service_bus.server.interfere = None


async def test_a_service_that_is_not_there_stores_nothing_and_is_named(service_bus, queue_name, monkeypatch):
    from jobq.address import QueueAddress
    from jobq.opening import open_backend

    monkeypatch.setattr("jobq.backends.service_bus_links._BACKOFF_SECONDS", 0.001)
    nowhere = service_bus.cloud(service_bus="127.0.0.1:9")
    async with open_backend(QueueAddress("bus", queue_name, service_bus=True), nowhere, AnyToken()) as gone:
        assert isinstance(gone, ServiceBusQueue)
        with pytest.raises(NotStored, match=f"task t was not stored: .*{queue_name} could not be reached"):
            await JobQ(gone).push("x", id="t")
        with pytest.raises(QueueUnavailable):
            await gone.receive(1, LONG)


async def test_a_connection_string_opens_a_queue(service_bus, queue_name):
    service_bus.make_queue(queue_name)
    async with JobQ.from_connection_string(queue_name, connection_string=service_bus.connection_string) as queue:
        await queue.push("echo")
        assert (await queue.size()).total == 1


async def test_the_environment_opens_a_queue(service_bus, queue_name, monkeypatch):
    service_bus.make_queue(queue_name)
    monkeypatch.setenv("JOBQ_STORAGE", "sb://bus")
    monkeypatch.setenv("JOBQ_QUEUE", queue_name)
    async with JobQ.from_environment(credential=AnyToken(), cloud=service_bus.cloud()) as queue:
        await queue.push("echo")
        assert queue.full_name == f"bus.servicebus.windows.net/{queue_name}"
    async with JobQ.from_service_bus(
        queue_name, namespace="bus", credential=AnyToken(), cloud=service_bus.cloud()
    ) as queue:
        assert (await queue.size()).total == 1
