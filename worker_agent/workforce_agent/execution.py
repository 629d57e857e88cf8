"""One delivery from its receipt to its settlement: read, run, judge, settle.

It knows nothing of the worker's mode. Whoever stops the worker stops the run through `Execution`; whatever then
happens to the message follows from how the run ended.
"""

from __future__ import annotations

import asyncio
import errno
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import structlog

from jobq.backends.port import Delivery, QueueBackend
from jobq.errors import TaskError
from jobq.task import TIMEOUT_FIELD, Task, decode_task
from workforce_agent.events import TRACE_FIELD, trace_field
from workforce_agent.locks import Lock
from workforce_agent.outcome import Ended, Settlement, Verdict, describe, judge
from workforce_agent.output import TaskOutput, Writer
from workforce_agent.processors.port import Processor, Run, RunEnd
from workforce_agent.understudy import Understudy

if TYPE_CHECKING:
    from jobq.dead_letter import Failure

NODE_FAULTS = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Too many processes or files, or no memory: another node, or this one a little later, can start the task."""
_LONGEST_SECONDS = 100 * 365 * 86400.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every execution of a worker shares.

    Attributes:
        backend: The task queue.
        processor: Runs tasks.
        worker: This worker's id, for dead letters.
        writer: Where output goes.
        visibility: The visibility timeout that tasks are received with.
        heartbeat: Whether locks are renewed.
        task_timeout: How long a task may run, None for as long as it likes; a task may say less for itself.
        kill_timeout: How long one that took too long has from SIGTERM to SIGKILL; None for ever.
        output_folder: Where to keep each task's output in a file of its own.
        understudy: Renews locks when the event loop does not; None for nobody.
    """

    backend: QueueBackend
    processor: Processor
    worker: str
    writer: Writer
    visibility: timedelta
    heartbeat: bool = True
    task_timeout: timedelta | None = None
    kill_timeout: timedelta | None = None
    output_folder: Path | None = None
    understudy: Understudy | None = None


