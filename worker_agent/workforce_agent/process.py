"""A task's shell: a process in a session of its own, its output, and an end that waits for all that it started.

No process of a task outlives it, see `family`. There is no `preexec_fn`: it would halve the rate of starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from typing import Protocol

from workforce_agent.family import Family
from workforce_agent.guard import Guard

READ_SIZE = 65536
SURVIVOR_GRACE = 5.0
"""Seconds that processes left behind by a task which ended by itself have after SIGTERM."""
TERMINAL_SIZE = (24, 120)
"""Lines and columns of an emulated terminal."""
_POLL = 0.05


class Output(Protocol):
    """Where a task's output goes."""

    @property
    def full(self) -> bool:
        """Whether more would have to wait."""

    def feed(self, data: bytes) -> None:
        """Take a piece of output."""


class TaskProcess:
    """One run of a program.

    Args:
        command: The program and its arguments.
        env: The whole environment.
        cwd: Working directory, the agent's own by default.
        output: Given each piece of output as it comes, stdout and stderr together. While it is full nothing is read,
            so that a slow reader slows this task and nothing else.
        guarded_by: Ends the task if this process cannot any more.
        pass_fds: Descriptors that it keeps.
        program: Where the program is; by default the command's first word, looked for on the path of `env`.
        terminal: Whether the output goes to a terminal. It is not the task's controlling terminal: nothing in a task
            can be stopped by it, or wait for somebody to type.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        output: Output,
        *,
        guarded_by: Guard | None = None,
        pass_fds: Sequence[int] = (),
        program: str | None = None,
        terminal: bool = False,
    ) -> None:
        self._family = Family()
        self._output = output
        self._reading, writing = _open_terminal() if terminal else os.pipe()
        try:
            self._process = subprocess.Popen(
                command,
                executable=program,
                env=self._family.environment(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._reading)
            raise
        finally:
            os.close(writing)
        self.pid = self._process.pid
        self._exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._paused: asyncio.TimerHandle | None = None
        self.told_to_stop = False
        self._family.begin(self.pid, guarded_by)
        try:
            self._watch_exit()
            self._watch_output()
        except BaseException:
            self._give_up()
            raise

    async def wait(self) -> int:
        """Wait until nothing of the task is left, and return the exit code of its first process."""
        try:
            await self._exited
            if self._family.has_survivors():
                if not self.told_to_stop:
                    # It ended by itself and left something behind, which gets a short notice and not the kill timeout.
                    self._family.signal(signal.SIGTERM)
                    self._family.kill_after(SURVIVOR_GRACE)
                await self._family.gone()
            await self._drain_output()
            return int(self._process.returncode)
        finally:
            self._clean_up()

    def terminate(self, kill_after: float | None) -> None:
        """SIGTERM to every process of the task, SIGKILL to what is left after `kill_after` seconds (None: never).

        A task that has ended unheard, while the event loop was busy, counts as told to stop: whoever signals this
        worker may have signalled the task first, and a task that has saved its state ends well, too.
        """
        if not self._exited.done():
            self.told_to_stop = True
        self._family.signal(signal.SIGTERM)
        if kill_after is not None:
            self._family.kill_after(kill_after)

    def kill(self) -> None:
        """SIGKILL to every process of the task."""
        if not self._exited.done():
            self.told_to_stop = True
        # And again, because a process may start another between the look and the signal.
        self._family.signal(signal.SIGKILL)
        self._family.kill_after(0)

    def has_children(self) -> bool:
        """Whether something that it has started is still there."""
        return any(pid != self.pid for pid in self._family.members())

    def read_on(self) -> None:
        """Take the output that is waiting, now."""
        with contextlib.suppress(OSError):  # there is no more of it
            while data := os.read(self._reading, READ_SIZE):
                self._output.feed(data)

    def _give_up(self) -> None:
        """It was started and cannot be watched, such as for want of a descriptor: it must not run on unseen."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._family.end()
        os.close(self._reading)

    def _watch_exit(self) -> None:
        loop = asyncio.get_running_loop()
        descriptor = os.pidfd_open(self.pid)

        def exited() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._process.wait()
            if not self._exited.done():
                self._exited.set_result(None)

        loop.add_reader(descriptor, exited)

    def _watch_output(self) -> None:
        loop = asyncio.get_running_loop()
        os.set_blocking(self._reading, False)

        def readable() -> None:
            if self._output.full:
                loop.remove_reader(self._reading)
                self._paused = loop.call_later(_POLL, loop.add_reader, self._reading, readable)
                return
            try:
                data = os.read(self._reading, READ_SIZE)
            except BlockingIOError:
                return
            except OSError:
                data = b""  # a terminal that nobody has open any more
            if data:
                self._output.feed(data)
                return
            loop.remove_reader(self._reading)
            if not self._closed.done():
                self._closed.set_result(None)

        loop.add_reader(self._reading, readable)

    async def _drain_output(self) -> None:
        # Everybody who could write is gone; what is still in the pipe is read now.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed, SURVIVOR_GRACE)

    def _clean_up(self) -> None:
        if self._paused is not None:
            self._paused.cancel()
        asyncio.get_running_loop().remove_reader(self._reading)
        os.close(self._reading)
        if self._exited.done():
            self._family.end()
        else:
            self._family.spare()


def _open_terminal() -> tuple[int, int]:
    """Our end and the task's end of a new terminal, which passes output on as it is."""
    ours, theirs = os.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *TERMINAL_SIZE, 0, 0))
    return ours, theirs
