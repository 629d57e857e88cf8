"""`workforce-agent push`: enqueue tasks from the command line or from standard input.

A line of standard input is a shell command, or the arguments of a task where it is a JSON object. Unlike in the
ancestor the line's end is no part of the command, and blank lines are no tasks. Exit code 0 means that every task is in
the queue; every other one is named.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any

import click

from jobq.task import Task, shell_kwargs
from workforce_agent.cli.common import Duration, open_queue, run_async


@click.command()
@click.argument("queue", required=False)
@click.option("-c", "--command", "commands", multiple=True, help="A shell command; may be repeated.")
@click.option("-e", "--env", "variables", multiple=True, metavar="K=V", help="For the commands; may be repeated.")
@click.option("--num-retries", type=click.IntRange(0), default=0, show_default=True, help="After a failure.")
@click.option("--num-workers", type=click.IntRange(1, 256), default=10, show_default=True, help="Pushes at a time.")
@click.option("--task-timeout", type=Duration(), help="How long each may run; a worker may allow less.")
def push(
    *,
    queue: str | None,
    commands: Sequence[str],
    variables: Sequence[str],
    num_retries: int,
    num_workers: int,
    task_timeout: timedelta | None,
) -> None:
    """Enqueue commands, or the lines of standard input, into QUEUE (ACCOUNT/QUEUE or sb://NAMESPACE/QUEUE)."""
    env = _environment(variables)

    async def work() -> int:
        stored = failed = 0
        async with open_queue(queue, create=True) as jobq:
            # Imported here: it brings the queue library, which wrong usage need not wait for.
            from jobq.enqueue import enqueue  # noqa: PLC0415 - see above

            tasks = _tasks(commands, env, num_retries, task_timeout or None)
            async with aclosing(enqueue(jobq, tasks, concurrency=num_workers)) as results:
                async for pushed in results:
                    stored += pushed.stored
                    if pushed.error is not None:
                        failed += 1
                        click.echo(f"{pushed.error}: {_excerpt(pushed.task)}", err=True)
        click.echo(f"{stored} stored" + (f", {failed} not" if failed else ""), err=True)
        return 1 if failed else 0

    run_async(work)


def line_kwargs(line: str, env: Mapping[str, str]) -> dict[str, Any]:
    """The arguments that a line of input stands for."""
    if line.startswith("{"):
        try:
            given = json.loads(line)
        except (ValueError, RecursionError):
            given = None  # `{ echo a; }` is shell
        if isinstance(given, dict):
            own = {} if given.get("env") is None else given["env"]
            # What is no environment is an argument of a function's; a shell's worker says what is wrong with it.
            kwargs = {**given, "env": {**own, **env} if isinstance(own, dict) else own}
            kwargs.setdefault("bg_dirsync_to", None)
            return kwargs
    return shell_kwargs(line, env)


async def _tasks(
    commands: Sequence[str], env: Mapping[str, str], num_retries: int, timeout: timedelta | None
) -> AsyncIterator[Task]:
    for command in commands:
        yield Task.new(shell_kwargs(command, env), num_retries=num_retries, timeout=timeout)
    if commands:
        return
    if sys.stdin.isatty():
        click.echo("reading one command per line, end with Ctrl-D", err=True)
    async with aclosing(_lines(sys.stdin.fileno())) as lines:
        async for line in lines:
            if line.strip():
                yield Task.new(line_kwargs(line, env), num_retries=num_retries, timeout=timeout)


async def _lines(descriptor: int) -> AsyncGenerator[str, None]:
    """Lines as they come, read in a thread of its own: pushes go on meanwhile, and nothing waits for it in the end."""
    pieces: asyncio.Queue[bytes] = asyncio.Queue(1)
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(RuntimeError):  # the loop has gone
            while True:
                piece = os.read(descriptor, 65536)
                asyncio.run_coroutine_threadsafe(pieces.put(piece), loop).result()
                if not piece:
                    return

    threading.Thread(target=read, name="stdin", daemon=True).start()
    rest = b""
    while piece := await pieces.get():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield _decoded(line)
    yield _decoded(rest)


def _decoded(line: bytes) -> str:
    return line.rstrip(b"\r").decode(errors="surrogateescape")


def _environment(variables: Sequence[str]) -> dict[str, str]:
    env = {}
    for variable in variables:
        name, equals, value = variable.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{variable!r} is not K=V", param_hint="-e")
        env[name] = value
    return env


def _excerpt(task: Task | None) -> str:
    command = task.kwargs.get("cmd", "") if task else ""
    text = command if isinstance(command, str) else ""
    return text if len(text) <= 80 else f"{text[:77]}..."
