"""The worker's reactions to orders and signals, without processes."""

from datetime import UTC, datetime, timedelta

import pytest

from jobq.backends.memory import MemoryQueue
from jobq.control import Mode as DrainMode
from jobq.control import OnDeadline, Operation
from workforce_agent.execution import Surroundings
from workforce_agent.lifecycle import Mode
from workforce_agent.pid_file import Intent, ProcessId
from workforce_agent.processors.shell import ShellProcessor
from workforce_agent.settings import RunSettings
from workforce_agent.supervisor import Worker


class Sink:
    full = False

    def write(self, data):
        del data


class Reporter:
    """Keeps what was reported."""

    def __init__(self):
        self.accepted = []

    def changed(self):
        """Not of interest here."""

    def drain_accepted(self, drain_id, revision, mode):
        self.accepted.append((drain_id, revision, mode))


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
