"""`workforce-agent failed`: the dead letters of a queue."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import click

from jobq.errors import QueueMissing
from workforce_agent.cli.common import open_queue, run_async

if TYPE_CHECKING:
    from jobq.dead_letter import DeadLetter


@click.group()
def failed() -> None:
    """List, show, retry, drop or export tasks that were given up, of QUEUE: ACCOUNT/QUEUE or sb://NAMESPACE/QUEUE."""


@failed.command(name="list")
@click.argument("queue")
@click.option("-n", "count", type=click.IntRange(1, 32), default=32, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(*, queue: str, count: int, as_json: bool) -> None:
    """List dead letters: id, attempts, why, command."""

    async def work() -> int:
        async with open_queue(queue) as jobq:
            letters: list[DeadLetter] = []
            with suppress(QueueMissing):  # it is made with the first dead letter
                letters = await jobq.failed(count)
        for letter in letters:
            click.echo(json.dumps(_as_dict(letter)) if as_json else _line(letter))
        return 0

    run_async(work)


@failed.command()
@click.argument("queue")
@click.argument("task_id")
def show(queue: str, task_id: str) -> None:
    """Show all that is known about a dead letter, as JSON."""

    async def work() -> int:
        async with open_queue(queue) as jobq:
            letter = await jobq.find_failed(task_id)
        if letter is None:
            raise click.ClickException(f"no dead letter of task {task_id} in {queue}")
        click.echo(json.dumps(_as_dict(letter), indent=2))
        return 0

    run_async(work)


@failed.command()
@click.argument("queue")
@click.argument("task_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--num-retries", type=click.IntRange(0), default=0, show_default=True, help="After a failure.")
def retry(*, queue: str, task_ids: Sequence[str], everything: bool, num_retries: int) -> None:
    """Enqueue dead letters again."""
    wanted = _wanted(task_ids, everything=everything)

    async def work() -> int:
        async with open_queue(queue) as jobq:
            done = await jobq.retry_failed(wanted, num_retries=num_retries)
        click.echo(f"{len(done)} enqueued again", err=True)
        return _missing(wanted, done, queue)

    run_async(work)


@failed.command()
@click.argument("queue")
@click.argument("task_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them, also what is no task.")
def drop(*, queue: str, task_ids: Sequence[str], everything: bool) -> None:
    """Remove dead letters for good."""
    wanted = _wanted(task_ids, everything=everything)

    async def work() -> int:
        async with open_queue(queue) as jobq:
            dropped = await jobq.drop_failed(wanted)
        click.echo(f"{dropped} dropped", err=True)
        return 0 if dropped or wanted is None else 1

    run_async(work)


@failed.command()
@click.argument("queue")
def export(queue: str) -> None:
    """Write all dead letters to standard output, one JSON object per line, and leave them where they are.

    The field `message` is the task as it would be pushed.
    """

    async def work() -> int:
        count = 0
        async with open_queue(queue) as jobq, aclosing(jobq.all_failed()) as letters:
            with suppress(QueueMissing):  # it is made with the first dead letter
                async for letter in letters:
                    click.echo(json.dumps({**_as_dict(letter), "message": _message(letter)}))
                    count += 1
        click.echo(f"{count} exported", err=True)
        return 0

    run_async(work)


def _message(letter: DeadLetter) -> str | None:
    return letter.task.encode() if letter.task else letter.malformed


def _wanted(task_ids: Sequence[str], *, everything: bool) -> list[str] | None:
    if bool(task_ids) == everything:
        raise click.UsageError("give task ids, or --all")
    return None if everything else list(task_ids)


def _missing(wanted: list[str] | None, done: list[str], queue: str) -> int:
    missing = [task_id for task_id in wanted or [] if task_id not in done]
    for task_id in missing:
        click.echo(f"no dead letter of task {task_id} in {queue}", err=True)
    return 1 if missing else 0


def _line(letter: DeadLetter) -> str:
    why = letter.failure.error if letter.failure else "unknown"
    if letter.task is None:
        return f"-  no task  {why}"
    attempts = letter.failure.attempts if letter.failure else "?"
    return f"{letter.task.id}  attempts {attempts}  {why}  {letter.task.kwargs.get('cmd', '')}"


def _as_dict(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "kwargs": letter.task.kwargs if letter.task else None,
        "malformed": letter.malformed,
        "failure": letter.failure.model_dump(mode="json", by_alias=True) if letter.failure else None,
        "enqueued": letter.enqueued.isoformat() if letter.enqueued else None,
    }
