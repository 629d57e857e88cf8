"""Real worker processes against a real queue, with real signals."""

import asyncio
import json
import signal
from datetime import timedelta

import pytest

from tests.support.agent import push, total, until


async def test_tasks_run_exactly_once_and_an_empty_queue_can_end_the_worker(queue, agent, files):
    names = [f"t{number}" for number in range(20)]
    await push(queue, *(files.quick(name) for name in names))
    worker = await agent("--num-workers", "4", "--when-empty", "exit")
    assert await worker.exit_code() == 0
    assert [files.count(name, "done") for name in names] == [1] * 20
    assert await total(queue) == 0


async def test_a_waiting_worker_takes_a_new_task_and_its_settings_from_the_environment(queue, agent, files):
    worker = await agent(JOBQ_NUM_WORKERS="2", JOBQ_TIME_LIMIT="1209600s", JOBQ_KILL_TIMEOUT="30")
    await worker.said("worker_start")
    assert worker.events("worker_start")[0]["slots"] == 2
    await push(queue, files.gated("a"), files.gated("b"))
    await files.started("a")
    await files.started("b")
    files.open_gate("a")
    await files.done("a")


async def test_a_worker_never_holds_tasks_that_no_slot_is_free_for(queue, agent, files):
    await push(queue, files.gated("a"), files.quick("b"), files.quick("c"))
    await agent("--num-workers", "1")
    await files.started("a")
    await asyncio.sleep(1)
    assert (await queue.size()).visible == 2


async def test_a_task_sees_its_own_environment_and_nothing_of_another(queue, agent, files):
    await queue.push(f"echo first; {files.quick('a')}", env={"SECRET": "hidden"})
    await queue.push(f"echo second sees ${{SECRET:-nothing}} $JOBQ_QUEUE_NAME; {files.quick('b')}", id="b")
    worker = await agent("--when-empty", "exit")
    assert await worker.exit_code() == 0
    assert f"[b] second sees nothing {queue.full_name.split('/')[1]}" in worker.words
    assert "hidden" not in worker.words


async def test_a_task_with_a_path_of_its_own_still_finds_its_shell(queue, agent):
    await queue.push("echo $PATH; nothing-here", env={"PATH": "/nowhere"}, num_retries=0, id="a")
    worker = await agent("--when-empty", "exit")
    assert await worker.exit_code() == 0
    assert "[a] /nowhere\n[a] bash: line 1: nothing-here: command not found" in worker.words


async def test_a_failing_task_is_retried_with_a_pause_and_then_dead_lettered_with_the_reason(queue, agent, files):
    (task_id,) = await push(queue, f"{files.quick('a')}; echo last words; exit 3", num_retries=1)
    worker = await agent("--when-empty", "exit")
    assert await worker.exit_code() == 0
    assert files.count("a", "started") == 2
    letter = await queue.find_failed(task_id)
    assert letter is not None
    assert letter.failure is not None
    assert (letter.failure.error, letter.failure.exit_code) == ("exit code 3", 3)
    assert (letter.failure.attempts, letter.failure.last_lines) == (2, ["last words"])
    assert letter.failure.worker == worker.events("worker_start")[0]["worker_id"]
    assert letter.task is not None
    assert letter.task.num_retries == 0
    told = [record["event"] for record in worker.events() if record.get("task_id") == task_id]
    assert told == ["task_start", "task_failure", "task_retry", "task_start", "task_failure", "task_give_up"]
    for failure in worker.events("task_failure"):
        assert failure["log"] == "last words"
        assert failure["duration_s"] > 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("not a task", "not JSON"),
        ('{"version": 7}', "version 7 is not supported"),
        (
            json.dumps({"version": 1, "reply_requested": False, "kwargs": "{}", "num_retries": 3, "id": "x"}),
            "needs cmd",
        ),
        (
            json.dumps(
                {
                    "version": 1,
                    "reply_requested": False,
                    "kwargs": '{"cmd": "true", "z": 1}',
                    "num_retries": 3,
                    "id": "x",
                }
            ),
            "unknown arguments of a shell task: z",
        ),
    ],
)
async def test_a_malformed_task_is_dead_lettered_with_the_reason_and_the_worker_lives_on(
    queue, agent, files, body, reason
):
    await queue.backend.send(body)
    await push(queue, files.quick("after"))
    worker = await agent("--when-empty", "exit")
    assert await worker.exit_code() == 0
    assert files.count("after", "done") == 1
    (letter,) = await queue.failed()
    assert letter.failure is not None
    assert reason in letter.failure.error


