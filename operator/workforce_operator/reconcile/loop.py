"""Takes keys from the work queue, has a pass made over each, and puts them back for the right time.

It is the supervisor of passes: whatever a pass raises ends that pass only, is counted, logged once per change, and
tried again with back-off. Only `Fenced` is different: a process that does not lead makes no more passes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from workforce_operator.domain.errors import Conflict, Denied, Fenced, OperatorError, Throttled
from workforce_operator.ports.kubernetes import Key, WorkforceStore
from workforce_operator.reconcile.reconciler import Verdict
from workforce_operator.reconcile.telemetry import PassResult, Pulse, Telemetry
from workforce_operator.reconcile.together import flat_group
from workforce_operator.reconcile.work_queue import WorkQueue

log = structlog.stdlib.get_logger(__name__)

SPREAD = 0.1
"""Regular passes are spread by up to this share, so that many Workforces do not come due at the same moment."""


class Loop:
    """The workers of the queue.

    Args:
        queue: Keys to be worked on.
        reconcile: Makes one pass.
        telemetry: Told about passes.
        pulse: Told which passes are under way.
        pass_seconds: Longest time for one pass.
        workers: Passes at a time.
    """

    def __init__(
        self,
        queue: WorkQueue[Key],
        reconcile: Callable[[Key], Awaitable[Verdict]],
        *,
        telemetry: Telemetry,
        pulse: Pulse,
        pass_seconds: float = 300.0,
        workers: int = 8,
    ) -> None:
        self._queue, self._reconcile, self._telemetry, self._pulse = queue, reconcile, telemetry, pulse
        self._seconds, self._workers = pass_seconds, workers
        self._told: dict[Key, str] = {}

    async def run(self) -> None:
        """Work until the queue is closed, and finish what is under way. Raises `Fenced` if the lease is lost."""
        async with flat_group() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"worker {number}")

    async def _work(self) -> None:
        while (key := await self._queue.get()) is not None:
            try:
                with structlog.contextvars.bound_contextvars(workforce=f"{key.namespace}/{key.name}"):
                    await self._one(key)
            finally:
                self._queue.done(key)

    async def _one(self, key: Key) -> None:
        """One pass and what follows from it."""
        result = PassResult.BUG
        self._pulse.begin(key)
        try:
            async with asyncio.timeout(self._seconds):
                verdict = await self._reconcile(key)
            result = PassResult.GONE if verdict.gone else PassResult.OK
            self._schedule(key, verdict)
            self._telemetry.told(key, verdict.status)
        except Fenced:
            result = PassResult.FENCED
            raise
        except TimeoutError:
            result = PassResult.TIMEOUT
            self._again(key, f"the pass took longer than {self._seconds:g} s")
        except Conflict:
            # Somebody edited the object in between: read it again, now.
            result = PassResult.CONFLICT
            self._queue.add(key)
        except OperatorError as error:
            result = PassResult.DENIED if isinstance(error, Denied) else PassResult.UNAVAILABLE
            self._again(key, str(error), at_least=error.retry_after if isinstance(error, Throttled) else 0.0)
        except Exception:  # the supervisor's duty: a bug in one pass must not end the work on all other Workforces
            log.exception("a pass failed in a way that nobody foresaw")
            self._queue.retry(key)
        finally:
            self._telemetry.pass_ended(result, self._pulse.end(key))

    def _schedule(self, key: Key, verdict: Verdict) -> None:
        if self._told.pop(key, None) is not None:
            log.info("passes succeed again")
        if verdict.gone:
            self._queue.forget(key)
        elif verdict.failed:
            # The back-off counts from the first failure, but is never shorter than what a service asked for.
            self._queue.retry(key, at_least=verdict.delay)
        else:
            self._queue.forget(key)
            self._queue.add_after(key, verdict.delay * (1 + random.uniform(0, SPREAD)))  # noqa: S311 - no secret

    def _again(self, key: Key, reason: str, *, at_least: float = 0.0) -> None:
        delay = self._queue.retry(key, at_least=at_least)
        if self._told.get(key) != reason:
            log.warning("a pass failed and is tried again", reason=reason, delay_seconds=round(delay, 1))
            self._told[key] = reason


async def relist(store: WorkforceStore, queue: WorkQueue[Key], *, seconds: float) -> None:
    """Wake every Workforce now and then, whatever the informer has or has not told. Ends when it is cancelled."""
    while True:
        with suppress(OperatorError):  # an API server that cannot be reached is told by the passes
            for key in await store.list_keys():
                queue.add(key)
        await asyncio.sleep(seconds)
