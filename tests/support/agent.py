"""Real worker processes for tests, with their output at hand, and tasks that write what they do to files."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from jobq.queue import JobQ
from jobq.task import Task, shell_kwargs

PATIENCE = 60.0


async def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait for something to become true, and return it."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                if found := condition():
                    return found
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:.0f} s in vain for {what}") from None


class AgentProcess:
    """A `workforce-agent run` process."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log

    @classmethod
    async def start(cls, folder: Path, environ: Mapping[str, str], *arguments: str) -> AgentProcess:
        """Start one with nothing of this process's environment but the path."""
        log, handle = _open_log(folder)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "workforce_agent", "run", *arguments,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), **environ},
                stdout=handle, stderr=handle, stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        finally:
            handle.close()
        return cls(process, log)

    @property
    def words(self) -> str:
        """Everything that it has said."""
        return self.log.read_text(errors="replace")

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Its log lines, or those of one event."""
        found = []
        for line in self.words.splitlines():
            if line.startswith("{"):
                record = json.loads(line)
                if name is None or record["event"] == name:
                    found.append(record)
        return found

    def triggers(self) -> list[dict[str, Any]]:
        """Its log lines about what happened to it as a whole."""
        return [record for record in self.events() if "trigger" in record]

    async def said(self, words: str, seconds: float = PATIENCE) -> None:
        """Wait until it has said something."""
        await until(lambda: words in self.words or self.process.returncode is not None, f"{words!r}", seconds)
        assert words in self.words, self.words[-3000:]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def exit_code(self, seconds: float = PATIENCE) -> int:
        """Wait for its end."""
        try:
            async with asyncio.timeout(seconds):
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"still running after {seconds:.0f} s:\n{self.words[-3000:]}") from None

    async def close(self) -> None:
        """Make sure that it is gone."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


def _open_log(folder: Path) -> tuple[Path, BinaryIO]:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "agent.log", (folder / "agent.log").open("ab")


class TaskFiles:
    """Tasks that note their start and end in a folder, so that a test counts what really happened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def quick(self, name: str) -> str:
        """A command that runs to its end at once."""
        return f"echo $$ >> {self.folder}/{name}.started; echo $$ >> {self.folder}/{name}.done"

    def gated(self, name: str) -> str:
        """A command that runs until `open_gate`."""
        return (
            f"echo $$ >> {self.folder}/{name}.started; until [ -e {self.folder}/{name}.gate ]; do sleep 0.05; done; "
            f"echo $$ >> {self.folder}/{name}.done"
        )

    def checkpointing(self, name: str) -> str:
        """A command that runs until it is told to checkpoint, and exits with 0 then; a second run just ends."""
        return (
            f"if [ -e {self.folder}/{name}.saved ]; then echo $$ >> {self.folder}/{name}.done; exit 0; fi; "
            f"trap 'echo CHECKPOINTING; touch {self.folder}/{name}.saved; exit 0' TERM; "
            f"echo $$ >> {self.folder}/{name}.started; while :; do sleep 0.05; done"
        )

    def open_gate(self, name: str) -> None:
        """Let a gated command end."""
        (self.folder / f"{name}.gate").touch()

    def count(self, name: str, what: str) -> int:
        """How often a command has started, or is done."""
        file = self.folder / f"{name}.{what}"
        return len(file.read_text().split()) if file.exists() else 0

    async def started(self, name: str, times: int = 1) -> None:
        """Wait until a command has started."""
        await until(lambda: self.count(name, "started") >= times, f"start {times} of {name}")

    async def done(self, name: str, times: int = 1) -> None:
        """Wait until a command is done."""
        await until(lambda: self.count(name, "done") >= times, f"end {times} of {name}")


async def push(queue: JobQ, *commands: str, num_retries: int = 0) -> list[str]:
    """Enqueue shell commands; returns their ids."""
    tasks = [Task.new(shell_kwargs(command), num_retries=num_retries) for command in commands]
    for task in tasks:
        await queue.push_task(task)
    return [task.id for task in tasks]


async def total(queue: JobQ) -> int:
    """How many messages a queue holds, those in flight included."""
    return (await queue.size()).total