class Execution:
    """The run of one delivery.

    Args:
        around: What it shares with others.
        delivery: The message.
        received: When it was asked for, on the monotonic clock.
    """

    def __init__(self, around: Surroundings, delivery: Delivery, received: float) -> None:
        self.started = datetime.now(UTC)
        self._around = around
        self._delivery = delivery
        self._begun = time.monotonic()
        self._duration = 0.0
        self._lock = Lock(around.backend, delivery, around.visibility, received)
        self._process: Run | None = None
        self._timed_out: timedelta | None = None
        self._stop_first: bool = False
        self._lines: list[str] = []
        self.task: Task | None = None
        self.malformed: str | None = None
        try:
            self.task = decode_task(delivery.body)
        except TaskError as error:
            self.malformed = str(error)
        trace = trace_field(self.task.extra.get(TRACE_FIELD) if self.task else None)
        self._log = _log.bind(task_id=self.task.id if self.task else None, attempt=delivery.attempts, **trace)

    @property
    def last_lines(self) -> list[str]:
        """The last lines of its output, once it has ended."""
        return self._lines

    @property
    def renewal_in(self) -> float:
        """Seconds until its lock is to be renewed."""
        return self._lock.renewal_in

    @property
    def saved(self) -> datetime | None:
        """When the task last said that it has saved its state, as far as it does."""
        return self._process.saved if self._process is not None else None

    def unsaved_seconds(self, now: datetime) -> float:
        """How long it has run since then, or since its start: what would have to be run again; 0 if it never began."""
        if self._process is None:
            return 0.0
        since = max(self.started, self.saved or self.started)
        return max(0.0, (now - since).total_seconds())

    def terminate(self, kill_after: float | None) -> None:
        """Tell the task to checkpoint."""
        self._stop_first = True
        if self._process is not None:
            self._process.terminate(kill_after)

    def kill(self) -> None:
        """End the task now."""
        self._stop_first = True
        if self._process is not None:
            self._process.kill()

    async def run(self) -> Ended:
        """Run the task; `settle` must follow. The lock is kept from here on until the settlement."""
        self._keeper = asyncio.create_task(self._keep(), name="lock")
        if self.task is None:
            return Ended(error=self.malformed, retriable=False)
        try:
            ended = await self._run(self.task)
        except Exception as error:
            # An error of ours must not keep the message from everybody for as long as this worker lives.
            self._log.exception("task_crashed")
            if self._process is not None:
                self._process.kill()
            ended = Ended(error=f"the worker could not run it: {type(error).__name__}: {error}")
        self._duration = round(time.monotonic() - self._begun, 3)
        if self._lock.lost.is_set():
            self._log.warning("task_lock_lost", duration_s=self._duration)
            return Ended(exit_code=ended.exit_code, lock_lost=True)
        return ended

    def judge(self, ended: Ended) -> Verdict | None:
        """What the end of the run means; None for a message that was no task."""
        if self.task is None:
            return None
        return judge(ended, num_retries=self.task.num_retries, attempts=self._delivery.attempts)

    async def settle(self, ended: Ended, verdict: Verdict | None) -> bool:
        """Settle the message by its verdict. False if it was lost, and will come again."""
        try:
            if self.task is None or verdict is None:
                return await self._lock.settle(self._dead_letter_malformed)
            return await self._apply(verdict, self.task, ended)
        finally:
            self._keeper.cancel()

    async def _keep(self) -> None:
        if not self._around.heartbeat:
            return
        understudy = self._around.understudy
        with understudy.care(self._lock) if understudy is not None else nullcontext():
            await self._lock.keep()

    async def _run(self, task: Task) -> Ended:
        if self._stop_first:
            return Ended(told_to_stop=True)
        output = TaskOutput(task.id, self._around.writer, self._around.output_folder)
        try:
            limit = time_limit(task, self._around.task_timeout)
            self._process = self._around.processor.start(task, output)
        except TaskError as error:
            return Ended(error=str(error), retriable=False)
        except (OSError, ValueError) as error:
            node_fault = isinstance(error, OSError) and error.errno in NODE_FAULTS
            return Ended(error=f"the task could not be started: {error}", node_fault=node_fault)
        self._log.info("task_start")
        end = await self._wait(self._process, limit)
        self._lines = output.close()
        if self._timed_out is not None:
            return Ended(exit_code=end.exit_code, error=f"timed out after {self._timed_out.total_seconds():g} s")
        return Ended(exit_code=end.exit_code, error=end.error, told_to_stop=self._process.told_to_stop)

    async def _wait(self, run: Run, limit: timedelta | None) -> RunEnd:
        """Wait for the run; when the lock is lost it is killed, because the task may run elsewhere by now."""
        ended = asyncio.create_task(run.wait())
        lost = asyncio.create_task(self._lock.lost.wait())
        seconds = limit.total_seconds() if limit else None
        try:
            done, _ = await asyncio.wait({ended, lost}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self._time_out(run, limit)
                await asyncio.wait({ended, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                run.kill()
            return await ended
        finally:
            lost.cancel()

    def _time_out(self, run: Run, limit: timedelta | None) -> None:
        if self._stop_first:
            return  # it is on its way out already, and goes back to the queue
        self._timed_out = limit
        kill_timeout = self._around.kill_timeout
        run.terminate(kill_timeout.total_seconds() if kill_timeout else None)

    async def _apply(self, verdict: Verdict, task: Task, ended: Ended) -> bool:
        backend = self._around.backend
        match verdict.settlement:
            case Settlement.FORGET:
                return True
            case Settlement.COMPLETE:
                settled = await self._lock.settle(backend.complete)
                self._log.info("task_success", settled=settled, duration_s=self._duration)
                return settled
            case Settlement.RETURN:
                settled = await self._lock.settle(lambda held: backend.release(held, delay=verdict.delay))
                why = {"error": ended.error} if ended.node_fault else {}
                told = {"exit_code": ended.exit_code, "settled": settled, "duration_s": self._duration, **why}
                self._log.info("task_canceled", **told)
                return settled
            case Settlement.RETRY:
                self._log_failure(ended)
                self._log.warning("task_retry", num_retries=task.num_retries - 1, delay=str(verdict.delay))
                body = task.retried().encode()
                return await self._lock.settle(lambda held: backend.release(held, body=body, delay=verdict.delay))
            case Settlement.DEAD_LETTER:
                self._log_failure(ended)
                self._log.error("task_give_up", error=describe(ended))
                body = _letters().encode_dead_letter(task, self._failure(ended), backend.limit)
                return await self._lock.settle(lambda held: backend.dead_letter(held, body))

    async def _dead_letter_malformed(self, held: Delivery) -> None:
        self._log.error("task_malformed", error=self.malformed, message_id=held.message_id)
        failure = self._failure(Ended(error=self.malformed))
        body = _letters().encode_malformed(held.body, failure, self._around.backend.limit)
        await self._around.backend.dead_letter(held, body)

    def _log_failure(self, ended: Ended) -> None:
        self._log.warning(
            "task_failure",
            error=describe(ended),
            exit_code=ended.exit_code,
            duration_s=self._duration,
            log="\n".join(self.last_lines),
        )

    def _failure(self, ended: Ended) -> Failure:
        failure: Failure = _letters().Failure(
            error=describe(ended),
            exit_code=ended.exit_code,
            last_lines=self.last_lines,
            attempts=self._delivery.attempts,
            worker=self._around.worker,
            started=self.started,
            failed=datetime.now(UTC),
        )
        return failure


def _letters() -> ModuleType:
    """How dead letters are written: a worker whose tasks all succeed does without."""
    from jobq import dead_letter  # noqa: PLC0415 - see above

    return dead_letter


def time_limit(task: Task, longest: timedelta | None) -> timedelta | None:
    """How long a task may run: what it says for itself, but not longer than the worker's limit.

    Raises:
        TaskError: What it says is no time.
    """
    own = task.extra.get(TIMEOUT_FIELD)
    if own is None:
        return longest
    if not isinstance(own, int | float) or isinstance(own, bool) or not 0 < own < math.inf:
        raise TaskError(f"{TIMEOUT_FIELD} must be a positive number of seconds")
    limit = timedelta(seconds=min(own, _LONGEST_SECONDS))
    return min(limit, longest) if longest else limit
