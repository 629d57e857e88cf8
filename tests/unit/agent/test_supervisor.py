"""The worker's reactions to orders and signals, without processes."""

import asyncio
import errno
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from jobq.backends.memory import MemoryQueue
from jobq.control import Mode as DrainMode
from jobq.control import OnDeadline, Operation
from jobq.dead_letter import decode_dead_letter
from jobq.task import Task
from workforce_agent.bookkeeping import Slot
from workforce_agent.execution import Execution, Surroundings
from workforce_agent.lifecycle import Mode, Trigger
from workforce_agent.outcome import Settlement, Verdict
from workforce_agent.pid_file import Intent, ProcessId
from workforce_agent.processors.port import Processor, Run, RunEnd
from workforce_agent.processors.shell import ShellProcessor
from workforce_agent.settings import RunSettings, WhenEmpty
from workforce_agent.supervisor import Worker


class Sink:
    full = False

    def write(self, data):
        """Output is not of interest here."""


class Reporter:
    """Keeps what was reported."""

    def __init__(self):
        self.accepted = []
        self.ended = []

    def changed(self):
        """Not of interest here."""

    def drain_accepted(self, drain_id, revision, mode):
        self.accepted.append((drain_id, revision, mode))

    def drain_finished(self, drain_id, completed, returned, lost_seconds):
        self.ended.append((drain_id, completed, returned))
        self.finished = (drain_id, completed, returned, lost_seconds)

    def exit(self, why, exit_code, error):
        self.ended.append((why, exit_code, error))


class Ends(Run):
    """A run that has said something and ends at once, with an exit code or when it is told."""

    def __init__(self, code, output):
        self.code = code
        self.told = asyncio.Event()
        output.feed(b"first\nlast words\n")

    @property
    def told_to_stop(self):
        return self.told.is_set()

    def terminate(self, kill_after):
        self.told.set()

    def kill(self):
        self.told.set()

    async def wait(self):
        if self.code is None:
            await self.told.wait()
        return RunEnd(self.code)


class Codes(Processor):
    """Runs tasks that end with what their argument says."""

    def start(self, task, output):
        return Ends(task.kwargs["code"], output)


async def run_to_the_end(worker, *codes, settings=None):
    worker._settings = settings or RunSettings(max_consecutive_failures=1, when_empty=WhenEmpty.EXIT)
    worker._around = replace(worker._around, processor=Codes())
    for code in codes:
        await worker._around.backend.send(Task.new({"code": code}, num_retries=0).encode())
    exit_code = await worker.run()
    worker.report_end()
    return exit_code


@pytest.fixture
async def worker():
    around = Surroundings(MemoryQueue(), ShellProcessor("q"), "w1", Sink(), timedelta(seconds=60))
    worker = Worker(RunSettings(), around, lambda: worker.inbox.pop(0) if worker.inbox else [])
    worker.inbox = []
    worker.reporter = Reporter()
    return worker


def intent(**fields):
    process = ProcessId(pid=1, start=1, boot="b")
    defaults = {"operation": Operation.GRACEFUL_DOWNSCALE, "id": "o1", "revision": 1}
    return Intent(process=process, written=0, **{**defaults, **fields})


async def test_sigterm_with_an_intent_is_a_drain_and_without_one_an_eviction(worker):
    worker.inbox = [[intent()]]
    worker.on_sigterm()
    assert worker.state.mode is Mode.FINISHING
    worker.on_sigterm()
    assert worker.state.mode is Mode.RETURNING


async def test_the_signals_of_intents_that_were_consumed_together_are_no_eviction(worker):
    worker.inbox = [[intent(), intent(id="o2", revision=2)]]
    worker.on_sigterm()
    worker.on_sigterm()
    assert worker.state.mode is Mode.FINISHING
    worker.on_sigterm()
    assert worker.state.mode is Mode.RETURNING


async def test_a_repeated_order_is_confirmed_again_and_changes_nothing(worker):
    for _ in range(3):
        worker.follow(intent(mode=DrainMode.CHECKPOINT))
    assert worker.state.mode is Mode.RETURNING
    assert worker.reporter.accepted == [("o1", 1, DrainMode.CHECKPOINT)] * 3


async def test_a_late_order_of_a_lower_revision_is_ignored(worker):
    worker.follow(intent(revision=5))
    worker.follow(intent(operation=Operation.ACCEPT_NEW_TASKS, revision=6))
    worker.follow(intent(revision=5))
    assert worker.state.mode is Mode.WORKING
    assert worker.activity().revision == 6
    assert worker.activity().drain_id is None


