"""The contract of ``ports.azure.ControlChannel``: the fake, and azure-servicebus over real AMQP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
import structlog

from jobq.control import DrainFinished, Exit, Mode, Operation, Order, State, encode_report
from jobq.names import node_queue_name, reports_queue_name
from tests.contract.operator_ports.bus import (
    INSTALLATION,
    NODES,
    REPORTS,
    SECONDS,
    ControlBench,
    RealBus,
    azure_control,
    control,
    memory_control,
    real_bus,
)
from tests.contract.operator_ports.conftest import real_arm
from workforce_operator.api.spec import ControlDialect
from workforce_operator.domain.errors import Fenced, Missing, Unavailable

NOW = datetime(2026, 1, 2, tzinfo=UTC)
JOB = "md-uksouth-0123456789-7"
NAMES = (JOB, "other", "first", "second", "ours", "theirs", "ended")
ORDER = Order(
    operation=Operation.GRACEFUL_DOWNSCALE,
    id="w1-0123456789-7",
    revision=4,
    mode=Mode.FINISH,
    deadline=NOW,
    workforce="chem/md",
    reason="ScaleDown",
)
TOPICS = frozenset({"chem-md-uksouth", "chem-md-west"})


def state(job: str = JOB, *, revision: int = 0, accepting: bool = True, seconds: float = 0, busy: int = 1) -> State:
    return State(
        job=job,
        time=NOW + timedelta(seconds=seconds),
        busy_slots=busy,
        completed=3,
        failed=0,
        accepting=accepting,
        revision=revision,
    )


@pytest_asyncio.fixture(params=["memory", "azure"])
async def bench(request, tmp_path, monkeypatch) -> AsyncIterator[ControlBench]:
    if request.param == "memory":
        yield memory_control()
        return
    async with real_arm(tmp_path, monkeypatch) as real, azure_control(real) as it:
        yield it


@pytest_asyncio.fixture
async def bus(tmp_path) -> AsyncIterator[RealBus]:
    async with real_bus(tmp_path) as real:
        yield real


async def test_missing_topics_and_queues_are_made(bench: ControlBench):
    await bench.channel.ensure(control(), TOPICS, INSTALLATION)
    assert bench.entities() == TOPICS | {NODES, REPORTS}


async def test_making_them_again_and_adding_a_topic_is_no_error(bench: ControlBench):
    await bench.channel.ensure(control(), TOPICS, INSTALLATION)
    await bench.channel.ensure(control(), TOPICS | {"third"}, INSTALLATION)
    assert "third" in bench.entities()


async def test_a_namespace_that_is_not_there_is_missing(bench: ControlBench):
    with pytest.raises(Missing):
        await bench.channel.ensure(control("nowhere"), TOPICS, INSTALLATION)
    with pytest.raises(Missing):
        await bench.channel.send(control("nowhere"), INSTALLATION, JOB, ORDER, "id-0")


async def test_an_order_reaches_the_job_s_session_and_only_it(bench: ControlBench):
    await bench.channel.ensure(control(), TOPICS, INSTALLATION)
    await bench.channel.send(control(), INSTALLATION, "other-job", ORDER, "other-0")
    await bench.channel.send(control(), INSTALLATION, JOB, ORDER, "id-0")
    assert await bench.received(JOB, 1) == [(ORDER, "id-0")]


async def test_a_message_id_that_was_sent_already_is_swallowed_and_the_next_one_is_not(bench: ControlBench):
    await bench.channel.ensure(control(), TOPICS, INSTALLATION)
    for message_id in ("id-0", "id-0", "id-1"):
        await bench.channel.send(control(), INSTALLATION, JOB, ORDER, message_id)
    assert [message_id for _, message_id in await bench.received(JOB, 2)] == ["id-0", "id-1"]


async def test_orders_sent_at_once_all_arrive(bench: ControlBench):
    await bench.channel.ensure(control(), TOPICS, INSTALLATION)
    sends = (bench.channel.send(control(), INSTALLATION, JOB, ORDER, f"id-{number}") for number in range(20))
    await asyncio.gather(*sends)
    assert len(await bench.received(JOB, 20)) == 20


async def test_an_order_into_a_queue_that_is_not_there_is_missing(bench: ControlBench):
    with pytest.raises(Missing):
        await bench.channel.send(control(), INSTALLATION, JOB, ORDER, "id-0")


async def test_without_the_lease_nothing_is_made_and_nothing_sent(bench: ControlBench):
    bench.guard.held = False
    with pytest.raises(Fenced):
        await bench.channel.ensure(control(), TOPICS, INSTALLATION)
    assert bench.entities() == set()
    bench.guard.held = True
    await bench.channel.ensure(control(), TOPICS, INSTALLATION)
    bench.guard.held = False
    with pytest.raises(Fenced):
        await bench.channel.send(control(), INSTALLATION, JOB, ORDER, "id-0")
    bench.guard.held = True
    await bench.channel.send(control(), INSTALLATION, JOB, ORDER, "id-1")
    assert [message_id for _, message_id in await bench.received(JOB, 1)] == ["id-1"]


async def test_before_any_report_there_is_nothing_and_it_does_not_wait(bench: ControlBench):
    assert bench.channel.reports(control(), NAMES) == {}
    assert not bench.channel.recall_confirmed(control(), JOB, 0)


async def test_the_latest_state_of_each_job_is_kept(bench: ControlBench):
    await bench.channel.ensure(control(), TOPICS, INSTALLATION)
    for report in (state(seconds=1, busy=2), state(seconds=0, busy=9), state("other", seconds=5)):
        await bench.report(report)
    await bench.until(lambda: "other" in bench.channel.reports(control(), NAMES))
    assert bench.channel.reports(control(), NAMES)[JOB].busy_slots == 2
    assert list(bench.channel.reports(control(), ["other", "nobody"])) == ["other"]


async def test_a_recall_is_confirmed_by_a_report_of_its_revision_that_accepts_tasks(bench: ControlBench):
    await bench.channel.ensure(control(), TOPICS, INSTALLATION)
    await bench.report(state(revision=7, accepting=False))
    await bench.until(lambda: JOB in bench.channel.reports(control(), NAMES))
    assert not bench.channel.recall_confirmed(control(), JOB, 7)
    await bench.report(state(revision=8, seconds=1))
    await bench.until(lambda: bench.channel.recall_confirmed(control(), JOB, 7))
    assert bench.channel.recall_confirmed(control(), JOB, 8)
    assert not bench.channel.recall_confirmed(control(), JOB, 9)


async def test_the_last_words_of_a_worker_are_kept_until_its_job_speaks_again(bench: ControlBench):
    await bench.channel.ensure(control(), TOPICS, INSTALLATION)
    assert bench.channel.last_words(control(), NAMES) == {}
    words = Exit(job=JOB, time=NOW, why="crashed", exit_code=3, error=["boom"])
    await bench.report(words)
    await bench.until(lambda: bench.channel.last_words(control(), NAMES) == {JOB: words})
    await bench.report(state(seconds=1))
    await bench.until(lambda: bench.channel.last_words(control(), NAMES) == {})


async def test_the_end_of_a_drain_is_given_once(bench: ControlBench):
    await bench.channel.ensure(control(), TOPICS, INSTALLATION)
    finished = DrainFinished(job=JOB, time=NOW, drain_id="w1", returned=1, lost_seconds=7.5)
    given: list[DrainFinished] = []
    await bench.report(finished)
    await bench.until(lambda: given.extend(bench.channel.take_finished(control())) or given)
    assert given == [finished]
    assert bench.channel.take_finished(control()) == ()


# What only the real adapter can show.


async def test_the_ancestors_workers_get_a_topic_and_nothing_else_and_orders_for_whoever_comes(bus: RealBus):
    old = control().model_copy(update={"dialect": ControlDialect.JOBQ})
    await bus.channel.ensure(old, TOPICS, INSTALLATION)
    assert bus.management.broker.queues == []
    order = Order(operation=Operation.DO_NOT_ACCEPT_NEW_TASKS, id="w1-0123456789-0", workforce="chem/md")
    for number in range(2):
        await bus.channel.send_to_any(old, "chem-md-west", order, f"w1-{number}")
    subscription = bus.management.broker.subscription("chem-md-west", "shutdown")
    assert len(subscription.messages) == 2
    with pytest.raises(Missing):
        await bus.channel.send_to_any(old, "no-such-topic", order, "w1-2")


async def test_orders_are_sent_again_after_connections_were_cut(bus: RealBus):
    bench = bus.bench()
    await bus.channel.ensure(control(), TOPICS, INSTALLATION)
    await bus.channel.send(control(), INSTALLATION, JOB, ORDER, "id-0")
    bus.server.drop_connections()
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await bus.channel.send(control(), INSTALLATION, JOB, ORDER, "id-1")
            except Unavailable:
                continue
            break
    assert [message_id for _, message_id in await bench.received(JOB, 2)] == ["id-0", "id-1"]


async def test_a_queue_that_was_deleted_is_made_again(bus: RealBus):
    await bus.channel.ensure(control(), TOPICS, INSTALLATION)
    await bus.channel.send(control(), INSTALLATION, JOB, ORDER, "id-0")
    bus.management.broker.delete_queue(NODES)
    bus.management.documents.pop(f"queues/{NODES}")
    bus.server.drop_connections()
    with pytest.raises(Missing):
        await bus.channel.send(control(), INSTALLATION, JOB, ORDER, "id-1")
    await bus.channel.ensure(control(), TOPICS, INSTALLATION)
    await bus.channel.send(control(), INSTALLATION, JOB, ORDER, "id-2")
    assert [message_id for _, message_id in await bus.bench().received(JOB, 1)] == ["id-2"]


async def test_reports_are_read_again_after_connections_were_cut(bus: RealBus):
    await bus.channel.ensure(control(), TOPICS, INSTALLATION)
    await bus.send_report(encode_report(state("first")))
    await bus.bench().until(lambda: "first" in bus.channel.reports(control(), NAMES))
    bus.server.drop_connections()
    await bus.send_report(encode_report(state("second")))
    await bus.bench().until(lambda: "second" in bus.channel.reports(control(), NAMES))


async def test_a_malformed_report_is_dead_lettered_with_the_reason_and_the_next_one_is_read(bus: RealBus):
    await bus.channel.ensure(control(), TOPICS, INSTALLATION)
    with structlog.testing.capture_logs() as logs:
        for text in ("not json", '{"kind": "state", "job": 7}', encode_report(state())):
            await bus.send_report(text)
        await bus.bench().until(lambda: JOB in bus.channel.reports(control(), NAMES))
    queue = bus.management.broker.queue(REPORTS)
    await bus.bench().until(lambda: len(queue.dead_letters.messages) == 2 and not queue.messages)
    assert [entry["event"] for entry in logs] == ["a report cannot be read"] * 2


async def test_the_last_words_of_a_worker_end_its_entry(bus: RealBus):
    await bus.channel.ensure(control(), TOPICS, INSTALLATION)
    await bus.send_report(encode_report(state()))
    await bus.bench().until(lambda: JOB in bus.channel.reports(control(), NAMES))
    await bus.send_report(encode_report(Exit(job=JOB, time=NOW, why="drained", exit_code=0)))
    await bus.bench().until(lambda: JOB not in bus.channel.reports(control(), NAMES))


async def test_each_installation_that_is_acted_for_has_its_own_queues_and_their_reports_come_together(bus: RealBus):
    """One Workforce has workers of its own, another one took over those of another installation."""
    for installation in (INSTALLATION, "otherone"):
        await bus.channel.ensure(control(), TOPICS, installation)
        await bus.channel.send(control(), installation, f"of-{installation}", ORDER, f"{installation}-0")
    waiting = {name: bus.management.broker.queue(node_queue_name(name)) for name in (INSTALLATION, "otherone")}
    assert {name: len(queue.messages) for name, queue in waiting.items()} == {INSTALLATION: 1, "otherone": 1}
    await bus.send_report(encode_report(state("ours")))
    for report in (
        state("theirs", revision=3),
        Exit(job="ended", time=NOW, why="done", exit_code=0),
        DrainFinished(job="left", time=NOW, drain_id="w1"),
    ):
        await bus.send_report(encode_report(report), reports_queue_name("otherone"))
    await bus.bench().until(lambda: set(bus.channel.reports(control(), NAMES)) == {"ours", "theirs"})
    await bus.bench().until(lambda: "ended" in bus.channel.last_words(control(), NAMES))
    assert bus.channel.recall_confirmed(control(), "theirs", 3)
    assert not bus.channel.recall_confirmed(control(), "ours", 3)
    left: list[DrainFinished] = []
    await bus.bench().until(lambda: left.extend(bus.channel.take_finished(control())) or left)
    assert [each.job for each in left] == ["left"]


async def test_a_bus_that_accepts_and_says_nothing_is_unavailable(bus: RealBus, monkeypatch):
    from workforce_operator.adapters.servicebus import control as module

    async def silent(reader, writer):
        await reader.read()
        writer.close()

    monkeypatch.setattr(module, "SEND_SECONDS", 1.0)
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        bus.channel._cloud = replace(bus.cloud, service_bus=f"127.0.0.1:{port}")
        with pytest.raises(Unavailable):
            await bus.channel.send(control(), INSTALLATION, JOB, ORDER, "id-0")
        sends = (bus.channel.send(control(), INSTALLATION, JOB, ORDER, f"id-{number}") for number in range(1, 41))
        async with asyncio.timeout(15 * module.SEND_SECONDS):
            answers = await asyncio.gather(*sends, return_exceptions=True)
    assert {type(each) for each in answers} == {Unavailable}, "all give up together, not one after the other"