async def test_too_many_failures_in_a_row_end_the_worker_with_1_and_return_what_runs(queue, agent, files):
    await push(queue, files.gated("long"), *("exit 1",) * 5)
    worker = await agent("--num-workers", "2", "--max-consecutive-failures", "2")
    assert await worker.exit_code() == 1
    assert (await queue.size()).visible == 3
    assert len(await queue.failed()) == 3


async def test_a_young_task_of_a_killed_worker_is_visible_again_soon(queue, agent, files):
    await push(queue, files.gated("a"))
    worker = await agent("--visibility-timeout", "3s")
    await files.started("a")
    worker.signal(signal.SIGKILL)
    await worker.exit_code()
    second = await agent()
    await files.started("a", 2)
    files.open_gate("a")
    await files.done("a")
    second.signal(signal.SIGUSR1)
    assert await second.exit_code() == 0
    assert await total(queue) == 0


async def test_a_lock_is_renewed_for_as_long_as_the_task_runs(queue, agent, files):
    await push(queue, files.gated("a"))
    worker = await agent("--visibility-timeout", "2s")
    await files.started("a")
    await asyncio.sleep(5)
    assert list(await queue.backend.receive(1, timedelta(seconds=1))) == []
    files.open_gate("a")
    await worker.said("task_success")
    await until_empty(queue)


async def test_a_lost_lock_stops_that_task_only(queue, agent, files):
    await push(queue, files.gated("lost"))
    worker = await agent("--num-workers", "2", "--visibility-timeout", "4s")
    await files.started("lost")
    await queue.clear()  # its message is gone, which the next renewal notices
    await push(queue, files.gated("kept"))
    await files.started("kept")
    await until(lambda: worker.events("task_lock_lost"), "a lost lock")
    files.open_gate("kept")
    await worker.said("task_success")
    assert (files.count("lost", "done"), files.count("kept", "done")) == (0, 1)
    worker.signal(signal.SIGUSR1)
    assert await worker.exit_code() == 0
    ended = worker.events("worker_end")[0]
    assert (ended["completed"], ended["failed"], ended["returned"]) == (1, 0, 0)


async def test_sigusr1_finishes_the_running_task_and_leaves_the_rest(queue, agent, files):
    await push(queue, files.gated("a"), files.quick("b"))
    worker = await agent()
    await files.started("a")
    worker.signal(signal.SIGUSR1)
    await worker.said('"mode": "finishing"')
    files.open_gate("a")
    assert await worker.exit_code() == 0
    assert (files.count("a", "done"), files.count("b", "started"), await total(queue)) == (1, 0, 1)


async def test_a_failure_while_the_worker_finishes_is_a_failure(queue, agent, files):
    await push(queue, f"{files.gated('a')}; exit 7")
    worker = await agent()
    await files.started("a")
    worker.signal(signal.SIGUSR1)
    await worker.said('"mode": "finishing"')
    files.open_gate("a")
    assert await worker.exit_code() == 0
    (letter,) = await queue.failed()
    assert letter.failure is not None
    assert letter.failure.exit_code == 7