async def test_a_bare_order_has_no_revision_to_be_late_by(worker):
    worker.follow(intent(operation=Operation.ACCEPT_NEW_TASKS, revision=6))
    worker.follow(intent(id=None, revision=0))
    assert worker.state.mode is Mode.FINISHING


async def test_a_deadline_in_the_past_is_enforced_at_once_and_one_without_checkpoint_is_not(worker):
    past = datetime.now(UTC) - timedelta(seconds=1)
    worker.follow(intent(deadline=past))
    assert list(worker._timers.running) == []
    worker.follow(intent(revision=2, deadline=past, on_deadline=OnDeadline.CHECKPOINT))
    assert await worker.run() == 0
    assert worker.state.why is not None


async def test_the_time_that_returned_tasks_had_run_is_reported_from_the_drain_on(worker):
    returned = Verdict(Settlement.RETURN)
    worker._count(returned, 100.0, settled=True)
    worker.follow(intent(mode=DrainMode.CHECKPOINT))
    worker._count(returned, 7.0, settled=True)
    worker._count(returned, 3.5, settled=True)
    worker._count(Verdict(Settlement.COMPLETE), 50.0, settled=True)
    worker.report_end()
    assert worker.reporter.finished == ("o1", 1, 2, 10.5)


async def test_what_a_kill_would_lose_counts_from_each_tasks_start_or_from_when_it_saved(worker):
    now = datetime.now(UTC)
    saved = now - timedelta(seconds=100)
    worker._slots.append(Slot(1))
    for slot, said in zip(worker._slots, (None, saved), strict=True):
        await worker._around.backend.send(Task.new({"code": 0}).encode())
        (delivery,) = await worker._around.backend.receive(1, timedelta(seconds=60))
        slot.execution = Execution(worker._around, delivery, 0.0)
        slot.execution.started = now - timedelta(seconds=1000)
        slot.execution._process = SimpleNamespace(saved=said)
    found = worker.activity()
    assert found.last_checkpoint == saved
    assert found.oldest_task_start == now - timedelta(seconds=1000)
    assert 1100 <= found.running_seconds < 1110


async def test_a_task_that_goes_back_before_it_began_has_lost_nothing(worker):
    await worker._around.backend.send(Task.new({"code": 0}).encode())
    (delivery,) = await worker._around.backend.receive(1, timedelta(seconds=60))
    execution = Execution(worker._around, delivery, 0.0)
    assert execution.unsaved_seconds(execution.started + timedelta(seconds=5)) == 0


async def test_taking_a_drain_back_forgets_its_deadline(worker):
    soon = datetime.now(UTC) + timedelta(hours=1)
    worker.follow(intent(deadline=soon, on_deadline=OnDeadline.CHECKPOINT))
    assert list(worker._timers.running) == ["deadline"]
    worker.follow(intent(operation=Operation.ACCEPT_NEW_TASKS, revision=2))
    assert list(worker._timers.running) == []


async def test_a_worker_drained_before_its_first_pull_takes_nothing(worker):
    await worker._around.backend.send("x")
    worker.follow(intent())
    assert await worker.run() == 0
    assert [seen.attempts for seen in await worker._around.backend.peek(1)] == [0]


async def test_a_task_that_comes_with_an_answer_that_an_order_overtook_goes_back_untouched(worker):
    class Overtaken(MemoryQueue):
        async def receive(self, count, visibility):
            found = await super().receive(count, visibility)
            worker.trigger(Trigger.SIGUSR1)
            return found

    class Forbidden(Processor):
        def start(self, task, output):
            pytest.fail("a task was started by a worker that leaves")

    backend = Overtaken()
    worker._around = replace(worker._around, backend=backend, processor=Forbidden())
    body = Task.new({"code": 0}, num_retries=0).encode()
    await backend.send(body)
    assert await worker.run() == 0
    assert ([seen.body for seen in await backend.peek(1)], worker.counters.returned) == ([body], 1)


async def test_the_last_report_says_why_and_with_which_words_the_last_task_failed(worker):
    assert await run_to_the_end(worker, 3, 4) == 1
    ((why, exit_code, error),) = worker.reporter.ended
    assert (why, exit_code) == ("too-many-failures", 1)
    assert error == ["more than 1 failures in a row; the last: exit code 4", "first", "last words"]


async def test_a_worker_that_ends_well_reports_no_error(worker):
    assert await run_to_the_end(worker, 3, 0) == 0
    assert worker.reporter.ended == [("queue-empty", 0, [])]


