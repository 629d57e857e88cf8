"""`workforce-agent failed`: the dead letters of a queue.

The queue may be left out where the environment names it, as with the other verbs: a first word with a slash is a queue.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from workforce_agent.cli.common import open_queue, run_async

if TYPE_CHECKING:
    from jobq.dead_letter import DeadLetter


@click.group()
def failed() -> None:
    """List, show, retry, drop or export tasks that were given up, of QUEUE: ACCOUNT/QUEUE or sb://NAMESPACE/QUEUE.

    QUEUE may be left out where JOBQ_STORAGE and JOBQ_QUEUE name it.
    """


@failed.command(name="list")
@click.argument("queue", required=False)
@click.option("-n", "count", type=click.IntRange(1, 32), default=32, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(*, queue: str | None, count: int, as_json: bool) -> None:
    """List dead letters: id, attempts, why, command."""

    async def work() -> int:
        async with open_queue(queue) as jobq:
            letters = await jobq.failed(count)
        for letter in letters:
            click.echo(json.dumps(_as_dict(letter)) if as_json else _line(letter))
        return 0

    run_async(work)


@failed.command()
@click.argument("words", nargs=-1, metavar="[QUEUE] TASK_ID")
def show(words: Sequence[str]) -> None:
    """Show all that is known about a dead letter, as JSON."""
    queue, task_ids = _queue_and_ids(words)
    if len(task_ids) != 1:
        raise click.UsageError("give one task id")
    (task_id,) = task_ids

    async def work() -> int:
        async with open_queue(queue) as jobq:
            letter = await jobq.find_failed(task_id)
            if letter is None:
                raise click.ClickException(f"no dead letter of task {task_id} in {jobq.full_name}")
        click.echo(json.dumps(_as_dict(letter), indent=2))
        return 0

    run_async(work)


@failed.command()
@click.argument("words", nargs=-1, metavar="[QUEUE] [TASK_ID]...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--num-retries", type=click.IntRange(0), default=0, show_default=True, help="After a failure.")
def retry(*, words: Sequence[str], everything: bool, num_retries: int) -> None:
    """Enqueue dead letters again."""
    queue, wanted = _wanted(words, everything=everything)

    async def work() -> int:
        async with open_queue(queue) as jobq:
            done = await jobq.retry_failed(wanted, num_retries=num_retries)
            name = jobq.full_name
        click.echo(f"{len(done)} enqueued again", err=True)
        return _missing(wanted, done, name)

    run_async(work)


@failed.command()
@click.argument("words", nargs=-1, metavar="[QUEUE] [TASK_ID]...")
@click.option("--all", "everything", is_flag=True, help="All of them, also what is no task.")
def drop(*, words: Sequence[str], everything: bool) -> None:
    """Remove dead letters for good."""
    queue, wanted = _wanted(words, everything=everything)

    async def work() -> int:
        async with open_queue(queue) as jobq:
            done = await jobq.drop_failed(wanted)
            name = jobq.full_name
        click.echo(f"{len(done)} dropped", err=True)
        return _missing(wanted, done, name)

    run_async(work)


@failed.command()
@click.argument("queue", required=False)
def export(queue: str | None) -> None:
    """Write all dead letters to standard output, one JSON object per line, and leave them where they are.

    The field `message` is the task as it would be pushed.
    """

    async def work() -> int:
        count = 0
        async with open_queue(queue) as jobq, aclosing(jobq.all_failed()) as letters:
            async for letter in letters:
                click.echo(json.dumps({**_as_dict(letter), "message": _message(letter)}))
                count += 1
        click.echo(f"{count} exported", err=True)
        return 0

    run_async(work)


def _message(letter: DeadLetter) -> str | None:
    return letter.task.encode() if letter.task else letter.malformed


def _queue_and_ids(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The queue, if the first word is one, and the ids of tasks."""
    if words and "/" in words[0]:
        return words[0], list(words[1:])
    return None, list(words)


def _wanted(words: Sequence[str], *, everything: bool) -> tuple[str | None, list[str] | None]:
    """The queue, and the tasks that are meant; None for all of them."""
    queue, task_ids = _queue_and_ids(words)
    if bool(task_ids) == everything:
        raise click.UsageError("give task ids, or --all")
    return queue, None if everything else task_ids


def _missing(wanted: list[str] | None, done: Sequence[str | None], queue: str) -> int:
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
