"""Tasks as calls of a Python function in this process: for short work, and for work that waits.

The function runs apart from the worker's event loop: a coroutine in a loop of its own thread, anything else in a
thread of its own. So a function that blocks delays no lock, order or other task. A coroutine is told to checkpoint by
being cancelled; a thread cannot be told anything, is waited for, and counts as complete if it completes. What must be
stopped for certain belongs into processes of its own, see `pool`.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

from typing_extensions import override

from jobq.task import Task
from workforce_agent.output import TaskOutput
from workforce_agent.processors.port import Processor, ProcessorError, Run, RunEnd
from workforce_agent.processors.target import arguments, asked_for, is_async, load

CLOSE_SECONDS = 10.0


class InProcess(Processor):
    """Calls a function for each task.

    Args:
        name: `module:function` or `module.Class`.
        slots: How many tasks run at a time.
        worker: This worker's id.
    """

    def __init__(self, name: str, *, slots: int, worker: str) -> None:
        self._function = load(name, slots)
        self._async = is_async(self._function)
        self._asked = asked_for(self._function)
        self._worker = worker
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tasks", daemon=True)

    @override
    async def open(self) -> None:
        self._thread.start()
        if isinstance(self._function, AbstractAsyncContextManager):
            try:
                await self._there(self._function.__aenter__())
            except Exception as error:  # code of the user
                raise ProcessorError(f"it cannot be entered: {type(error).__name__}: {error}") from error

    @override
    def start(self, task: Task, output: TaskOutput) -> Run:
        kwargs = arguments(self._asked, task.kwargs, job_id=task.id, worker=self._worker)
        if self._async:
            return _CoroutineRun(lambda: self._function(**kwargs), self._loop, output)
        return _ThreadRun(lambda: self._function(**kwargs), output)

    @override
    async def close(self) -> None:
        try:
            if isinstance(self._function, AbstractAsyncContextManager):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._there(self._function.__aexit__(None, None, None))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            # A function that blocks the loop would hold up the worker's end; the thread is a daemon.
            await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)
            if not self._thread.is_alive():
                self._loop.close()

    async def _there(self, work: Coroutine[Any, Any, Any]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


class _PythonRun(Run):
    """The end of a call, brought from another thread to this loop; or given up."""

    def __init__(self, output: TaskOutput) -> None:
        self._output = output
        self._here = asyncio.get_running_loop()
        self._end: asyncio.Future[RunEnd] = self._here.create_future()
        self._giving_up: asyncio.TimerHandle | None = None
        self._told = False

    @property
    @override
    def told_to_stop(self) -> bool:
        return self._told

    @property
    @override
    def saved(self) -> datetime | None:
        return None

    @override
    async def wait(self) -> RunEnd:
        try:
            return await self._end
        finally:
            if self._giving_up is not None:
                self._giving_up.cancel()

    @override
    def terminate(self, kill_after: float | None) -> None:
        if kill_after is not None and not self._end.done():
            if self._giving_up is not None:
                self._giving_up.cancel()
            self._giving_up = self._here.call_later(kill_after, self.kill)

    @override
    def kill(self) -> None:
        if not self._end.done():
            self._told = True
            self._end.set_result(RunEnd(None, "it did not stop and was given up"))

    def _ended(self, error: BaseException | None) -> None:
        """From the other thread."""
        if error is not None:
            self._output.feed("".join(traceback.format_exception(error)).encode(errors="replace"))
        end = describe(error)

        def set_end() -> None:
            if not self._end.done():
                self._end.set_result(end)

        try:
            self._here.call_soon_threadsafe(set_end)
        except RuntimeError:
            return  # the worker has ended without it


class _CoroutineRun(_PythonRun):
    def __init__(
        self, call: Callable[[], Coroutine[Any, Any, Any]], loop: asyncio.AbstractEventLoop, output: TaskOutput
    ) -> None:
        super().__init__(output)
        self._loop = loop
        self._future = asyncio.run_coroutine_threadsafe(self._call(call), loop)

    @override
    def terminate(self, kill_after: float | None) -> None:
        if not self._end.done():
            self._told = True
            self._future.cancel()
        super().terminate(kill_after)

    @override
    def kill(self) -> None:
        self._future.cancel()
        super().kill()

    async def _call(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        error: BaseException | None = None
        try:
            await call()  # which fails by itself where the arguments are not the function's
        except asyncio.CancelledError as cancelled:
            error = cancelled
        except BaseException as failed:
            error = failed
        self._ended(error)


class _ThreadRun(_PythonRun):
    def __init__(self, call: Callable[[], Any], output: TaskOutput) -> None:
        super().__init__(output)
        self._call = call
        threading.Thread(target=self._run, name="task", daemon=True).start()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._call()
        except BaseException as failed:
            error = failed
        self._ended(error)


def describe(error: BaseException | None) -> RunEnd:
    """What an exception says about a task; `sys.exit` is an exit code as in a program."""
    if error is None:
        return RunEnd(0)
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return RunEnd(error.code or 0)
    text = str(error)
    return RunEnd(None, f"{type(error).__name__}: {text}" if text else type(error).__name__)