async def test_a_drained_worker_reports_what_it_completed_and_returned_since(worker):
    settings = RunSettings(slots=2)
    drain = asyncio.get_running_loop().call_later(0.02, lambda: worker.follow(intent(mode=DrainMode.CHECKPOINT)))
    worker._slots.append(Slot(1))
    assert await run_to_the_end(worker, None, None, settings=settings) == 0
    drain.cancel()
    assert worker.reporter.ended == [("o1", 0, 2), ("drain-checkpoint", 0, [])]


class Told(MemoryQueue):
    """Writes down what it is asked, and may not answer for a while."""

    def __init__(self, answers_after=0.001):
        super().__init__()
        self.answers_after = answers_after
        self.words = []

    async def receive(self, count, visibility):
        self.words.append("asked")
        found = await super().receive(count, visibility)
        await asyncio.sleep(self.answers_after if self.words != ["asked"] else 0)
        return found

    async def complete(self, delivery):
        self.words.append("completed")
        await super().complete(delivery)


async def test_the_next_task_is_asked_for_and_started_before_the_last_one_is_settled(worker):
    """At one slot: so its settlement costs no time, and still no task is held that no slot is free for."""
    told = Told()

    class Starts(Codes):
        def start(self, task, output):
            told.words.append("started")
            return super().start(task, output)

    worker._settings = RunSettings(when_empty=WhenEmpty.EXIT)
    worker._around = replace(worker._around, backend=told, processor=Starts())
    for _ in range(3):
        await told.send(Task.new({"code": 0}).encode())
    assert await worker.run() == 0
    next_task = ["asked", "started", "completed"]
    assert told.words[:10] == ["asked", "started", *next_task, *next_task, "asked", "completed"]
    assert worker.counters.completed == 3


@pytest.mark.looptime
async def test_a_settlement_does_not_wait_for_a_service_that_is_slow_to_give_the_next_task(worker):
    told = Told(answers_after=30.0)
    worker._around = replace(worker._around, backend=told, processor=Codes())
    await told.send(Task.new({"code": 0}).encode())
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0.1)
    assert told.words == ["asked", "asked", "completed"]
    running.cancel()


class Breathless(Processor):
    """A node that has no descriptors left."""

    def start(self, task, output):
        raise OSError(errno.EMFILE, "Too many open files")


async def test_a_node_that_cannot_start_tasks_returns_them_with_their_retries_and_ends_with_1(worker):
    worker._settings = RunSettings(max_consecutive_failures=1)
    worker._around = replace(worker._around, processor=Breathless())
    backend = worker._around.backend
    bodies = [Task.new({"cmd": str(number)}, num_retries=0).encode() for number in range(3)]
    for body in bodies:
        await backend.send(body)
    assert await worker.run() == 1
    worker.report_end()
    ((why, exit_code, words),) = worker.reporter.ended
    assert (why, exit_code) == ("too-many-failures", 1)
    assert "more than 1 failures in a row; the last: the task could not be started" in words[0]
    assert "Too many open files" in words[0]
    assert sorted(message.body for message in backend._messages.values()) == sorted(bodies)
    assert (await backend.failed.size()).total == 0
    assert worker.counters.returned == 2
    assert worker._own_retry_until > time.monotonic() + 1


class Unwell(Processor):
    """An error of ours: before the task is started, or while it runs."""

    def __init__(self, *, running):
        self.running = running
        self.runs = []

    def start(self, task, output):
        if not self.running:
            raise RuntimeError("not foreseen")
        run = Ends(0, output)
        run.wait = self.wait
        self.runs.append(run)
        return run

    async def wait(self):
        raise RuntimeError("not foreseen")


@pytest.mark.parametrize("running", [False, True])
async def test_an_error_of_ours_is_a_failure_of_the_task_and_hides_its_message_from_nobody(worker, running):
    worker._settings = RunSettings(max_consecutive_failures=1, when_empty=WhenEmpty.EXIT)
    processor = Unwell(running=running)
    worker._around = replace(worker._around, processor=processor)
    backend = worker._around.backend
    await backend.send(Task.new({"cmd": "x"}, num_retries=0).encode())
    with capture_logs() as lines:  # printing the traceback, with colours and frames, takes as long as all tests here
        assert await worker.run() == 0
    assert any(line["log_level"] == "error" and line.get("exc_info") for line in lines)
    assert (await backend.size()).total == 0
    (letter,) = [decode_dead_letter(message.body) for message in backend.failed._messages.values()]
    assert letter.failure.error == "the worker could not run it: RuntimeError: not foreseen"
    assert all(run.told_to_stop for run in processor.runs)
