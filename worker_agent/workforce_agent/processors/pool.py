"""Tasks as calls of a Python function in processes of their own: for work that computes, or must be stopped.

One process runs one task at a time, and the next one after it, so that what it has loaded is loaded once. A process
that dies takes its own task with it and no other. One that was told to stop, or that has left something running, is
ended with all that it started, and the next task gets a new one.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from typing_extensions import override

from jobq.names import QUEUE_NAME_VARIABLE
from jobq.task import Task
from workforce_agent.checkpoint_note import CheckpointNote
from workforce_agent.guard import Guard
from workforce_agent.output import TaskOutput
from workforce_agent.process import Output, TaskProcess
from workforce_agent.processors.port import Processor, ProcessorError, Run, RunEnd

_PROGRAM = "workforce_agent.processors.child"


class Pool(Processor):
    """Runs tasks in Python processes, which it starts as they are needed.

    Args:
        name: `module:function` or `module.Class`.
        queue_name: Of the task queue, for tasks.
        worker: This worker's id.
        environ: What the processes inherit.
        guard: Ends them if this process cannot any more.
    """

    def __init__(
        self,
        name: str,
        *,
        queue_name: str,
        worker: str,
        environ: Mapping[str, str] = os.environ,
        guard: Guard | None = None,
    ) -> None:
        self._name = name
        self._worker = worker
        self._environ = {**environ, "PYTHONUNBUFFERED": "1", QUEUE_NAME_VARIABLE: queue_name}
        self._guard = guard
        self._idle: list[_Child] = []

    @override
    async def open(self) -> None:
        """Start the first process, and see that it can load the callable."""
        child = self._child()
        answer = await child.answer()
        if answer is None or "broken" in answer:
            await child.end()
            raise ProcessorError(answer["broken"] if answer else f"{self._name}: its process ended while it was loaded")
        child.ready = True
        self._idle.append(child)

    @override
    def start(self, task: Task, output: TaskOutput) -> Run:
        child = self._idle_child() or self._child()
        note = CheckpointNote()
        request = {
            "job_id": task.id, "worker": self._worker, "kwargs": task.kwargs_text, "checkpoint": str(note.path)
        }  # fmt: skip
        return _PoolRun(self, child, request, output, note)

    @override
    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().end()

    def _idle_child(self) -> _Child | None:
        while self._idle:
            child = self._idle.pop()
            if not child.ended.done():
                return child
        return None

    def put_back(self, child: _Child) -> None:
        """A process is ready for the next task."""
        self._idle.append(child)

    def _child(self) -> _Child:
        return _Child(self._name, self._environ, self._guard)


class _Switch(Output):
    """The output of the task that runs now."""

    def __init__(self) -> None:
        self.current: TaskOutput | None = None

    @property
    @override
    def full(self) -> bool:
        return self.current is not None and self.current.full

    @override
    def feed(self, data: bytes) -> None:
        if self.current is not None:
            self.current.feed(data)


class _Child:
    """One process of the pool."""

    def __init__(self, name: str, environ: Mapping[str, str], guard: Guard | None) -> None:
        self.output = _Switch()
        self.ready = False
        self._unread = b""
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        try:
            self.process = TaskProcess(
                [sys.executable, "-m", _PROGRAM, name, str(theirs.fileno())],
                environ,
                None,
                self.output,
                guarded_by=guard,
                pass_fds=(theirs.fileno(),),
            )
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()
        self.ended = asyncio.create_task(self.process.wait(), name=f"pool-{self.process.pid}")

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Have a task run. None if the process ended without an answer."""
        if not self.ready:
            answer = await self.answer()
            if answer is None or "broken" in answer:
                return answer
            self.ready = True
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self._channel, json.dumps(request).encode() + b"\n")
        except OSError:
            return None
        return await self.answer()

    async def answer(self) -> dict[str, Any] | None:
        """The next line that it sends. None if there will be none."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self._unread:
            try:
                data = await loop.sock_recv(self._channel, 65536)
            except OSError:
                data = b""
            if not data:
                return None
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            return None
        return answer if isinstance(answer, dict) else None

    async def end(self) -> int:
        """End it with all that it has started. Returns its exit code."""
        self.process.kill()
        return await self.over()

    async def over(self) -> int:
        """Wait for its end."""
        try:
            return await self.ended
        finally:
            self._channel.close()


class _PoolRun(Run):
    def __init__(
        self, pool: Pool, child: _Child, request: Mapping[str, Any], output: TaskOutput, note: CheckpointNote
    ) -> None:
        self._note = note
        self._pool = pool
        self._child = child
        self._request = request
        child.output.current = output
        self._told: bool | None = None

    @property
    @override
    def told_to_stop(self) -> bool:
        # Once the task is over its process may be ended for another reason.
        return self._child.process.told_to_stop if self._told is None else self._told

    @override
    def terminate(self, kill_after: float | None) -> None:
        self._child.process.terminate(kill_after)

    @override
    def kill(self) -> None:
        self._child.process.kill()

    @property
    @override
    def saved(self) -> datetime | None:
        return self._note.read()

    @override
    async def wait(self) -> RunEnd:
        try:
            return await self._answered()
        finally:
            self._note.close()

    async def _answered(self) -> RunEnd:
        child = self._child
        answer = await child.ask(self._request)
        if answer is None:
            exit_code = await child.over()
            # The call has neither returned nor raised: nobody knows that its work is done.
            return RunEnd(exit_code, "its process ended before the call did" if exit_code == 0 else None)
        self._told = child.process.told_to_stop
        child.process.read_on()
        child.output.current = None
        if "broken" in answer:
            await child.end()
            return RunEnd(None, answer["broken"])
        if self._told or child.process.has_children():
            await child.end()
        else:
            self._pool.put_back(child)
        return RunEnd(answer.get("exit_code"), answer.get("error"))
