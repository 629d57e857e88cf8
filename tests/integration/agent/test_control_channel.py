"""Real workers, a real queue and a real control channel: orders, drains, and what is said about them."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.agent.bus import NODES, TOPIC, control_bus
from tests.support.agent import push, total, until


@pytest.fixture
async def bus(local_azure, tmp_path):
    async with control_bus(local_azure, tmp_path) as bus:
        yield bus


async def test_the_bare_order_of_the_documents_lets_one_node_finish_its_task_and_leave(queue, agent, files, bus):
    await push(queue, files.gated("a"))
    busy = await agent(**bus.environ("j0"))
    await files.started("a")
    await bus.broadcast({"operation": "graceful-downscale"})
    await busy.said('"mode": "finishing"')
    await push(queue, files.quick("b"))
    files.open_gate("a")
    assert await busy.exit_code() == 0
    assert (files.count("a", "done"), files.count("b", "started")) == (1, 0)


async def test_one_untargeted_order_drains_one_of_several_nodes(agent, bus):
    workers = [
        await agent(node=f"node-{number}", **bus.environ(f"j{number}", AZ_BATCH_NODE_ID=f"n{number}"))
        for number in range(3)
    ]
    for worker in workers:
        await worker.said("worker_start")
    await bus.broadcast({"operation": "graceful-downscale"})
    await until(lambda: any(worker.process.returncode is not None for worker in workers), "a drained worker")
    await asyncio.sleep(1)
    assert sorted(str(worker.process.returncode) for worker in workers) == ["0", "None", "None"]


async def test_an_order_drains_every_worker_of_the_node_that_listens_to_the_topic(agent, bus):
    workers = [await agent(**bus.environ("j0")) for _ in range(2)]
    other = await agent(**bus.environ("j1", WORKFORCE_CONTROL_TOPIC_NAME="another"))
    for worker in (*workers, other):
        await worker.said("worker_start")
    await bus.broadcast({"operation": "graceful-downscale"})
    assert [await worker.exit_code() for worker in workers] == [0, 0]
    assert other.process.returncode is None


async def test_an_order_that_came_before_the_first_pull_leaves_every_task_untouched(queue, agent, files, bus):
    await push(queue, files.quick("a"))
    await bus.order("j0", revision=1)
    worker = await agent(**bus.environ("j0"))
    assert await worker.exit_code() == 0
    assert files.count("a", "started") == 0
    (looked,) = await queue.peek()
    assert looked.attempts == 0
    reports = await bus.reports("exit")
    assert [report.kind for report in reports if report.kind != "state"] == [
        "hello", "drain-accepted", "drain-finished", "exit",
    ]  # fmt: skip
    assert {report.job for report in reports} == {"j0"}


async def test_a_worker_that_cannot_begin_says_why_in_its_exit_report(agent, bus):
    worker = await agent("--proc", "nosuch:work", **bus.environ("j0"))
    assert await worker.exit_code() == 1
    (report,) = [report for report in await bus.reports("exit") if report.kind != "state"]
    assert (report.job, report.why, report.exit_code) == ("j0", "crashed", 1)
    assert list(report.error) == ["nosuch:work cannot be loaded: ModuleNotFoundError: No module named 'nosuch'"]


async def test_a_worker_that_cannot_begin_ends_in_time_when_nobody_takes_its_report(agent, bus):
    worker = await agent("--proc", "nosuch:work", **bus.environ("j0", WORKFORCE_REPORTS_QUEUE_NAME="missing"))
    assert await worker.exit_code() == 1
    assert "nosuch:work cannot be loaded" in worker.words


async def test_a_targeted_order_reaches_that_job_only(agent, bus):
    chosen = await agent(node="node-0", **bus.environ("j0", AZ_BATCH_NODE_ID="n0"))
    other = await agent(node="node-1", **bus.environ("j1", AZ_BATCH_NODE_ID="n1"))
    await chosen.said("worker_start")
    await other.said("worker_start")
    await bus.order("j0")
    assert await chosen.exit_code() == 0
    assert other.process.returncode is None


async def test_a_finish_drain_is_taken_back_and_late_orders_do_nothing(queue, agent, files, bus):
    await push(queue, files.gated("a"))
    worker = await agent(**bus.environ("j0"))
    await files.started("a")
    await bus.order("j0", revision=1)
    await worker.said('"mode": "finishing"')
    await bus.order("j0", operation="accept-new-tasks", revision=2)
    await until(lambda: worker.triggers()[-1]["mode"] == "working", "work again")
    await bus.order("j0", revision=1)
    await worker.said("order_dropped")
    files.open_gate("a")
    await push(queue, files.quick("b"))
    await files.done("b")
    assert worker.process.returncode is None


async def test_do_not_accept_keeps_the_worker_and_accept_gives_it_tasks_again(queue, agent, files, bus):
    await push(queue, files.gated("a"))
    worker = await agent(**bus.environ("j0"))
    await files.started("a")
    await bus.order("j0", operation="do-not-accept-new-tasks", revision=1)
    await worker.said('"accepting": false')
    files.open_gate("a")
    await worker.said("task_success")
    await push(queue, files.quick("b"))
    await asyncio.sleep(2.5)
    assert files.count("b", "started") == 0
    assert worker.process.returncode is None
    await bus.order("j0", operation="accept-new-tasks", revision=2)
    await files.done("b")


async def test_a_checkpoint_drain_returns_the_task_with_its_retries(queue, agent, files, bus):
    await push(queue, files.checkpointing("a"), num_retries=2)
    worker = await agent(**bus.environ("j0"))
    await files.started("a")
    await bus.order("j0", mode="checkpoint")
    assert await worker.exit_code() == 0
    (looked,) = await queue.peek()
    assert looked.task is not None
    assert looked.task.num_retries == 2
    finished = next(report for report in await bus.reports("exit") if report.kind == "drain-finished")
    assert (finished.completed, finished.returned) == (0, 1)


async def test_a_task_that_says_it_has_saved_its_state_loses_only_what_it_ran_since(queue, agent, files, bus):
    saves = "trap 'touch $JOBQ_CHECKPOINT_FILE; exit 0' TERM; "
    silent, saving = files.checkpointing("silent"), saves + files.gated("saving")
    await push(queue, silent, saving)
    worker = await agent("-n", "2", **bus.environ("j0"))
    await files.started("silent")
    await files.started("saving")
    await asyncio.sleep(3)
    await bus.order("j0", mode="checkpoint")
    assert await worker.exit_code() == 0
    finished = next(report for report in await bus.reports("exit") if report.kind == "drain-finished")
    assert finished.returned == 2
    ran = {end["task_id"]: end["duration_s"] for end in worker.events("task_canceled")}
    assert 3 <= finished.lost_seconds < sum(ran.values()) - 2


async def test_the_node_itself_turns_to_checkpoint_at_the_deadline(queue, agent, files, bus):
    await push(queue, files.checkpointing("a"))
    worker = await agent(**bus.environ("j0"))
    await files.started("a")
    deadline = datetime.now(UTC) + timedelta(seconds=3)
    await bus.order("j0", deadline=deadline.isoformat(), onDeadline="checkpoint")
    assert await worker.exit_code() == 0
    assert worker.triggers()[-1]["trigger"] == "drain-deadline"
    assert await total(queue) == 1


async def test_nonsense_is_dead_lettered_with_a_reason_and_work_goes_on(queue, agent, files, bus):
    worker = await agent(**bus.environ("j0"))
    await worker.said("worker_start")
    for body in ("drain!", {"operation": "explode"}, {"operation": "graceful-downscale", "mode": 3}):
        await bus.broadcast(body)
    await until(lambda: len(worker.events("order_refused")) == 3, "three refusals")
    async with bus.client.get_subscription_receiver(TOPIC, "shutdown", sub_queue="deadletter") as receiver:
        dead = await receiver.peek_messages(10)
    assert [message.dead_letter_reason for message in dead] == ["refused"] * 3
    assert "not JSON" in dead[0].dead_letter_error_description
    await push(queue, files.quick("a"))
    await files.done("a")
    assert worker.process.returncode is None


async def test_sigterm_without_an_intent_is_still_the_platforms(queue, agent, files, bus):
    await push(queue, files.checkpointing("a"))
    worker = await agent("--eviction-timeout", "3s", **bus.environ("j0"))
    await files.started("a")
    worker.signal(signal.SIGTERM)
    await worker.said("task_canceled")
    await asyncio.sleep(1)
    assert worker.process.returncode is None
    await bus.order("j0", mode="checkpoint")  # for who comes after it, or for itself once it works again
    assert await worker.exit_code() == 0
    assert "eviction-timeout" in [record["trigger"] for record in worker.triggers()]


async def test_a_second_agent_of_the_job_takes_over_the_session(agent, bus):
    first = await agent(**bus.environ("j0"))
    await first.said("control_first_look")
    second = await agent(**bus.environ("j0"))
    await second.said("worker_start")
    first.signal(signal.SIGKILL)
    await first.exit_code()
    await bus.order("j0")
    assert await second.exit_code(90) == 0


async def test_no_task_is_begun_while_a_dead_predecessor_holds_the_session(queue, agent, files, bus):
    """As after the loss of a node: the order that waits in the session comes before the first task."""
    await push(queue, files.quick("a"))
    await bus.order("j0")
    async with bus.client.get_queue_receiver(NODES, session_id="j0") as predecessor:
        worker = await agent(**bus.environ("j0"))
        await worker.said("control_unavailable")
        for _ in range(5):
            await asyncio.sleep(2.5)
            await predecessor.session.renew_lock()
        assert worker.events("work_without_first_look") == []
    assert await worker.exit_code() == 0
    assert files.count("a", "started") == 0


async def test_who_comes_after_an_evicted_worker_begins_at_once(queue, agent, files, bus):
    first = await agent(**bus.environ("j0"))
    await first.said("control_first_look")
    first.signal(signal.SIGTERM)
    await first.said("soft_shutdown_requested")
    await asyncio.sleep(1)
    first.signal(signal.SIGKILL)
    await first.exit_code()
    await push(queue, files.quick("a"))
    second = await agent(node="node-1", **bus.environ("j0"))
    await files.done("a")
    assert second.events("control_unavailable") == []


async def test_work_does_not_depend_on_the_control_channel(queue, agent, files, bus):
    await push(queue, files.quick("a"))
    environ = bus.environ("j0", WORKFORCE_NODE_QUEUE_NAME="missing", WORKFORCE_REPORTS_QUEUE_NAME="missing-too")
    worker = await agent(**{**environ, "WORKFORCE_CONTROL_TOPIC_NAME": "not-there"})
    await files.done("a")
    await worker.said("control_unavailable")
    worker.signal(signal.SIGUSR1)
    assert await worker.exit_code() == 0


async def test_state_is_reported_and_no_order_stays_behind(queue, agent, files, bus):
    await push(queue, files.gated("a"))
    worker = await agent("--num-workers", "3", **bus.environ("j0"))
    await files.started("a")
    reports = await bus.reports("state")
    hello = next(report for report in reports if report.kind == "hello")
    assert (hello.job, hello.slots) == ("j0", 3)
    await bus.order("j0")
    accepted = (await bus.reports("drain-accepted"))[-1]
    assert (accepted.drain_id, accepted.revision) == ("o1", 1)
    files.open_gate("a")
    assert await worker.exit_code() == 0
    finished = await bus.reports("exit")
    assert next(report for report in finished if report.kind == "drain-finished").completed == 1
    assert finished[-1].exit_code == 0
    assert bus.waits(NODES) == 0