async def test_a_task_gets_sigterm_once_however_many_slots_there_are(queue, agent, files):
    counting = (
        f"trap 'echo x >> {files.folder}/$N.terms' TERM; echo $$ >> {files.folder}/$N.started; "
        f"until [ -e {files.folder}/gate ]; do sleep 0.05; done"
    )
    for name in ("a", "b", "c"):
        await queue.push(counting, env={"N": name})
    worker = await agent("--num-workers", "3")
    for name in ("a", "b", "c"):
        await files.started(name)
    worker.signal(signal.SIGUSR2)
    await until(lambda: all(files.count(name, "terms") for name in ("a", "b", "c")), "a signal for each task")
    await asyncio.sleep(0.5)
    (files.folder / "gate").touch()
    assert await worker.exit_code() == 0
    assert [files.count(name, "terms") for name in ("a", "b", "c")] == [1, 1, 1]


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGINT])
async def test_a_checkpoint_signal_returns_the_task_and_the_worker_exits_with_0(queue, agent, files, number):
    await push(queue, files.checkpointing("a"))
    worker = await agent()
    await files.started("a")
    worker.signal(number)
    assert await worker.exit_code() == 0
    assert "CHECKPOINTING" in worker.words
    assert (await queue.size()).visible == 1
    (looked,) = await queue.peek()
    assert looked.task is not None
    assert looked.task.num_retries == 0
    second = await agent("--when-empty", "exit")
    assert await second.exit_code() == 0
    assert files.count("a", "done") == 1


async def test_a_second_sigint_kills_what_does_not_go(queue, agent, files):
    await push(queue, f"trap '' TERM; {files.gated('a')}")
    worker = await agent()
    await files.started("a")
    worker.signal(signal.SIGINT)
    await worker.said('"mode": "interrupted"')
    worker.signal(signal.SIGINT)
    assert await worker.exit_code() == 0
    assert (await queue.size()).visible == 1


async def test_sigterm_of_the_platform_returns_the_task_and_the_worker_stays(queue, agent, files):
    await push(queue, files.checkpointing("a"))
    worker = await agent("--eviction-timeout", "300s")
    await files.started("a")
    worker.signal(signal.SIGTERM)
    await worker.said("task_canceled")
    await asyncio.sleep(2)
    assert worker.process.returncode is None
    assert (await queue.size()).visible == 1


async def test_an_eviction_that_does_not_come_is_over_after_its_timeout(queue, agent, files):
    await push(queue, files.checkpointing("a"))
    worker = await agent("--eviction-timeout", "1s")
    await files.started("a")
    worker.signal(signal.SIGTERM)
    await files.done("a")
    assert worker.process.returncode is None


async def test_sigterm_while_finishing_returns_the_task_and_ends(queue, agent, files):
    await push(queue, files.checkpointing("a"))
    worker = await agent()
    await files.started("a")
    worker.signal(signal.SIGUSR1)
    await worker.said('"mode": "finishing"')
    worker.signal(signal.SIGTERM)
    assert await worker.exit_code() == 0
    assert (await queue.size()).visible == 1


async def test_the_time_limit_returns_what_runs_and_ends_with_0(queue, agent, files):
    await push(queue, files.checkpointing("a"))
    worker = await agent("--time-limit", "2s")
    assert await worker.exit_code() == 0
    assert await total(queue) == 1


async def test_an_idle_worker_can_be_told_to_leave(agent):
    worker = await agent("--idle-timeout", "1s")
    assert await worker.exit_code() == 0
    assert worker.triggers()[-1]["trigger"] == "idle-timeout"


async def test_a_queue_that_is_missing_is_made_and_an_unreachable_service_is_waited_for(agent, azurite, tmp_path):
    missing = await agent(JOBQ_QUEUE="made-by-the-worker")
    await missing.said("worker_start")
    text = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:9/a"
    unreachable = await agent(JOBQ_CONNECTION_STRING=text, node="node-1")
    await unreachable.said("queue_unavailable")
    unreachable.signal(signal.SIGUSR1)
    assert await unreachable.exit_code() == 0
    missing.signal(signal.SIGUSR1)
    assert await missing.exit_code() == 0


async def test_no_secret_is_ever_logged(queue, agent, files, azurite):
    await queue.push(files.quick("a"), env={"PASSWORD": "tell-nobody"})
    worker = await agent("--when-empty", "exit", "-v", DATABASE_TOKEN="nor-this")
    assert await worker.exit_code() == 0
    for secret in ("tell-nobody", "nor-this", *azurite.accounts.values()):
        assert secret not in worker.words


async def until_empty(queue):
    async with asyncio.timeout(30):
        while True:
            if await total(queue) == 0:
                return
            await asyncio.sleep(0.1)
