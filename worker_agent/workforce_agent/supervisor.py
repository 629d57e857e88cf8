"""The worker: pulls tasks into free slots, runs them, and follows the lifecycle to its end.

One event loop does everything, because nothing here blocks: tasks are processes, output is written by a thread, and
every call to a service is asynchronous. The control channel and the reports run beside it and can neither stop nor
delay it. What a trigger means is decided in `lifecycle`, what becomes of a message in `outcome`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from jobq.backends.port import Delivery
from jobq.errors import JobQError, QueueMissing
from jobq.operations import Mode as DrainMode
from jobq.operations import OnDeadline, Operation
from workforce_agent import lifecycle
from workforce_agent.bookkeeping import Asking, Counters, Drain, Slot, Timers, take_sample
from workforce_agent.events import DRAIN_END, leaving_event, trace_field, trigger_event
from workforce_agent.execution import Execution, Surroundings
from workforce_agent.family import reap_orphans
from workforce_agent.lifecycle import Mode, State, Trigger
from workforce_agent.orders import holds_receiver
from workforce_agent.outcome import Ended, Settlement, Verdict, describe
from workforce_agent.pid_file import Intent
from workforce_agent.report import Activity, Reporter
from workforce_agent.sample import Sample
from workforce_agent.settings import RunSettings, WhenEmpty

EMPTY_PAUSE = (0.1, 1.5)
"""Seconds between looks at an empty queue, first and longest: a new task starts in less than 2 s."""
FAULT_PAUSE = (1.0, 30.0)
ECHO_SECONDS = 5.0
"""After several intents were consumed by one SIGTERM, the signals of the others may still come, for this long."""
LEAVE_SECONDS = 10.0
"""How long a receive that is under way may take when the worker leaves."""
REAP_SECONDS = 30.0

_log = structlog.get_logger()


class Worker:
    """A worker process.

    Args:
        settings: How to work.
        around: The queue, and what executions share.
        take_intents: Consumes the intents that were recorded for this process.
    """

    def __init__(self, settings: RunSettings, around: Surroundings, take_intents: Callable[[], list[Intent]]) -> None:
        self.state = State()
        self.counters = Counters()
        self.reporter = Reporter(None, None, self.activity)
        self._last_free = time.monotonic()
        self._changed = asyncio.Event()
        self._settings = settings
        self._around = around
        self._take_intents = take_intents
        self._slots = [Slot(number) for number in range(settings.slots)]
        self._runs: set[asyncio.Task[None]] = set()
        self._timers = Timers()
        self._drain: Drain | None = None
        self._revision = 0
        self._echoes: list[float] = []
        self._idle_since = time.monotonic()
        self._own_retry_until = 0.0
        self._trouble = ""
        self._last_words: list[str] = []
        self._over = False
        self._waiters: list[asyncio.Future[None]] = []
        self._pull_wake = asyncio.Event()
        self._asking = Asking()

    # What others may ask

    @property
    def busy(self) -> int:
        """Slots in use."""
        return sum(slot.execution is not None for slot in self._slots)

    @property
    def since_free(self) -> timedelta:
        """How long ago a slot was free."""
        if self.busy < len(self._slots):
            return timedelta(0)
        return timedelta(seconds=time.monotonic() - self._last_free)

    @property
    def pulling(self) -> bool:
        """Whether it takes new tasks."""
        return self.state.pulls

    @property
    def leaving(self) -> bool:
        """Whether it is on its way out, or being evicted."""
        return self.state.mode is not Mode.WORKING

    @property
    def braced(self) -> bool:
        """Whether it waits to be killed by the platform."""
        return self.state.is_braced

    def holds_receiver(self) -> bool:
        """Whether slots come free, so that it listens to the topic all the time."""
        return holds_receiver(pulling=self.pulling, since_free=self.since_free)

    async def until_changed(self) -> None:
        """Wait until a trigger has come, or a slot was taken or came free."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def activity(self) -> Activity:
        """For a state report."""
        running = [slot.execution for slot in self._slots if slot.execution is not None]
        now = datetime.now(UTC)
        return Activity(
            busy_slots=len(running),
            oldest_task_start=min((execution.started for execution in running), default=None),
            last_checkpoint=max((saved for execution in running if (saved := execution.saved)), default=None),
            completed=self.counters.completed,
            failed=self.counters.failed,
            accepting=self.state.pulls,
            drain_id=self._drain.intent.id if self._drain else None,
            revision=self._revision,
            running_seconds=sum((execution.unsaved_seconds(now) for execution in running), start=0.0),
        )

    def sample(self, queue_size: int | None) -> Sample:
        """For whoever looks at it from outside, in any thread."""
        return take_sample(self.state, self._slots, self.counters, queue_size)

    # What happens to it

    def trigger(self, trigger: Trigger) -> None:
        """Let something happen to the worker."""
        before = self.state
        answer = lifecycle.step(before, trigger)
        self.state = answer.state
        event = trigger_event(trigger, before, answer)
        _log.info(event, trigger=trigger.value, mode=self.state.mode.value, accepting=self.state.accepting)
        if self.state.mode is Mode.EVICTED and before.mode is not Mode.EVICTED:
            seconds = self._settings.eviction_timeout.total_seconds()
            self._timers.start("eviction", seconds, lambda: self.trigger(Trigger.EVICTION_TIMEOUT))
        elif self.state.mode is not Mode.EVICTED:
            self._timers.stop("eviction")
        for slot in self._slots:
            slot.stop(answer.stop, self._settings.kill_timeout)
        self._wake()
        self.reporter.changed()

    def on_sigterm(self) -> None:
        """SIGTERM: the intents that were recorded before it, or the platform."""
        intents = self._take_intents()
        now = time.monotonic()
        self._echoes = [until for until in self._echoes if until > now]
        if not intents and self._echoes:
            # The signal of an intent that an earlier signal has consumed together with its own.
            self._echoes.pop()
            return
        if not intents:
            self.trigger(Trigger.SIGTERM)
            return
        self._echoes += [now + ECHO_SECONDS] * (len(intents) - 1)
        for intent in intents:
            self.follow(intent)

    def follow(self, intent: Intent) -> None:
        """Do what an order wants. One with a lower revision is late, and one that came before is confirmed again."""
        if intent.id is not None and intent.revision < self._revision:
            _log.info("order_ignored", order=intent.id, revision=intent.revision, known=self._revision)
            return
        self._revision = max(self._revision, intent.revision)
        match intent.operation:
            case Operation.DO_NOT_ACCEPT_NEW_TASKS:
                self.trigger(Trigger.DO_NOT_ACCEPT)
            case Operation.ACCEPT_NEW_TASKS:
                self._accept()
            case Operation.GRACEFUL_DOWNSCALE:
                self._follow_drain(intent)

    def _accept(self) -> None:
        self.trigger(Trigger.ACCEPT)
        if self.state.mode is Mode.WORKING:
            self._drain = None
            self._timers.stop("deadline")

    def _follow_drain(self, intent: Intent) -> None:
        known = self._drain
        again = intent.id is not None and known is not None and intent.same_order(known.intent)
        if not again:
            self._drain = Drain(intent, replace(self.counters))
            checkpoint = intent.mode is DrainMode.CHECKPOINT
            self.trigger(Trigger.DRAIN_CHECKPOINT if checkpoint else Trigger.DRAIN_FINISH)
            self._timers.stop("deadline")
            if intent.deadline is not None and intent.on_deadline is OnDeadline.CHECKPOINT:
                left = (intent.deadline - datetime.now(UTC)).total_seconds()
                self._timers.start("deadline", left, lambda: self.trigger(Trigger.DRAIN_DEADLINE))
        if intent.id is not None:
            self.reporter.drain_accepted(intent.id, intent.revision, intent.mode)

    # Its life

    async def run(self) -> int:
        """Work until the lifecycle ends it. Returns the exit code."""
        if self._settings.time_limit is not None:
            seconds = self._settings.time_limit.total_seconds()
            self._timers.start("time-limit", seconds, lambda: self.trigger(Trigger.TIME_LIMIT))
        puller = asyncio.create_task(self._pull(), name="pull")
        reaper = asyncio.create_task(self._reap(), name="reap")
        try:
            while not (self.state.leaves_when_idle and not self._runs):
                await self._changed_or(puller)
            self._over = True
            _log.info(leaving_event(self.state), why=self.state.why)
            self._wake()
            # A receive that was cut would hide its messages until their timeout.
            await asyncio.wait({puller}, timeout=LEAVE_SECONDS)
            while self._runs:
                await asyncio.wait(self._runs)
        finally:
            puller.cancel()
            reaper.cancel()
            self._timers.stop_all()
        return self.state.exit_code

    def report_end(self) -> None:
        """Say why the worker ends."""
        if (drain := self._drain) is not None:
            self._report_drain(drain)
        why = self.state.why.value if self.state.why else "ended"
        error = self._last_words or ([self._trouble] if self._trouble else [])
        self.reporter.exit(why, self.state.exit_code, error)

    def _report_drain(self, drain: Drain) -> None:
        order, done = drain.intent, drain.done(self.counters)
        seconds = round(time.monotonic() - drain.begun, 3)
        what = {"order": order.id, "completed": done.completed, "returned": done.returned, "duration_s": seconds}
        _log.info(DRAIN_END, **what, **trace_field(order.traceparent))
        if order.id is not None:
            self.reporter.drain_finished(order.id, done.completed, done.returned, done.returned_seconds)

    async def _changed_or(self, puller: asyncio.Task[None]) -> None:
        """Wait until something changes. A puller that ends is an error of ours, and ends the worker."""
        changed = asyncio.create_task(self._changed.wait())
        await asyncio.wait({changed, puller}, return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
        self._changed.clear()
        if puller.done():
            puller.result()

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(REAP_SECONDS)
            reap_orphans()

    # Pulling

    async def _pull(self) -> None:
        pause, fault = EMPTY_PAUSE[0], FAULT_PAUSE[0]
        while not self._over:
            free = len(self._slots) - self.busy
            if not (self.state.pulls and free):
                await self._sleep(None)
                continue
            asked = time.monotonic()
            try:
                with self._asking:
                    deliveries = await self._around.backend.receive(
                        min(free, self._around.backend.page), self._around.visibility
                    )
            except JobQError as error:
                await self._fault(error, fault)
                fault = min(fault * 2, FAULT_PAUSE[1])
                continue
            fault = FAULT_PAUSE[0]
            self._recovered()
            for delivery in deliveries:
                self._begin(delivery, asked)
            if deliveries:
                pause = EMPTY_PAUSE[0]
            else:
                self._empty()
                await self._sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - keeps workers out of step
                pause = min(pause * 1.5, EMPTY_PAUSE[1])

    def _begin(self, delivery: Delivery, asked: float) -> None:
        slot = next(slot for slot in self._slots if slot.execution is None)
        execution = Execution(self._around, delivery, asked)
        if not self.state.pulls:
            execution.terminate(None)  # came with an answer that an order overtook: it goes back untouched
        slot.execution = execution
        run = asyncio.create_task(self._work(slot, execution), name=f"slot-{slot.number}")
        self._runs.add(run)
        run.add_done_callback(self._run_ended)
        self.reporter.changed()

    async def _work(self, slot: Slot, execution: Execution) -> None:
        try:
            ended = await execution.run()
            ran = execution.unsaved_seconds(datetime.now(UTC))
            verdict = execution.judge(ended)
            # Before the slot is free: a failure too many must stop the next pull.
            self._count_failures(slot, execution, ended, verdict)
        finally:
            slot.execution = None
            self._last_free = self._idle_since = time.monotonic()
            self._wake()
        await self._asking.let_the_next_go_first()
        self._count(verdict, ran, settled=await execution.settle(ended, verdict))

    def _run_ended(self, run: asyncio.Task[None]) -> None:
        self._runs.discard(run)
        self._wake()
        self.reporter.changed()
        if not run.cancelled() and (error := run.exception()) is not None:
            # The message comes back after its visibility timeout; the worker goes on.
            _log.error("task_crashed", exc_info=error)

    def _count_failures(self, slot: Slot, execution: Execution, ended: Ended, verdict: Verdict | None) -> None:
        if verdict is not None and verdict.succeeded:
            slot.failures_in_a_row = 0
        # A node that cannot start tasks returns them, and must not go on like that for ever.
        if verdict is None or not (verdict.failed or ended.node_fault):
            return
        slot.failures_in_a_row += 1
        if slot.failures_in_a_row > self._settings.max_consecutive_failures:
            why = f"more than {self._settings.max_consecutive_failures} failures in a row; the last: {describe(ended)}"
            self._last_words = [why, *execution.last_lines]
            self.trigger(Trigger.TOO_MANY_FAILURES)

    def _count(self, verdict: Verdict | None, ran: float, *, settled: bool) -> None:
        if verdict is None:
            self.counters.malformed += 1
        elif not settled or verdict.settlement is Settlement.FORGET:
            self.counters.lost += 1
        elif verdict.succeeded:
            self.counters.completed += 1
        elif verdict.settlement is Settlement.RETURN:
            self.counters.returned += 1
            self.counters.returned_seconds += ran
        else:
            self.counters.failed += 1
        if verdict is not None and verdict.delay:
            self._own_retry_until = max(self._own_retry_until, time.monotonic() + verdict.delay.total_seconds())

    def _empty(self) -> None:
        now = time.monotonic()
        if self.busy or self._runs or now < self._own_retry_until + EMPTY_PAUSE[1]:
            return
        if self._settings.when_empty is WhenEmpty.EXIT:
            self.trigger(Trigger.QUEUE_EMPTY)
        limit = self._settings.idle_timeout
        if limit is not None and now - self._idle_since > limit.total_seconds():
            self.trigger(Trigger.IDLE_TIMEOUT)

    async def _fault(self, error: JobQError, pause: float) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            _log.warning("queue_unavailable", error=self._trouble, kind=type(error).__name__)
        if isinstance(error, QueueMissing):
            try:
                await self._around.backend.create()
            except JobQError as again:
                _log.debug("queue_not_created", error=str(again))
            else:
                return
        await self._sleep(pause)

    def _recovered(self) -> None:
        if self._trouble:
            self._trouble = ""
            _log.info("queue_available")

    async def _sleep(self, seconds: float | None) -> None:
        """Wait, but not longer than until something changes, or not at all if it has since the last time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._pull_wake.wait()
        self._pull_wake.clear()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._changed.set()
        self._pull_wake.set()
